"""Whether a message fits the template that it names, by the provider's own definition: values in, values out.

A message may say more simply what the definition tells already: `header` for a file whose kind its address does not
tell, `button_0` for a quick reply, a header's place by the template's own name. `fitted` puts the full names in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from schemas.errors import FerrymanError
from schemas.messages import Template
from schemas.template_parts import (
    FALLBACK,
    FILENAME,
    HEADER,
    Button,
    Header,
    Parts,
    filled,
    is_address,
    kind_at,
    numbered,
    parts_of,
)
from schemas.templates import SENDABLE, Known, Places, TemplateDefinition, filled_in, names_in, places_of

LONGEST_BODY: Final = 1024
LONGEST_HEADER: Final = 60
LONGEST_CODE: Final = 15
"""In characters, with the variables in their places."""

_SHOWS: Final = {"text": "a text", "image": "an image", "video": "a video", "document": "a document"}
_TAKES: Final = {
    "url": "the end of its address",
    "payload": "what comes back of a quick reply",
    "code": "the code that it copies",
}
_STANDS: Final = {
    "PAUSED": "is paused by WhatsApp, as people have complained: it goes on by itself, or choose another",
    "DISABLED": "is disabled by WhatsApp, as people have complained: choose another",
    "REJECTED": "was rejected by WhatsApp: change it there and have it approved, or choose another",
    "PENDING": "is not approved yet: wait, or choose another",
    "IN_APPEAL": "is not approved yet: wait, or choose another",
}
_CHOOSE_ANOTHER: Final = "cannot be sent: choose another"


class Unfit(FerrymanError):
    """The message does not fit its template; the text says why, and what to do. *unknown*: no list has the template, or
    not in this language: it may be newer than the list."""

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.unknown = unknown


def definition_of(template: Template, known: Known) -> TemplateDefinition:
    """The definition that *template* names. Raises: Unfit where there is none, or it cannot be sent now."""
    assert known.name == template.name, "the definitions are of another template"
    there = {one.language: one for one in known.definitions}
    if not there:
        at = f"{known.synced_at:%Y-%m-%d %H:%M} UTC"
        text = f"the account has no template of this name, as of {at}: `ferryman templates list` shows those it has"
        raise Unfit(f"{text}, and `ferryman templates sync` reads them anew", unknown=True)
    found = there.get(template.language or "")
    if found is None:
        raise Unfit(f"the template is there in {', '.join(sorted(there))}: give one of these languages", unknown=True)
    if found.status != SENDABLE:
        raise Unfit(f"the template {_STANDS.get(found.status, _CHOOSE_ANOTHER)}")
    return found


def fitted(template: Template, definition: TemplateDefinition) -> Template:
    """*template* with each variable under the name of what it fills. Raises: Unfit."""
    places, parts = places_of(definition), parts_of(template.variables)
    if places.beyond is not None:
        raise Unfit(f"the template shows {places.beyond}, which variables cannot give: choose another")
    header = _header(places, parts)
    body = _body(places, parts, header)
    buttons = _buttons(places, parts.buttons)
    _lengths(places, header, body, buttons)
    if parts.filename is not None and (header is None or header.kind != "document"):
        raise Unfit(f"the template's header shows no document: leave {FILENAME} out")
    variables = body | _named(template.variables, header, buttons)
    return template if variables == template.variables else replace(template, variables=variables)


def _header(places: Places, parts: Parts) -> Header | None:
    """What fills the header."""
    given = parts.headers[0] if parts.headers else None
    if given is None and places.header_name is not None and places.header_name in parts.body:
        given = Header(parts.body[places.header_name], "text", places.header_name)
    if places.header is None:
        if given is not None:
            raise Unfit("the template's header takes nothing: leave it out of the variables")
        return None
    shows = _SHOWS[places.header]
    if given is None:
        what = "what fills its place" if places.header == "text" else "the address of one (https://…)"
        raise Unfit(f"the template's header shows {shows}: give {what} as the variable {HEADER}")
    if places.header != "text" and not is_address(given.value):
        raise Unfit(f"the template's header shows {shows}: give the address of one (https://…)")
    named_otherwise = given.name is not None and given.name != places.header_name
    kind = given.kind if given.said else kind_at(given.value)
    if named_otherwise or (given.said and kind != places.header):
        raise Unfit(f"the template's header shows {shows}, and the variable is for another: call it {HEADER}")
    if places.header != "text" and kind is not None and kind != places.header:
        raise Unfit(f"the template's header shows {shows}, and the address is that of {_SHOWS[kind]}")
    return given._replace(kind=places.header, name=places.header_name)


def _body(places: Places, parts: Parts, header: Header | None) -> dict[str, str]:
    """What fills the body."""
    given = dict(parts.body)
    if places.body is None:
        return given
    by_name = header is not None and not parts.headers
    if by_name and places.header_name is not None and places.header_name not in places.body:
        del given[places.header_name]  # it fills the header
    wanted = set(places.body)
    if given.keys() == wanted:
        return given
    raise Unfit(_wrong_names(places.body, given.keys() - wanted, [name for name in places.body if name not in given]))


def _wrong_names(wanted: Sequence[str], surplus: set[str], missing: Sequence[str]) -> str:
    """Which variables of the body are wrong. Those that the message has too many may be anything, and are not named."""
    if not wanted:
        return f"the template's text has no variables, and {len(surplus)} are given: leave them out"
    form = "numbered" if set(wanted) == numbered(len(wanted)) else "named"
    whole = f"the template's text has {len(wanted)} variables, {form} {', '.join(wanted)}"
    if missing:
        return f"{whole}: give {', '.join(missing)} as well" + (", and no others" if surplus else "")
    return f"{whole}, and {len(surplus)} more are given: leave those out"


def _buttons(places: Places, given: Sequence[Button]) -> list[Button]:
    """What fills the buttons."""
    found = {one.place: one for one in given}
    for index, kind in places.buttons.items():
        if kind != "payload" and index not in found:
            raise Unfit(f"the template's button {index} needs {_TAKES[kind]}: give button_{index}")
    for index, one in found.items():
        takes = places.buttons.get(index)
        if takes is None:
            raise Unfit(f"the template's button {index} takes nothing, or there is none: leave button_{index} out")
        if one.said and one.kind != takes:
            raise Unfit(f"the template's button {index} takes {_TAKES[takes]}: call the variable button_{index}")
    return [one._replace(kind=places.buttons[one.place]) for one in given]


def _lengths(places: Places, header: Header | None, body: Mapping[str, str], buttons: Sequence[Button]) -> None:
    """Raises: Unfit where a text would be longer than WhatsApp takes."""
    if places.texts.body is not None:
        text = filled_in(places.texts.body, {name: filled(value) for name, value in body.items()})
        _within("the template's text", text, LONGEST_BODY)
    if places.texts.header is not None and header is not None and header.kind == "text":
        values = dict.fromkeys(names_in(places.texts.header), filled(header.value))
        _within("the template's header", filled_in(places.texts.header, values), LONGEST_HEADER)
    for one in buttons:
        if one.kind == "code":
            _within("the code of the template's button", filled(one.value), LONGEST_CODE)


def _within(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise Unfit(f"{what} would have {len(text)} characters, and WhatsApp takes {most}: shorten its variables")


def _named(variables: Mapping[str, str], header: Header | None, buttons: Sequence[Button]) -> dict[str, str]:
    """The variables that are no places of the body, by the names that tell all of them; those that tell it already stay
    as they are."""
    named = {name: variables[name] for name in (FILENAME, FALLBACK) if name in variables}
    if header is not None:
        named[_name_of(header)] = header.value
    for one in buttons:
        plain = one.kind == "url" and not one.said
        named[f"button_{one.place}" if plain else f"button_{one.place}_{one.kind}"] = one.value
    return named


def _name_of(header: Header) -> str:
    if header.name is not None:
        return f"{HEADER}:{header.name}"
    told = kind_at(header.value) if is_address(header.value) else "text"
    return HEADER if not header.said and told == header.kind else f"{HEADER}_{header.kind}"

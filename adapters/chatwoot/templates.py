"""Templates as Chatwoot takes them for its WhatsApp inboxes.

A variable fills a place of the template's body: `"1"`, `"2"`, … in their order, or by the template's own names. Two
kinds of names are ours: `header`, what the header shows (the address of a file, or a text), and `button_0`,
`button_1`, …, the end of the address that the button opens, counted over all buttons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from posixpath import splitext
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.chatwoot.template_list import PLACE, Known
from adapters.chatwoot.wording import literal, stored
from adapters.http import coded
from schemas.cleaned import visible
from schemas.errors import Refused
from schemas.messages import Template

HEADER: Final = "header"
LONGEST_VARIABLE: Final = 1000
"""Chatwoot cuts what is longer, and tells nobody."""

_BUTTON: Final = re.compile(r"button_([0-9])")
_PLACE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}")
_KINDS: Final[Mapping[str, str]] = {
    ".jpg": "image",
    ".jpeg": "image",
    ".png": "image",
    ".mp4": "video",
    ".3gp": "video",
}


def refusal(template: Template) -> str | None:
    """Why Chatwoot cannot carry it, whatever templates there are; None where it can."""
    if not template.name.strip():
        return "the template has no name: give it as WhatsApp has it"
    for value in template.variables.values():
        if not 0 < len(visible(value).strip()) <= LONGEST_VARIABLE:
            return f"a variable of the template is empty or longer than {LONGEST_VARIABLE} characters"
    body = _of_the_body(template.variables)
    places = sorted(int(name) for name in body if _PLACE_NUMBER.fullmatch(name))
    if places and (len(places) < len(body) or places != list(range(1, len(places) + 1))):
        return "the variables of a template are numbered 1, 2, … without a gap, or all named: give all that it has"
    return None


def chosen(template: Template, known: Sequence[Known] | None) -> Known | None:
    """Which of *known* is meant: the templates of that name, by language; None where they are not told.

    Raises: Refused where it is none of them, or where the variables are not those that it has.
    """
    if known is None:
        if template.language is None:
            raise _refused("a template needs its language as WhatsApp writes it, such as en_US", "no-template")
        return None
    wanted = (template.language or "").lower()
    found = [one for one in known if wanted in ("", one.language.lower())]
    if len(found) != 1:
        raise _none_or_several(known)
    _demand_variables(template, found[0])
    return found[0]


def body_of(template: Template, known: Known | None) -> dict[str, Any]:
    """The part of a request that says which template is sent; of one that is not refused. *known*: what `chosen` has
    made of it. The text is for those who look at Chatwoot: WhatsApp makes its own of the template."""
    values = {name: visible(value).strip() for name, value in template.variables.items()}
    params: dict[str, Any] = {
        "name": template.name.strip() if known is None else known.name,
        "language": template.language if known is None else known.language,
        "category": "UTILITY" if known is None else known.category,
        "processed_params": dict(_components(values, known)),
    }
    shown = known.body if known is not None else ""
    text = PLACE.sub(lambda place: values.get(place[1], place[0]), shown)
    return {"content": stored(text) if text.strip() else params["name"], "template_params": params}


def _components(values: Mapping[str, str], known: Known | None) -> Iterator[tuple[str, Any]]:
    body = _of_the_body(values)
    if body:
        # in their order: Chatwoot takes the values of numbered places as they stand
        ordered = sorted(body, key=lambda name: int(name) if _PLACE_NUMBER.fullmatch(name) else 0)
        yield "body", {name: literal(body[name]) for name in ordered}
    if (header := values.get(HEADER)) is not None:
        kind = _kind(header, known)
        yield "header", {"1": literal(header)} if kind is None else _file(header, kind)
    buttons = {int(found[1]): values[name] for name in values if (found := _BUTTON.fullmatch(name))}
    if buttons:
        # by its place in the list a button is told from the others
        numbers = range(max(buttons) + 1)
        filled = {at: {"type": "url", "parameter": literal(text)} for at, text in buttons.items()}
        yield "buttons", [filled.get(at) for at in numbers]


def _file(address: str, kind: str) -> dict[str, str]:
    name = splitext(urlsplit(address).path)[0].rpartition("/")[2] + splitext(urlsplit(address).path)[1]
    file = {"media_url": address, "media_type": kind}
    return file | {"media_name": name} if kind == "document" and name else file


def _kind(header: str, known: Known | None) -> str | None:
    """What a header shows: image, video or document; None for a text."""
    if known is not None:
        return None if known.header in (None, "TEXT") else known.header.lower()
    if not header.lower().startswith(("https://", "http://")):
        return None
    return _KINDS.get(splitext(urlsplit(header).path)[1].lower(), "document")


def _demand_variables(template: Template, known: Known) -> None:
    """Raises: Refused where *template* has other variables than *known* has places."""
    wanted = set(known.places) | {f"button_{at}" for at in known.buttons}
    wanted |= set() if known.header is None else {HEADER}
    given = set(template.variables)
    if missing := wanted - given:
        raise _refused(f"the template also needs {_listed(missing)}", "variables")
    if given - wanted:
        raise _refused(f"the template has {len(wanted)} variables, and {len(given)} were given", "variables")
    if known.header not in (None, "TEXT") and not template.variables[HEADER].startswith(("https://", "http://")):
        raise _refused("the header of the template shows a file: give its address as `header`", "variables")


def _none_or_several(known: Sequence[Known]) -> Refused:
    if not known:
        text = "the inbox has no approved template of this name: sync its templates in Chatwoot, or mend the name"
    else:
        text = f"the template is there in {_listed({one.language for one in known})}: give one of these languages"
    return _refused(text, "no-template")


def _listed(names: set[str]) -> str:
    """Names as WhatsApp has them: letters, digits and underscores alone."""
    return ", ".join(sorted(name for name in names if re.fullmatch(r"\w{1,100}", name, re.A)))


def _of_the_body(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in variables.items() if name != HEADER and not _BUTTON.fullmatch(name)}


def _refused(text: str, code: str) -> Refused:
    return coded(Refused(f"Chatwoot: {text}"), code)

"""A template as its provider has it, and whether a message fits it: values in, values out.

`components` are in WhatsApp's form: a list of objects with a `type` (HEADER, BODY, FOOTER, BUTTONS, …). What is not
understood of them refuses no message: then the provider decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from schemas.template_parts import ButtonKind, HeaderKind

ParameterFormat: TypeAlias = Literal["positional", "named"]

SENDABLE: Final = "APPROVED"
"""The status of a template that may be sent; the other statuses are the provider's own words, in capitals."""

_PLACE: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_BEYOND: Final = {
    "CAROUSEL": "cards side by side",
    "LIMITED_TIME_OFFER": "an offer that ends",
    "LOCATION": "a place on the map",
    "MPM": "a list of products",
    "SPM": "a product",
    "ORDER_DETAILS": "an order to pay",
}
"""What takes more than variables can say, by the type of the component, the header or the button."""

_FILES: Final = frozenset({"IMAGE", "VIDEO", "DOCUMENT"})
_KINDS: Final[Mapping[str, ButtonKind]] = {"QUICK_REPLY": "payload", "COPY_CODE": "code"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDefinition:
    """A template in one language, as the provider has it. *language*: "" where the provider has none. *status*,
    *category*, *quality*: the provider's own words, in capitals."""

    name: str
    language: str = ""
    status: str = SENDABLE
    category: str | None = None
    parameter_format: ParameterFormat = "positional"
    components: Sequence[Mapping[str, Any]] = field(default_factory=list)
    quality: str | None = None
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The templates of one *name* in an account, one for each language. *synced_at*: when the account's list was read
    last."""

    name: str
    definitions: Sequence[TemplateDefinition]
    synced_at: datetime


class Texts(NamedTuple):
    """The texts of a template with places in them; None: there is no such text, or it is not told."""

    header: str | None
    body: str | None


@dataclass(frozen=True, slots=True)
class Places:
    """What a message has to give a template. *header*: what it shows, None where it takes nothing. *header_name*: of
    its place, where that has a name. *body*: the names of its places; None: they are not told. *buttons*: what each
    button takes, by its index; `payload` may be left out. *beyond*: what variables cannot give."""

    header: HeaderKind | None
    header_name: str | None
    body: tuple[str, ...] | None
    buttons: Mapping[int, ButtonKind]
    beyond: str | None
    texts: Texts

    @property
    def names(self) -> list[str]:
        """The names of the variables that fill them; a quick reply's payload is among them in brackets."""
        found = [] if self.header is None else ["header"]
        found += self.body or ()
        return found + [f"(button_{n})" if kind == "payload" else f"button_{n}" for n, kind in self.buttons.items()]


def places_of(definition: TemplateDefinition) -> Places:
    """The places of *definition*."""
    header: HeaderKind | None = None
    header_name, body, beyond = None, None, None
    buttons: dict[int, ButtonKind] = {}
    texts = Texts(None, None)
    for component in definition.components:
        kind, text = _word(component, "type"), component.get("text")
        if kind == "HEADER":
            header, header_name = _of_header(component, definition.parameter_format)
            texts = texts._replace(header=text if isinstance(text, str) else None)
            beyond = beyond or _BEYOND.get(_word(component, "format"))
        elif kind == "BODY" and isinstance(text, str):
            body, texts = names_in(text), texts._replace(body=text)
        elif kind == "BUTTONS":
            listed = component.get("buttons")
            for index, button in enumerate(listed if isinstance(listed, list) else ()):
                if (takes := _of_button(button)) is not None:
                    buttons[index] = takes
                beyond = beyond or _BEYOND.get(_word(button, "type"))
        beyond = beyond or _BEYOND.get(kind)
    return Places(header, header_name, body, buttons, beyond, texts)


def names_in(text: str) -> tuple[str, ...]:
    """The names of the places in *text*, each once: numbers in their order, others as they come."""
    found = tuple(dict.fromkeys(_PLACE.findall(text)))
    return tuple(sorted(found, key=int)) if all(name.isdecimal() for name in found) else found


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """*text* with *values* in its places."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def _of_header(component: Mapping[str, Any], form: ParameterFormat) -> tuple[HeaderKind | None, str | None]:
    """What a header shows that a message has to give, and the name of its place."""
    shows, text = _word(component, "format"), component.get("text")
    if shows in _FILES:
        return cast(HeaderKind, shows.lower()), None
    names = names_in(text) if isinstance(text, str) else ()
    if not names:
        return None, None
    return "text", names[0] if form == "named" else None


def _of_button(button: Any) -> ButtonKind | None:
    """What a button takes of a message; None: nothing, or it is not known."""
    kind = _word(button, "type")
    if kind == "URL":
        address = button.get("url")
        return "url" if isinstance(address, str) and _PLACE.search(address) else None
    # the button of a one-time password opens an address of WhatsApp's own, which ends in the password
    return "url" if kind == "OTP" else _KINDS.get(kind)


def _word(found: Any, name: str) -> str:
    value = found.get(name) if isinstance(found, Mapping) else None
    return value.upper() if isinstance(value, str) else ""

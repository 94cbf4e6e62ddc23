"""What the variables of a template message fill, by their names; and the components of a request that sends it, in
WhatsApp's own form, which CGB takes as well.

A variable fills a place of the template's body: `"1"`, `"2"`, … in their order, or by the template's own names. These
names are ours:

- `header`: what the header shows. An address of a file (https://) is an image, a video or a document, as its ending
  tells; any other text fills the header's only place. `header_image`, `header_video` and `header_document` say what an
  address leads to, where its ending does not; `header_text` says that the header's place is filled. `header:NAME` is a
  header's place that has a name of its own. `header_filename` is what a document is called.
- `button_0`, `button_1`, …: the end of the address that the button opens, counted over all buttons of the template;
  `button_0_payload` is what comes back of a quick reply, and `button_0_code` the code that the button copies.
- `fallback_message`: a text for those who get no template; the provider is told nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import splitext
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

from schemas.cleaned import visible

HeaderKind: TypeAlias = Literal["text", "image", "video", "document"]
ButtonKind: TypeAlias = Literal["url", "payload", "code"]

HEADER: Final = "header"
FILENAME: Final = "header_filename"
FALLBACK: Final = "fallback_message"
LONGEST_VARIABLE: Final = 1024
"""In characters."""

_HEADER: Final = re.compile(r"header(?:_(text|image|video|document)|:(.+))?")
_BUTTON: Final = re.compile(r"button_([0-9])(?:_(url|payload|code))?")
_BLANKS: Final = re.compile(" {5,}")
_KINDS: Final[Mapping[str, HeaderKind]] = {
    ".jpg": "image",
    ".jpeg": "image",
    ".png": "image",
    ".mp4": "video",
    ".3gp": "video",
    ".pdf": "document",
}
"""What a header may show, by the ending of its address."""

_BUTTONS: Final[Mapping[ButtonKind, tuple[str, str, str]]] = {
    "url": ("url", "text", "text"),
    "payload": ("quick_reply", "payload", "payload"),
    "code": ("copy_code", "coupon_code", "coupon_code"),
}
"""Kind of a button -> its `sub_type`, the `type` of its parameter, and the member that holds the value."""


class Header(NamedTuple):
    """What fills the header. *kind*: None for the address of a file of which nothing tells what it is. *name*: of its
    place, where that has one. *said*: whether the variable's name tells the kind."""

    value: str
    kind: HeaderKind | None
    name: str | None = None
    said: bool = False


class Button(NamedTuple):
    """What fills the button at *place*. *said*: whether the variable's name tells the kind."""

    place: int
    kind: ButtonKind
    value: str
    said: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What the variables of a message are for. *body*: by the names of its places."""

    headers: tuple[Header, ...]
    body: Mapping[str, str]
    buttons: tuple[Button, ...]
    filename: str | None = None


def parts_of(variables: Mapping[str, str]) -> Parts:
    """What each of *variables* is for."""
    headers, buttons, body = [], [], {}
    for name in sorted(variables):
        value = variables[name]
        if name in (FALLBACK, FILENAME):
            continue
        if found := _HEADER.fullmatch(name):
            headers.append(_header(value, found[1], found[2]))
        elif found := _BUTTON.fullmatch(name):
            kind = cast(ButtonKind, found[2] or "url")
            buttons.append(Button(int(found[1]), kind, value, found[2] is not None))
        else:
            body[name] = value
    in_order = {name: variables[name] for name in variables if name in body}
    return Parts(tuple(headers), in_order, tuple(buttons), variables.get(FILENAME))


def why_unusable(variables: Mapping[str, str]) -> str | None:
    """Why no template can be sent with *variables*, as a sentence that says what to do; None: one may."""
    for name, value in variables.items():
        if name != FALLBACK and not 0 < len(filled(value)) <= LONGEST_VARIABLE:
            return f"a variable of the template is empty or longer than {LONGEST_VARIABLE} characters"
    parts = parts_of(variables)
    if len(parts.headers) > 1 or len({one.place for one in parts.buttons}) < len(parts.buttons):
        return "two variables fill the same header or the same button of the template; give one of them"
    for header in parts.headers:
        if header.kind is None:
            ends = ", ".join(_KINDS)
            return f"the file of the header must end in one of {ends}, or be named header_image, _video or _document"
        if header.kind != "text" and not is_address(header.value):
            return "the file of the header has no address; give one that begins with https://"
    numbers = {name for name in parts.body if name.isdecimal()}
    if numbers and len(numbers) < len(parts.body):
        return "the variables of a template are either numbered or named; do not mix the two"
    if numbers != numbered(len(numbers)):
        return "the variables of a template are numbered from 1 without a gap; give them all"
    return None


def numbered(count: int) -> set[str]:
    """The names of *count* numbered variables."""
    return {str(n) for n in range(1, count + 1)}


def components_of(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """The components of a request; of variables that `why_unusable` takes."""
    return list(_components(parts_of(variables)))


def _components(parts: Parts) -> Iterator[dict[str, Any]]:
    for header in parts.headers:
        yield {"type": "header", "parameters": [_of_header(header, parts.filename)]}
    body = parts.body
    if all(name.isdecimal() for name in body):
        parameters = [_text(body[name]) for name in sorted(body, key=int)]
    else:
        parameters = [_text(value) | {"parameter_name": name} for name, value in body.items()]
    if parameters:
        yield {"type": "body", "parameters": parameters}
    for button in sorted(parts.buttons):
        sub_type, type, member = _BUTTONS[button.kind]
        parameter = {"type": type, member: filled(button.value)}
        yield {"type": "button", "sub_type": sub_type, "index": str(button.place), "parameters": [parameter]}


def _of_header(header: Header, filename: str | None) -> dict[str, Any]:
    if header.kind == "text" or header.kind is None:
        return _text(header.value) | ({} if header.name is None else {"parameter_name": header.name})
    file = {"link": header.value.strip()}
    if header.kind == "document" and filename is not None:
        file["filename"] = filled(filename)
    return {"type": header.kind, header.kind: file}


def _text(value: str) -> dict[str, str]:
    return {"type": "text", "text": filled(value)}


def _header(value: str, kind: str | None, name: str | None) -> Header:
    if kind is not None:
        return Header(value, cast(HeaderKind, kind), said=True)
    if name is not None:
        return Header(value, "text", name, said=True)
    return Header(value, kind_at(value) if is_address(value) else "text")


def filled(value: str) -> str:
    """*value* as it may stand in a template: on one line, and without five blanks in a row, which WhatsApp refuses."""
    return _BLANKS.sub("    ", visible(value)).strip()


def is_address(value: str) -> bool:
    """Whether *value* is the address of a file."""
    return value.strip().lower().startswith(("http://", "https://"))


def kind_at(address: str) -> HeaderKind | None:
    """What is at *address*, as its ending tells; None where it does not."""
    try:
        return _KINDS.get(splitext(urlsplit(address.strip()).path)[1].lower())
    except ValueError:
        return None

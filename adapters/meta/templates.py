"""Templates as Meta's Cloud API takes them.

A variable fills a place of the template's body: `"1"`, `"2"`, … in their order, or by the template's own names. Three
kinds of names are ours:

- `header`: what the header shows. An address of a file (https://) is an image, a video or a document, as its ending
  tells; any other text fills the header's only place.
- `button_0`, `button_1`, …: the end of the address that the button opens, counted over all buttons of the template.
- `fallback_message`: a text for those who get no template; Meta is told nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import splitext
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.uploads import Uploaded
from schemas.cleaned import visible
from schemas.messages import MediaType, Template

HEADER: Final = "header"
FALLBACK: Final = "fallback_message"
LONGEST_VARIABLE: Final = 1024

_NAME: Final = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?")
_PLACE: Final = re.compile(r"[1-9][0-9]{0,2}")
_BUTTON: Final = re.compile(r"button_([0-9])")
_BLANKS: Final = re.compile(" {5,}")
_KINDS: Final[Mapping[str, MediaType]] = {
    ".jpg": "image",
    ".jpeg": "image",
    ".png": "image",
    ".mp4": "video",
    ".3gp": "video",
    ".pdf": "document",
}
"""What a header may show, by the ending of its address."""


def refusal(template: Template) -> str | None:
    """Why Meta cannot carry it; None where it can. Whether there is such a template, Meta alone knows."""
    if not _NAME.fullmatch(template.name):
        return "a template's name has small letters, digits and underscores; give it as Meta shows it"
    if template.language is None or not _LANGUAGE.fullmatch(template.language):
        return "a template needs its language as Meta writes it, such as en_US"
    return _of_variables(template.variables)


def _of_variables(variables: Mapping[str, str]) -> str | None:
    for name, value in variables.items():
        if name != FALLBACK and not 0 < len(_filled(value)) <= LONGEST_VARIABLE:
            return f"a variable of the template is empty or longer than {LONGEST_VARIABLE} characters"
    header = variables.get(HEADER)
    if header is not None and _is_address(header) and _kind(header) is None:
        return f"the file of the header must end in one of {', '.join(_KINDS)}, so that its kind is known"
    body = _of_the_body(variables)
    places = sorted(int(name) for name in body if _PLACE.fullmatch(name))
    if places and len(places) < len(body):
        return "the variables of a template are either numbered or named; do not mix the two"
    if places != list(range(1, len(places) + 1)):
        return "the variables of a template are numbered from 1 without a gap; give them all"
    return None


def file_of(template: Template) -> tuple[str, MediaType] | None:
    """The address and the kind of the file in its header, where there is one."""
    header = template.variables.get(HEADER, "")
    kind = _kind(header) if _is_address(header) else None
    return None if kind is None else (header.strip(), kind)


def file_body(url: str, kind: MediaType, uploaded: Uploaded | None) -> dict[str, str]:
    """A file as a request names it: by its id where it is *uploaded*, else by its address."""
    if uploaded is None:
        return {"link": url}
    # of an uploaded document the person would see no name
    return {"id": uploaded.id} | ({"filename": visible(uploaded.name)} if kind == "document" else {})


def body_of(template: Template, uploaded: Uploaded | None = None) -> dict[str, Any]:
    """The object `template` of a request; of one that is not refused. *uploaded*: the file of its header."""
    body: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    if components := list(_components(template, uploaded)):
        body["components"] = components
    return body


def _components(template: Template, uploaded: Uploaded | None) -> Iterator[dict[str, Any]]:
    variables = template.variables
    if (file := file_of(template)) is not None:
        url, kind = file
        yield {"type": "header", "parameters": [{"type": kind, kind: file_body(url, kind, uploaded)}]}
    elif (header := variables.get(HEADER)) is not None:
        yield {"type": "header", "parameters": [_text(header)]}
    body = _of_the_body(variables)
    if all(_PLACE.fullmatch(name) for name in body):
        parameters = [_text(body[name]) for name in sorted(body, key=int)]
    else:
        parameters = [_text(value) | {"parameter_name": name} for name, value in body.items()]
    if parameters:
        yield {"type": "body", "parameters": parameters}
    for name in sorted(variables):
        if found := _BUTTON.fullmatch(name):
            text = _text(variables[name])
            yield {"type": "button", "sub_type": "url", "index": found[1], "parameters": [text]}


def _of_the_body(variables: Mapping[str, str]) -> dict[str, str]:
    ours = (HEADER, FALLBACK)
    return {name: value for name, value in variables.items() if name not in ours and not _BUTTON.fullmatch(name)}


def _text(value: str) -> dict[str, str]:
    return {"type": "text", "text": _filled(value)}


def _filled(value: str) -> str:
    """*value* as it may stand in a template: on one line, and without five blanks in a row, which Meta refuses."""
    return _BLANKS.sub("    ", visible(value)).strip()


def _is_address(value: str) -> bool:
    return value.strip().lower().startswith(("http://", "https://"))


def _kind(address: str) -> MediaType | None:
    try:
        return _KINDS.get(splitext(urlsplit(address.strip()).path)[1].lower())
    except ValueError:
        return None

"""Templates as Meta's Cloud API takes them. `schemas/template_parts.py` says what the names of variables mean."""

from __future__ import annotations

import re
from typing import Any, Final

from adapters.uploads import Uploaded
from schemas.cleaned import visible
from schemas.messages import MediaType, Template
from schemas.template_parts import components_of, parts_of, why_unusable

_NAME: Final = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?")


def refusal(template: Template) -> str | None:
    """Why Meta cannot carry it; None where it can. Whether there is such a template is not asked here."""
    if not _NAME.fullmatch(template.name):
        return "a template's name has small letters, digits and underscores; give it as Meta shows it"
    if template.language is None or not _LANGUAGE.fullmatch(template.language):
        return "a template needs its language as Meta writes it, such as en_US"
    return why_unusable(template.variables)


def file_of(template: Template) -> tuple[str, MediaType] | None:
    """The address and the kind of the file in its header, where there is one."""
    for header in parts_of(template.variables).headers:
        if header.kind is not None and header.kind != "text":
            return header.value.strip(), header.kind
    return None


def file_body(url: str, kind: MediaType, uploaded: Uploaded | None) -> dict[str, str]:
    """A file as a request names it: by its id where it is *uploaded*, else by its address."""
    if uploaded is None:
        return {"link": url}
    # of an uploaded document the person would see no name
    return {"id": uploaded.id} | ({"filename": visible(uploaded.name)} if kind == "document" else {})


def body_of(template: Template, uploaded: Uploaded | None = None) -> dict[str, Any]:
    """The object `template` of a request; of one that is not refused. *uploaded*: the file of its header."""
    body: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    if components := components_of(template.variables):
        file = file_of(template)
        if file is not None and uploaded is not None:
            header = components[0]["parameters"][0][file[1]]  # WhatsApp's components begin with the header
            name = {"filename": header["filename"]} if "filename" in header else {}
            components[0]["parameters"][0][file[1]] = file_body(*file, uploaded) | name
        body["components"] = components
    return body

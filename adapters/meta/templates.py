"""Templates as Meta's Cloud API takes them. `schemas/template_parts.py` says what the names of variables mean."""

from __future__ import annotations

import re
from typing import Any, Final

from schemas.messages import Template
from schemas.template_parts import components_of, why_unusable

_NAME: Final = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?")


def refusal(template: Template) -> str | None:
    """Why Meta cannot carry it; None where it can. Whether there is such a template is not asked here."""
    if not _NAME.fullmatch(template.name):
        return "a template's name has small letters, digits and underscores; give it as Meta shows it"
    if template.language is None or not _LANGUAGE.fullmatch(template.language):
        return "a template needs its language as Meta writes it, such as en_US"
    return why_unusable(template.variables)


def body_of(template: Template) -> dict[str, Any]:
    """The object `template` of a request; of one that is not refused."""
    body: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    if components := components_of(template.variables):
        body["components"] = components
    return body

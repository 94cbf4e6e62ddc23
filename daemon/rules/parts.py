"""What the models of rule files are made of, and how their documents are read before anything has checked them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

ANY: Final = "*"
"""In the place of a language: all of them, or all others."""


class Part(BaseModel):
    """A table of a rule file: it has the keys of its model alone, and errors do not repeat what is written in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _slug(name: str) -> str:
    if re.fullmatch(r"[a-z0-9]+(?:[_-][a-z0-9]+)*", name) and len(name) <= 60:
        return name
    raise ValueError("must be small letters, digits, hyphens and underscores, as order_confirmation")


def _language(key: str) -> str:
    if re.fullmatch("[a-z]{2}", key):
        return key
    raise ValueError("must be a language by its two letters, as he")


def _language_or_any(key: str) -> str:
    if key == ANY or re.fullmatch("[a-z]{2}", key):
        return key
    raise ValueError('must be a language by its two letters, as he, or "*" for all others')


Slug: TypeAlias = Annotated[str, AfterValidator(_slug)]
"""The name of a rule, or of a part of one."""

Language: TypeAlias = Annotated[str, AfterValidator(_language)]
AnyLanguage: TypeAlias = Annotated[str, AfterValidator(_language_or_any)]

Flag: TypeAlias = Annotated[bool, Field(strict=True)]
"""true or false: a text in its place, as "no", is a mistake."""

Integer: TypeAlias = Annotated[int, Field(strict=True)]
"""A whole number: neither a text nor a flag."""


def listed(value: object) -> object:
    """For a validator: a single text may stand in the place of a list of one."""
    return (value,) if isinstance(value, str) else value


def table(parent: object, key: str) -> Mapping[str, Any]:
    """The table *key* of what is perhaps a table; an empty one in place of anything else."""
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def tables(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The tables of a list; another value in one's place counts as an empty table."""
    value = parent.get(key)
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []

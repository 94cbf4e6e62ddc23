"""What is wrong with a document that a model does not take, in plain words: by its place, and never its value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

MOST: Final = 5
"""Faults that are told at once."""

_WORDS: Final = {
    "extra_forbidden": "is not known here",
    "missing": "is missing",
    "string_type": "must be a text",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "uuid_parsing": "must be a UUID",
    "datetime_type": "must be a time, as 2031-02-14T09:00:00+00:00",
    "datetime_parsing": "must be a time, as 2031-02-14T09:00:00+00:00",
    "datetime_from_date_parsing": "must be a time, as 2031-02-14T09:00:00+00:00",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "timezone_aware": "lacks its offset: write it as 2031-02-14T09:00:00+00:00",
    "string_too_long": "has more than {max_length} characters",
    "string_too_short": "has fewer than {min_length} characters",
    "too_long": "has more than {max_length} entries",
    "too_short": "has fewer than {min_length} entries",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}
_NAME: Final = re.compile(r"'([^']*)'")
_ADDRESS: Final = r"^https?://"


def told(exc: ValidationError, names_of: Mapping[str, str] | None = None) -> str:
    """All that is wrong, MOST places at most. *names_of*: place -> what it is called where the document was made."""
    faults: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for error in exc.errors(include_input=False, include_url=False):
        place, ctx = _place(error["loc"]), error.get("ctx", {})
        place = (names_of or {}).get(place, place)
        if error["type"] == "literal_error":
            names.setdefault(place, []).extend(_NAME.findall(str(ctx.get("expected"))))
            faults[place] = f"must be one of {', '.join(names[place])}"
        else:
            faults.setdefault(place, _words(error["type"], ctx, error["msg"]))
    return "; ".join([_line(place, fault) for place, fault in faults.items()][:MOST])


def _line(place: str, fault: str) -> str:
    if not place:
        return fault
    return f"{place} {fault}" if fault.startswith(("is ", "must ", "has ", "lacks ")) else f"{place}: {fault}"


def _place(loc: tuple[int | str, ...]) -> str:
    """The place without the branches of a union, as `literal['a','b']`, which only the model knows."""
    return ".".join(str(part) for part in loc[:4] if "[" not in str(part))[:100]


def _words(kind: str, ctx: Mapping[str, Any], said: str) -> str:
    if kind in ("string_too_short", "too_short") and ctx.get("min_length") == 1:
        return "is empty"
    if kind == "string_pattern_mismatch" and str(ctx.get("pattern", "")).startswith(_ADDRESS):
        return "must be an address that begins with https:// or http://"
    if kind in _WORDS:
        return _WORDS[kind].format_map(ctx)
    said = said.removeprefix("Value error, ")
    return said if kind == "value_error" else f"is not right: {said[:1].lower()}{said[1:]}"

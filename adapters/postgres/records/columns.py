"""Columns of many rows, each as one text that the server splits: the driver looks at every element of an array several
times, which costs more than all that is done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

_BETWEEN: Final = "\x1e"
_NONE: Final = "\x1a"
"""No name holds one of them, as they are not printable, and no JSON text, which escapes them."""

# each raises for None
_WRITTEN: Final[Mapping[str, Callable[[Any], str]]] = {
    "text": str.__str__,
    "bigint": int.__repr__,
    "uuid": lambda value: f"{value.int:032x}",  # a text with hyphens takes twice as long
    "bool": int.__repr__,
    "bytea": lambda value: rf"\x{value.hex()}",
    "timestamptz": datetime.isoformat,
}


def column(values: Sequence[Any], type: str) -> str:
    """*values* of *type* as the one argument of `split`; none is an empty text. Raises: ValueError where one cannot be
    told from the others."""
    if values[0] is None and values.count(None) == len(values):
        return _BETWEEN.join((_NONE,) * len(values))
    try:
        text = _BETWEEN.join(values if type == "text" else map(_WRITTEN[type], values))
    except (TypeError, AttributeError):  # there are nulls among them
        write = _WRITTEN[type]
        text = _BETWEEN.join([_NONE if value is None else write(value) for value in values])
    if text.count(_BETWEEN) >= len(values):
        raise ValueError("a text holds U+001E")
    return text


def split(place: int, type: str) -> str:
    """The SQL of the array of *type* that the argument at *place* holds."""
    parts = f"string_to_array(${place}::text, E'\\x1e', E'\\x1a')"
    return parts if type == "text" else f"{parts}::{type}[]"

"""The key that was meant by one that may not stand where it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from daemon.rules.problems import KeyPath

_LONGEST: Final = 80
"""Characters of a key that are compared."""

_EITHER: Final = ("anyOf", "oneOf", "allOf")


def meant(model: type[BaseModel], path: KeyPath) -> str | None:
    """The key of *model* that is most like the last one of *path*, of those that may stand there; None for none."""
    schema = _schema(model)
    *way, wrong = path
    places: list[Mapping[str, Any]] = [schema]
    for step in way:
        further = [after for place in places for after in _after(schema, place, step)]
        places = further or places  # what pydantic adds of its own, as the name of an alternative, is no step
    known = {name for place in places for part in _parts(schema, place) for name in part.get("properties", {})}
    near = get_close_matches(str(wrong).lower()[:_LONGEST], sorted(known), n=1)
    return near[0] if near else None


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {}


def _after(schema: Mapping[str, Any], place: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    """The places that one *step* leads to."""
    for part in _parts(schema, place):
        if isinstance(step, int):
            found: Sequence[Any] = [part.get("items"), *part.get("prefixItems", ())]
        else:
            found = [part.get("properties", {}).get(step, part.get("additionalProperties"))]
        yield from (one for one in found if isinstance(one, dict))


def _parts(schema: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """*place* and what it may be instead, without references."""
    if "$ref" in place:
        place = schema["$defs"][place["$ref"].rpartition("/")[2]]
    yield place
    for either in _EITHER:
        for one in place.get(either, ()):
            yield from _parts(schema, one)

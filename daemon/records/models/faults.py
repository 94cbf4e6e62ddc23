"""What is wrong between the parts of `models.toml`: keys that do not go together, and fields that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from daemon.rules.parts import table
from daemon.rules.problems import Fault, KeyPath, visible

RESERVED: Final = frozenset({"id", "data", "version", "stamps", "deleted"})
"""What stands beside the fields of a record where it is shown."""

_ORDERED: Final = ("integer", "number", "decimal", "date", "datetime")
_SIZED: Final = ("text", "set")


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """All of them. *document* is parsed and not yet checked: any part may have any shape."""
    models = table(document, "models")
    for name in models:
        model = table(models, name)
        path: KeyPath = ("models", name)
        fields = table(model, "fields")
        for field in fields:
            if field in RESERVED:
                yield Fault((*path, "fields", field), "is what every record has already: give the field another name")
            yield from _of_field((*path, "fields", field), table(fields, field))
        yield from _of_places(path, model, fields)
        yield from _of_retired(path, model, fields)


def _of_field(path: KeyPath, field: Mapping[str, Any]) -> Iterator[Fault]:
    kind, strategy = field.get("type"), field.get("strategy")
    if kind == "choice" and "values" not in field:
        yield Fault(path, 'has no values: name them, as values = ["new", "won"]')
    if kind != "choice" and "values" in field:
        yield Fault((*path, "values"), 'are for type = "choice": take them out, or make it one')
    if kind not in _SIZED and "max" in field:
        yield Fault((*path, "max"), "is for texts and sets: take it out")
    if strategy == "union" and kind != "set":
        yield Fault((*path, "strategy"), 'is for type = "set": take another')
    if strategy in ("max", "min") and kind not in _ORDERED:
        yield Fault((*path, "strategy"), f"needs values that have an order ({', '.join(_ORDERED)}): take another")
    values = field.get("values")
    if isinstance(values, list):
        for at, value in enumerate(values):
            if isinstance(value, str) and value in values[:at]:
                yield Fault((*path, "values", at), "is named twice: take it out")


def _of_places(path: KeyPath, model: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[Fault]:
    """Of the keys that name a field."""
    owner, branch = model.get("owner", "owner_id"), model.get("branch", "branch_id")
    if owner == branch:
        yield Fault((*path, "branch"), "is the owner's field too: give the branch its own")
    for key, name in (("owner", owner), ("branch", branch)):
        if not isinstance(name, str):
            continue
        if name in RESERVED:
            yield Fault((*path, key), "is what every record has already: name another field")
        own = table(fields, name)
        if own and own.get("type") != "text":
            yield Fault((*path, "fields", name, "type"), f'must be "text": it holds the {key} of the record')
        for extra in ("max", "required"):
            if extra in own:
                yield Fault((*path, "fields", name, extra), f"has no meaning for the {key} of a record: take it out")
    phone = model.get("phone")
    if isinstance(phone, str) and table(fields, phone).get("type") != "text":
        yield Fault((*path, "phone"), f'{visible(phone)} is no field of type "text": name one')


def _of_retired(path: KeyPath, model: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[Fault]:
    retired = model.get("retired")
    places = (model.get("owner", "owner_id"), model.get("branch", "branch_id"))
    for at, name in enumerate(retired if isinstance(retired, list) else ()):
        if isinstance(name, str) and (name in fields or name in places):
            yield Fault((*path, "retired", at), f"{visible(name)} is a field still: take it out of one of the two")

"""What an app asks of a list of records, field by field, as the database is asked: each value by its field's type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from adapters.postgres.records.listing import Filters, Readers
from daemon.records.models.rules import ModelPart, ModelRules, Type
from daemon.records.models.values import WrongValue
from schemas.errors import FerrymanError
from schemas.principals import Principal


class NoFilter(FerrymanError):
    """A list cannot be asked for that; the text says why, and no value."""


def readers_of(principal: Principal, model: ModelRules, asked: Mapping[str, str]) -> Readers:
    """Whose records *principal* is shown. Who may see all, and asks for those of an owner or a branch, is shown them by
    their index."""
    if not principal.sees_all:
        owners = [principal.name] if principal.kind == "user" else sorted(principal.owners)
        return Readers(owners=owners, branch=principal.branch if principal.kind == "edge" else None)
    if owner := asked.get(model.owner):
        return Readers(owners=[owner])
    if branch := asked.get(model.branch):
        return Readers(branch=branch)
    return Readers(all=True)


def filters_of(part: ModelPart, model: ModelRules, asked: Mapping[str, str]) -> Filters:
    """What the fields of *asked* must be. An empty text asks for what has no value. *part*: *model* as the rule file
    has it. Raises: NoFilter."""
    same: list[list[str]] = []
    numbers: list[tuple[str, str]] = []
    for name, text in asked.items():
        if name not in model.fields:
            raise NoFilter(f"{model.name} has no field {_shown(name)}")
        type: Type = part.fields[name].type if name in part.fields else "text"
        if not text:
            continue
        if type in ("json", "file"):
            raise NoFilter(f"{name} is of the type {type}: nothing can be asked of it but that it is empty")
        try:
            values = _READ.get(type, _as_it_is)(text)
            checked = [model.fields[name].kind.check(value) for value in values]
        except (ValueError, OverflowError) as wrong:
            raise NoFilter(f"{name} {wrong if isinstance(wrong, WrongValue) else f'must be of type {type}'}") from None
        if type == "decimal":
            numbers.append((name, text))
        else:
            same.append([orjson.dumps({name: value}).decode() for value in checked])
    return Filters(same=same, empty=[name for name, text in asked.items() if not text], numbers=numbers)


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:60])


def _as_it_is(text: str) -> Iterable[Any]:
    return [text]


def _boolean(text: str) -> Iterable[Any]:
    if text not in ("true", "false"):
        raise WrongValue("must be true or false")
    return [text == "true"]


def _datetime(text: str) -> Iterable[Any]:
    """The notations in which a moment is usually stored, since it is kept as it was sent. A + of an offset stands for a
    blank in a query."""
    text = text.replace(" ", "+") if text[10:11] == "T" else text
    found = datetime.fromisoformat(text)
    moment = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
    plain = {moment.isoformat(), moment.isoformat(timespec="milliseconds"), moment.isoformat(timespec="microseconds")}
    if moment.microsecond % 1000:
        plain.discard(moment.isoformat(timespec="milliseconds"))
    if not moment.second and not moment.microsecond:
        plain.add(moment.isoformat(timespec="minutes"))
    return {text, *(notation + zone for notation in plain for zone in ("Z", "+00:00", ""))}


_READ: Final[Mapping[str, Callable[[str], Iterable[Any]]]] = {
    "integer": lambda text: [int(text) if text.isascii() and len(text) < 20 else text],
    "number": lambda text: [float(text) if text.isascii() else text],
    "boolean": _boolean,
    "set": lambda text: [[text]],
    "datetime": _datetime,
}
"""Type -> the values that a text of the query may stand for; of the others, the text itself."""

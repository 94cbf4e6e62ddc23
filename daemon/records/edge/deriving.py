"""What a record is here: the upstream's row, with our own open operations on top. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

import orjson

from adapters.postgres.records.pulled import OpRow, State, ThereRow, ViewRow
from adapters.postgres.records.reading import StoredRow
from schemas.principals import audiences_of
from schemas.records.operation import Verb
from schemas.records.overlay import Row, overlaid
from schemas.records.stamps import LIFE, Stamp, dumped, loaded

UP: Final = "up"
"""The peer that the upstream is to this server."""

UNKNOWN: Final = ThereRow(0, True, None, None, None, None)
"""The base of a record that the upstream is not known to have."""


class Places(NamedTuple):
    """The fields of a model that say whose a record is."""

    owner: str | None
    branch: str | None


class Layer(NamedTuple):
    """What an operation writes."""

    operation: Verb
    data: Mapping[str, Any]


class Derived(NamedTuple):
    """*view*: None: nothing changes, and nothing is written. *fields*: those whose value is another than before.
    *left*: whom the record has left."""

    view: ViewRow | None
    fields: tuple[str, ...] = ()
    left: frozenset[str] = frozenset()


def open_ops(ops: Iterable[OpRow]) -> list[OpRow]:
    """Those that lie on top of the upstream's row. One that has failed does not: everybody sees what the upstream has,
    and it stays in the queue, for a person. Nor does one that is sent again although that row should hold it."""
    return [op for op in ops if not op.settled and op.state != "failed" and not is_sent_again(op)]


def is_sent_again(op: OpRow) -> bool:
    """Whether *op* waits although it was answered before: the upstream's history went back, and perhaps it lacks it."""
    return op.state == "pending" and op.acked_version is not None


def is_settled(op: OpRow, there: ThereRow) -> bool:
    """Whether *there* holds an operation that the upstream has answered."""
    return op.state != "pending" and op.acked_version is not None and there.up_version >= op.acked_version


def base_of(state: State) -> ThereRow:
    """The upstream's row, as far as it is known here."""
    if state.there is not None:
        return state.there
    here = state.here
    if here is None or here.up_version is None:
        return UNKNOWN
    return ThereRow(here.up_version, here.deleted, here.owner_id, here.branch, here.data, here.stamps)


def derive(state: State, there: ThereRow, ops: Sequence[OpRow], places: Places, now: datetime) -> Derived:
    """What the record is made of anew. *ops*: those that are open. The row of a record of which neither the upstream
    nor an operation says anything is emptied: it is nobody's any more."""
    here = state.here
    row = _overlaid(there, ops)
    if row is None:
        return gone(state, now)
    data, deleted = row.data, row.deleted
    owner = _text(data, places.owner) if places.owner in data else there.owner_id
    branch = _text(data, places.branch) if places.branch in data else there.branch
    was: dict[str, Any] = {} if here is None else orjson.loads(here.data)
    fields = tuple(sorted(name for name in was.keys() | data.keys() if was.get(name) != data.get(name)))
    shown = None if here is None else (here.owner_id, here.branch, here.deleted, here.erased)
    visible = bool(fields) or shown != (owner, branch, deleted, False)
    version = (0 if here is None else here.version) + visible
    stamps = _stamps(here, there, ops, data, fields, version) | _life(here, ops, version, deleted=deleted)
    view = ViewRow(
        key=state.key,
        expected=0 if here is None else here.version,
        version=version,
        owner_id=owner,
        branch=branch,
        deleted=deleted,
        erased=False,
        data=orjson.dumps(data).decode(),
        stamps=dumped(stamps),
        up_version=there.up_version or None,
        changed_at=_changed_at(stamps, now),
        visible=visible,
    )
    return Derived(view, fields, _left(here, owner, branch))


def gone(state: State, now: datetime) -> Derived:
    """The record is not for this edge any more: what it held is dropped, and its readers here are told so."""
    here = state.here
    if here is None or (here.deleted and here.owner_id is None and here.branch is None and here.data == "{}"):
        return Derived(None)
    view = ViewRow(
        state.key, here.version, here.version + 1, None, None, True, here.erased, "{}", "{}", None, now, True
    )
    return Derived(view, (), audiences_of(here.owner_id, here.branch))


def _overlaid(there: ThereRow, ops: Sequence[OpRow]) -> Row | None:
    known = there.data is not None or there.up_version > 0
    data = {} if there.data is None else orjson.loads(there.data)
    base = Row(version=there.up_version, data=data, deleted=there.deleted) if known else None
    return overlaid(base, [Layer(cast(Verb, op.operation), fields_of(op)) for op in ops])


def fields_of(op: OpRow) -> dict[str, Any]:
    """What *op* writes."""
    return {} if op.data is None else dict(orjson.loads(op.data))


def _stamps(
    here: StoredRow | None,
    there: ThereRow,
    ops: Sequence[OpRow],
    data: Mapping[str, Any],
    fields: Sequence[str],
    version: int,
) -> dict[str, Stamp]:
    """A field whose value stays keeps the version and the peer at which it came here: an own write that comes back is
    nobody else's. The others came at *version*, from the upstream."""
    was = {} if here is None else loaded(here.stamps)
    theirs = {} if there.stamps is None else orjson.loads(there.stamps)
    own = {name: op for op in ops for name in fields_of(op)}
    made: dict[str, Stamp] = {}
    for name in data:
        old, up = was.get(name), theirs.get(name)
        if name not in fields and old is not None:
            told = up if up is not None and name not in own else old
            made[name] = Stamp(told[0], told[1], told[2], old.version, old.peer, old.foreign)
        elif name in own:
            made[name] = _over(old, _moment(own[name]), version, own[name].origin)
        else:
            made[name] = _over(old, tuple(up[:3]) if up else (0, 0, UP), version, UP)
    return made


def _life(here: StoredRow | None, ops: Sequence[OpRow], version: int, *, deleted: bool) -> dict[str, Stamp]:
    """The stamp of a deletion or a return: as it was, where that is as it was; else the upstream's doing."""
    old = None if here is None else loaded(here.stamps).get(LIFE)
    if deleted == (here is not None and here.deleted):
        return {} if old is None else {LIFE: old}
    own = next((op for op in reversed(ops) if op.operation == "DELETE" or not deleted), None)
    told, peer = ((0, 0, UP), UP) if own is None else (_moment(own), own.origin)
    return {LIFE: _over(old, told, version, peer)}


def _over(old: Stamp | None, told: Sequence[Any], version: int, peer: str) -> Stamp:
    foreign = 0 if old is None else (old.version if old.peer != peer else old.foreign)
    return Stamp(told[0], told[1], told[2], version, peer, foreign)


def _moment(op: OpRow) -> tuple[int, int, str]:
    return int(op.changed_at.timestamp() * 1000), op.tick, op.origin


def _changed_at(stamps: Mapping[str, Stamp], now: datetime) -> datetime:
    newest = max((stamp.ms for stamp in stamps.values()), default=0)
    return min(datetime.fromtimestamp(newest / 1000, UTC), now) if newest else now


def _left(here: StoredRow | None, owner: str | None, branch: str | None) -> frozenset[str]:
    if here is None:
        return frozenset()
    return audiences_of(here.owner_id, here.branch) - audiences_of(owner, branch)


def _text(data: Mapping[str, Any], field: str | None) -> str | None:
    value = None if field is None else data.get(field)
    return value if isinstance(value, str) else None


def lost_fields(here: StoredRow, view: ViewRow | None) -> dict[str, Any]:
    """The values of *here* that *view* does not hold."""
    now: dict[str, Any] = {} if view is None or view.deleted else orjson.loads(view.data)
    was: dict[str, Any] = {} if here.deleted else orjson.loads(here.data)
    return {name: value for name, value in was.items() if value is not None and now.get(name) != value}

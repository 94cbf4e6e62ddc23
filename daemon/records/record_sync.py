"""The record-sync worker: whom a changed record is about, and that an edge has something for its upstream.

    record.changed ──► the record as it stands ──► the phone line of its person, in `record_people`
                   └─► this process looks at its queue to the upstream

An event says only that a record has changed: what counts is the record as it is read then. So events may come twice,
late, or in any order. Nothing outside is called, and nothing of the feed of changes depends on this worker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from adapters.postgres.pool import Connection
from adapters.postgres.records import people
from adapters.postgres.records.people import Asked, Found, Line
from daemon.bus.batcher import Batcher
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Domain, Outside, Worker
from daemon.records.models.rules import MODELS
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import parse_phone
from schemas.records.operation import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDeps:
    """The outside as the handler sees it. *phones*: model -> its field with the phone of whom a record is about.
    *find*: answers how a record stands. *wake*: has this process look at its queue to the upstream, if it has one."""

    phones: Mapping[str, str]
    find: Callable[[Asked], Awaitable[Found | None]]
    wake: Callable[[], None]


class Gone(NamedTuple):
    """A record that is not there any more."""

    model: str
    record_id: str


async def handle(event: Event, deps: RecordDeps, turn: Turn) -> Outcome:
    """Find the phone line of the person whom a record is about. Raises: Malformed."""
    model, record_id = _record_of(event)
    deps.wake()
    field = deps.phones.get(model)
    if field is None:
        return Done(skipped="its model names no phone")
    found = await deps.find(Asked(model, record_id, field))
    if found is None:
        return Done(rows=(Gone(model, record_id),))
    if found.known:
        return Done(skipped="known already")
    return Done(rows=(Line(model, record_id, found.seq, _line_of(found)),))


def _record_of(event: Event) -> Key:
    """Raises: Malformed."""
    said = event.json()
    model, record_id = (said.get("model"), said.get("id")) if isinstance(said, dict) else (None, None)
    if not isinstance(model, str) or not isinstance(record_id, str):
        raise Malformed("the event does not say which record has changed")
    return model, record_id


def _line_of(found: Found) -> str | None:
    phone = None if found.deleted else parse_phone(found.phone, branch=found.branch)
    return None if phone is None else phone.line


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    """Write a batch of what was found."""
    await people.keep(conn, [row for row in rows if isinstance(row, Line)])
    await people.drop(conn, [(row.model, row.record_id) for row in rows if isinstance(row, Gone)])


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[RecordDeps]:
    lookups: Batcher[Asked, Found | None] = Batcher(partial(people.find, outside.pool))
    models = outside.rules(MODELS).models
    yield RecordDeps(
        phones={name: model.phone for name, model in models.items() if model.phone is not None},
        find=lookups.submit,
        wake=outside.wake if outside.settings.sync_upstream_url else lambda: None,
    )


RECORDS: Final[Domain[RecordDeps]] = Domain(name="records", opened=_opened, rules=(MODELS,))

WORKER: Final[Worker[RecordDeps]] = Worker(
    name="record-sync",
    reads=("records",),
    types=frozenset({"record.changed"}),
    begins="everything",
    domain=RECORDS,
    handle=handle,
    record=record,
)

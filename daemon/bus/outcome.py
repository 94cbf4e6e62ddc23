"""How the handling of an event may end, and what a worker is.

A handler returns Done or Later, or raises one of the errors of `schemas.errors`. It writes nothing itself: the rows it
returns are recorded by the committer, in one transaction with the inbox and the outbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from adapters.postgres.pool import Connection
from schemas.envelope import Event
from schemas.errors import FerrymanError

if TYPE_CHECKING:
    from daemon.deps import Deps
    from daemon.settings.model import Settings

Row: TypeAlias = object
"""A value that the worker's own `record` knows how to write."""


@dataclass(frozen=True, slots=True)
class Done:
    """Handled. *skipped*: nothing was to be done, for this reason (short, from a closed set)."""

    rows: tuple[Row, ...] = ()
    emit: tuple[Event, ...] = ()
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Not finished: record *rows*, then call the handler again at *at* (at once if past) with `turn.step == step`.

    Waits in its lane: later events of the same key wait behind it. Costs no attempt. After a crash the handler starts
    again from step "", so what *rows* say must be harmless to say twice.
    """

    at: datetime
    rows: tuple[Row, ...] = ()
    step: str = ""
    memo: Any = None


Outcome: TypeAlias = Done | Later


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of the handler: the *now* it decides by, which *attempt* it is (from 1; waiting and outages cost
    none), and the
    *step* and *memo* that the last Later of this event named ("" and None at first, and after a crash)."""

    now: datetime
    attempt: int = 1
    step: str = ""
    memo: Any = None


def _no_rows(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    return ()


async def _record_nothing(conn: Connection, rows: Sequence[Row]) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One concern. Its *name* is the consumer group: renaming it replays the stream.

    reads: topics. types: the event types it handles; others on those topics are not its business and count nowhere.
    record: writes a batch of rows in the committer's transaction; sorts what it locks; a repeat is harmless.
    buried: rows that go with an event's dead letter, in the same transaction.
    provider: whose breaker and pause stop it, or None. on_uncertain: "retry" only where the handler looks before it
    acts.
    lanes: how many keys run side by side. attempts: handler calls that may fail before the event is a dead letter.
    off: why the worker cannot run with these settings, or None. quiet: its ordinary ends are logged at debug.
    """

    name: str
    reads: tuple[str, ...]
    types: frozenset[str]
    handle: Callable[[Event, Deps, Turn], Awaitable[Outcome]]
    record: Callable[[Connection, Sequence[Row]], Awaitable[None]] = _record_nothing
    buried: Callable[[Event, FerrymanError, Turn], Sequence[Row]] = _no_rows
    provider: str | None = None
    on_uncertain: Literal["retry", "hold"] = "hold"
    lanes: Callable[[Settings], int] = lambda settings: 50
    attempts: Callable[[Settings], int] = lambda settings: 8
    off: Callable[[Settings], str | None] = lambda settings: None
    quiet: bool = False
    deadline_s: Callable[[Settings], float] = lambda settings: 60.0

    def concerns(self, event: Event) -> bool:
        """Whether *event* is this worker's business: a replay and an operator's retry are for one worker alone."""
        replayed_elsewhere = event.replayid and not event.replayid.startswith(f"{self.name}:")
        return event.type in self.types and not replayed_elsewhere and event.target in ("", self.name)

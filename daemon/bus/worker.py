"""What a worker is, and the domain that it belongs to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from adapters.postgres.bus.workers import EPOCH, Begins, Registered
from adapters.postgres.pool import Connection, Pool
from daemon.bus.outcome import Outcome, Row, Turn
from daemon.rules.files import SHIPPED, RuleFile, Rules
from daemon.telemetry.declared import Declared
from schemas.envelope import Event
from schemas.errors import FerrymanError

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from adapters.channel import Channels
    from adapters.redis.client import Redis
    from daemon.settings.model import Settings
    from daemon.stores.credentials import Credentials
    from daemon.telemetry.metrics import Metrics

Clock: TypeAlias = Callable[[], datetime]
"""Tells the time, with its zone."""


def utc_now() -> datetime:
    """The clock of the process."""
    return datetime.now(UTC)


D = TypeVar("D")
"""What a domain's handlers are given."""


def _nobody_waits() -> None:
    pass


def _ignored(act: Callable[[], None]) -> None:
    pass


async def _left(events: Sequence[Event], seqs: Sequence[int]) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the composition root hands to a domain, for it to build what its handlers need.

    *secret*: gives the text of a secret by the name of its setting, in lower case. Ask it at each use: unlike the other
    *settings*, a secret may change while the process runs. *rules*: gives what a rule file says. *credentials*: the
    stored accounts; None: none are known, as where a command only looks. *at_end*: has something done when the process
    ends, while the stores are still open. *hurry*: publishes events that were just committed to the outbox, given their
    numbers there; else the sweeper does, seconds later. *wake*: tells whatever waits in this process for changes of
    records that there is one.
    """

    settings: Settings
    secret: Callable[[str], str]
    pool: Pool
    redis: Redis
    session: ClientSession
    channels: Channels
    metrics: Metrics
    now: Clock
    rules: Rules = SHIPPED
    credentials: Credentials | None = None
    at_end: Callable[[Callable[[], None]], object] = _ignored
    hurry: Callable[[Sequence[Event], Sequence[int]], Awaitable[None]] = _left
    wake: Callable[[], None] = _nobody_waits


class Duty(NamedTuple):
    """What a process does by the clock: *act*, every *every_s* seconds. Several processes may do it at once."""

    name: str
    act: Callable[[], Awaitable[None]]
    every_s: float


def _no_duties(outside: Outside, deps: Any) -> Sequence[Duty]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain(Generic[D]):
    """Workers that share what they need of the outside. *opened* builds it, and closes it with the process. *metrics*:
    what the domain counts. *scopes*: channel -> what its rate limit counts by. *duties*: what it does by the clock in a
    process that runs one of its workers, given what *opened* has built. *rules*: the rule files that it goes by."""

    name: str
    opened: Callable[[Outside], AbstractAsyncContextManager[D]]
    metrics: tuple[Declared, ...] = ()
    scopes: Mapping[str, str] = field(default_factory=dict, hash=False)
    duties: Callable[[Outside, D], Sequence[Duty]] = _no_duties
    rules: tuple[RuleFile[Any], ...] = ()


def _no_rows(event: Event, error: FerrymanError, turn: Turn) -> Sequence[Row]:
    return ()


def _no_rows_of_poison(event_id: str, turn: Turn) -> Sequence[Row]:
    return ()


def _no_rows_of_waiting(event: Event, why: str, turn: Turn) -> Sequence[Row]:
    return ()


async def _record_nothing(conn: Connection, rows: Sequence[Row]) -> Sequence[Event] | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker(Generic[D]):
    """One concern. Its *name* is that of its consumer group: under a new name it gets every event again.

    reads: topics. types: the event types it handles; it ignores other events of those topics, and they count nowhere.
    begins: where it begins when the installation has not had it before. "now" for whatever reaches people.
    domain: builds what *handle* is given; None: it is given nothing.
    record: writes a batch of rows in the committer's transaction; sorts what it locks; a repeat is harmless. Returns
        what is emitted because of what it found there, as events whose ids derive from that; None for nothing.
    buried: rows that go with an event's dead letter, or with its end as uncertain, in the same transaction.
    poisoned: the same for an event that kills the process which reads it: given its id alone.
    waits: rows that say why an event waits for a channel, or for its next attempt; given the reason as a sentence.
    channels: what it calls, by name: for the operator who pauses one, and for the metrics.
    bulk: the types, and *bulk_sources* the sources, whose calls wait at a rate limit behind all others, as those of
        replays do.
    on_uncertain: "retry" only where the handler looks before it acts.
    lanes: how many keys run side by side. attempts: handler calls that may fail before the event is a dead letter.
    off: why the worker cannot run with these settings, or None. idle: why it has nothing to do by these rules, or None.
    deadline_s: seconds that one call of *handle* may take.
    """

    name: str
    reads: tuple[str, ...]
    types: frozenset[str]
    handle: Callable[[Event, D, Turn], Awaitable[Outcome]]
    begins: Begins = "now"
    domain: Domain[D] | None = None
    record: Callable[[Connection, Sequence[Row]], Awaitable[Sequence[Event] | None]] = _record_nothing
    buried: Callable[[Event, FerrymanError, Turn], Sequence[Row]] = _no_rows
    poisoned: Callable[[str, Turn], Sequence[Row]] = _no_rows_of_poison
    waits: Callable[[Event, str, Turn], Sequence[Row]] = _no_rows_of_waiting
    channels: tuple[str, ...] = ()
    bulk: frozenset[str] = frozenset()
    bulk_sources: frozenset[str] = frozenset()
    on_uncertain: Literal["retry", "hold"] = "hold"
    lanes: Callable[[Settings], int] = lambda settings: 50
    attempts: Callable[[Settings], int] = lambda settings: 8
    off: Callable[[Settings], str | None] = lambda settings: None
    idle: Callable[[Rules], str | None] = lambda rules: None
    deadline_s: Callable[[Settings], float] = lambda settings: 60.0

    def concerns(self, event: Event, since: datetime = EPOCH) -> bool:
        """Whether this worker handles *event*. *since*: events that were accepted before are not its own."""
        return event.type in self.types and event.is_for(self.name, since)

    def is_bulk(self, event: Event) -> bool:
        """Whether the calls for *event* wait at a rate limit behind all others."""
        return bool(event.replayid) or event.type in self.bulk or event.source in self.bulk_sources

    @property
    def entry(self) -> Registered:
        """Its entry in the table of the installation's workers."""
        return Registered(name=self.name, topics=sorted(self.reads), types=sorted(self.types), begins=self.begins)


AnyWorker: TypeAlias = Worker[Any]
"""A worker, whatever its handlers are given."""

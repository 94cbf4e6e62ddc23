"""What happens to an event after its handler ended: plain decisions over values."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from adapters.gate import NoPlace
from adapters.redis.limits import Ticket
from daemon.bus.outcome import Done, Later, Outcome, Row
from schemas.envelope import Event
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    Permanent,
    StoreAway,
    Transient,
    Uncertain,
)

BACKOFF_S: Final = 2.0
BACKOFF_CAP_S: Final = 900.0
OUTAGE_CAP_S: Final = 15.0
LIMITED_S: Final = 0.5
LIMITED_LEAST_S: Final = 0.1
STORE_AWAY_S: Final = 1.0
RETRY_AFTER_CAP_S: Final = 300.0
PAYLOAD_LOOK_S: Final = 60.0


class Poison(Permanent):
    """The event kills the process that handles it."""


class PayloadAbsent(FerrymanError):
    """The payload of a large event is not where its reference says. The event stays open and waits for it."""


class Finish(NamedTuple):
    """The event has ended for this worker."""

    outcome: Literal["done", "skipped", "dead", "uncertain"]
    reason: str | None = None
    rows: tuple[Row, ...] = ()
    emit: tuple[Event, ...] = ()
    error: FerrymanError | None = None


class Wait(NamedTuple):
    """Record *rows*, then call the handler again at *at*."""

    at: datetime
    rows: tuple[Row, ...]
    step: str
    memo: Any


class Retry(NamedTuple):
    """Call the handler again, from its first step, after *delay_s*. *counted*: it cost an attempt. *limited*: it was no
    failure of the event or its channel, only not the time for it. *rows*: to record with it."""

    delay_s: float
    counted: bool
    error: FerrymanError
    limited: bool = False
    rows: tuple[Row, ...] = ()


class Park(NamedTuple):
    """Record *rows*, then wait until *channel* is back, or one of those that may go *instead*; costs nothing."""

    channel: str
    rows: tuple[Row, ...] = ()
    instead: tuple[str, ...] = ()


class StandInLine(NamedTuple):
    """Record *rows*, then wait until *ticket* is called: our own rate limit has no place now; costs nothing. *why*: the
    other side has asked us to wait, as a sentence."""

    ticket: Ticket
    why: str = ""
    rows: tuple[Row, ...] = ()


class Yield:
    """Call the handler again in a moment, if this process still holds the lease then; costs nothing."""


Written: TypeAlias = Finish | Wait | Retry | Park | StandInLine
"""A verdict that is written to Postgres, the last two where they have rows."""

Verdict: TypeAlias = Written | Yield


class Unexpected(FerrymanError):
    """The handler raised an error that is not a FerrymanError: a fault of the program. The text is its class alone."""


def backoff(failures: int, rng: random.Random, *, base_s: float = BACKOFF_S, cap_s: float = BACKOFF_CAP_S) -> float:
    """Full jitter: anywhere between 0 and min(cap, base * 2^(failures - 1)) seconds. *failures* counts from 1."""
    return rng.uniform(0, min(cap_s, base_s * 2 ** min(failures - 1, 30)))


def decide(
    result: Outcome | FerrymanError,
    *,
    attempts: int,
    failures: int,
    limit: int,
    channel_answers: bool,
    on_uncertain: Literal["retry", "hold"],
    rng: random.Random,
) -> Verdict:
    """The verdict on one call of a handler.

    *attempts*: failures counted before this one; *failures*: failures in a row before this one; *limit*: how many
    attempts there are. *channel_answers*: the channel has served an event since this one last failed. While it has not,
    the fault is the channel's and not the event's, and costs no attempt: so an outage of any length buries nothing.
    """
    match result:
        case Done(skipped=None):
            return Finish("done", rows=result.rows, emit=result.emit)
        case Done():
            return Finish("skipped", result.skipped, result.rows, result.emit)
        case Later():
            return Wait(result.at, result.rows, result.step, result.memo)
        case ChannelClosed() | ChannelDown():
            assert result.channel is not None
            return Park(result.channel, instead=result.instead)
        case NoPlace():
            return StandInLine(result.ticket, str(result) if result.ticket.paused else "")
        case LeaseLost():
            return Yield()
        case StoreAway():
            return Retry(STORE_AWAY_S + rng.uniform(0, STORE_AWAY_S), False, result, limited=True)
        case PayloadAbsent():
            return Retry(PAYLOAD_LOOK_S + rng.uniform(0, 1), False, result, limited=True)
        case Permanent():
            return Finish("dead", type(result).__name__, error=result)
        case Uncertain() if on_uncertain == "hold":
            return Finish("uncertain", str(result), error=result)
        case Transient(limited=True):
            # a longer pause is the rate limit's: the event then stands in its line, before what comes later, and goes
            # on when a pause is lifted
            pause = LIMITED_S if result.retry_after_s is None else result.retry_after_s
            return Retry(max(LIMITED_LEAST_S, min(pause, LIMITED_S)), False, result, limited=True)
        case _:
            counted = channel_answers or isinstance(result, Unexpected)
            if counted and attempts + 1 >= limit:
                return Finish("dead", type(result).__name__, error=result)
            delay = backoff(failures + 1, rng, cap_s=BACKOFF_CAP_S if counted else OUTAGE_CAP_S)
            asked = getattr(result, "retry_after_s", None) or 0.0
            return Retry(max(delay, min(asked, RETRY_AFTER_CAP_S)), counted, result)

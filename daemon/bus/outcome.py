"""How the handling of an event may end.

A handler returns Done or Later, or raises one of the errors of `schemas.errors`. It writes nothing itself: the rows it
returns are recorded by the committer, in one transaction with the inbox and the outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from schemas.envelope import Event

Row: TypeAlias = object
"""A value that the worker's own `record` knows how to write."""


class Done(NamedTuple):
    """Handled. *skipped*: nothing was to be done, for this reason (short, from a closed set)."""

    rows: tuple[Row, ...] = ()
    emit: tuple[Event, ...] = ()
    skipped: str | None = None


class Later(NamedTuple):
    """Not finished: record *rows*, then call the handler again at *at* (at once if past) with `turn.step == step`.

    The event waits in its lane: later events of the same key wait behind it. That costs no attempt. After a crash the
    handler starts again from step "", so it must be harmless to record *rows* twice.
    """

    at: datetime
    rows: tuple[Row, ...] = ()
    step: str = ""
    memo: Any = None


Outcome: TypeAlias = Done | Later


def _nothing() -> Sequence[Event]:
    return ()


class Turn(NamedTuple):
    """One call of a handler.

    *now*: what it decides by. *attempt*: from 1; waiting and outages cost none. *step*, *memo*: what the last Later of
    this event named ("" and None at first, and after a crash). *entry_id*: of the event's entry on its stream.
    *behind*: gives the events of the same key that wait in hand for the end of this one. *failed*, for `Worker.waits`:
    the event waits because an attempt has failed.
    """

    now: datetime
    attempt: int = 1
    step: str = ""
    memo: Any = None
    entry_id: str = ""
    behind: Callable[[], Sequence[Event]] = _nothing
    failed: bool = False

"""Where an event stands in the lanes of this process: what no store knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from daemon.bus.lanes import Entry, Lanes
from schemas.envelope import InboxKey

State: TypeAlias = Literal["handled", "ready", "delayed", "retry", "parked", "line", "behind", "left", "absent"]
"""*handled*: its handler runs, or its results are being written. *ready*: it waits for a slot. *delayed*: its handler
has asked to be called later. *retry*: an attempt has failed. *parked*: its channel is away. *line*: a rate limit has no
place for it. *behind*: an earlier event of its key has not ended. *left*: its key has its share in hand, and the event
is on the stream yet. *absent*: the process does not hold it."""

_TIMES: Final = ("since", "next_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlace:
    """*since*: handled since. *next_at*: when it goes on. *channel*: that it waits for. *step*: what its handler has
    asked to be called for later. *behind*: the id of the event at the head of its lane; *head*: where that stands."""

    state: State
    since: datetime | None = None
    next_at: datetime | None = None
    channel: str | None = None
    step: str = ""
    failures: int = 0
    behind: str | None = None
    head: LanePlace | None = None

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def place_from(document: Mapping[str, Any]) -> LanePlace:
    """The place that a process has told of. Raises: KeyError, TypeError or ValueError for what is none."""
    times: dict[str, Any] = {
        name: None if document[name] is None else datetime.fromisoformat(document[name]) for name in _TIMES
    }
    head = None if document["head"] is None else place_from(document["head"])
    rest = {name: document[name] for name in ("state", "channel", "step", "failures", "behind")}
    return LanePlace(**rest, **times, head=head)


def place_of(lanes: Lanes, event: InboxKey, subject: str, loop_s: float) -> LanePlace:
    """Where the event of the key *subject* stands in *lanes*. *loop_s*: the loop's time now."""
    entry = lanes.held(event)
    if entry is None:
        return LanePlace(state="left" if lanes.left.has(subject) else "absent")
    head = lanes.head(subject)
    if head is not None and head is not entry:
        return LanePlace(state="behind", behind=head.event.id, head=_of_head(lanes, head, loop_s))
    return _of_head(lanes, entry, loop_s)


def _of_head(lanes: Lanes, entry: Entry, loop_s: float) -> LanePlace:
    now = datetime.now(UTC)
    if entry.active:
        since = None if entry.called is None else now - timedelta(seconds=loop_s - entry.called)
        return LanePlace(state="handled", since=since, step=entry.step, failures=entry.failures)
    if (due := lanes.due(entry)) is not None:
        at = now + timedelta(seconds=max(0.0, due - loop_s))
        state: State = "delayed" if entry.step or not entry.failures else "retry"
        return LanePlace(state=state, next_at=at, step=entry.step, failures=entry.failures)
    if (channels := lanes.channels_of(entry)) is not None:
        return LanePlace(state="parked", channel=channels[0], failures=entry.failures)
    if entry.ticket is not None and not entry.ticket.called.done():
        return LanePlace(state="line", failures=entry.failures)
    return LanePlace(state="ready", failures=entry.failures)

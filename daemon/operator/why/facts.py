"""What is known of an event and one worker: from the tables, from Redis, and from the process that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from adapters.postgres.operator.dead_letters import StoredLetter
from adapters.postgres.operator.trail import FailedAttempts, WorkerEnding
from adapters.postgres.operator.waiting import Waiting
from daemon.bus.lane_view import LanePlace
from daemon.operator.members import Member
from daemon.operator.trail import EventTrail
from daemon.operator.why.circumstances import Circumstances


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheBus:
    """Where an event stands in Redis. *owner*: the name of the process that holds the partition; None: none does.
    *ahead*: how many entries of its stream its worker has not been given before it; None: it has been given the event,
    or that is not known. *more*: there are more than *ahead*. *rate*: events a second that the worker has ended with of
    late, in this partition."""

    partition: int
    owner: str | None
    lost: str = ""
    """How far the streams are rebuilt, in words; "": they are whole."""
    ahead: int | None = None
    more: bool = False
    rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """*worker*, *types*, *channels*: whose answer it is, what it handles, what it calls. *asked*: the name that was
    looked up. *trail*: None: there is no such event. *waiting*: it is not on its stream yet. *bus*: None: Redis was not
    asked, or is *away*. *lane*: None: its process was not asked, or is *silent*. *sibling*: the id of the first open
    event of its key, and how that has failed."""

    worker: str
    types: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    asked: str = ""
    trail: EventTrail | None = None
    now: Circumstances = field(default_factory=Circumstances)
    waiting: Waiting | None = None
    message: tuple[str, str] | None = None
    """(id, status) of the message that it asks for."""
    bus: OnTheBus | None = None
    away: bool = False
    lane: LanePlace | None = None
    asked_at: datetime | None = None
    silent: bool = False
    sibling: str | None = None
    sibling_failed: FailedAttempts | None = None

    @property
    def ending(self) -> WorkerEnding | None:
        """How the worker ended with it."""
        ends = () if self.trail is None else self.trail.endings
        return next((end for end in ends if end.worker == self.worker and not end.replay_id), None)

    @property
    def letter(self) -> StoredLetter | None:
        """Its dead letter."""
        letters = () if self.trail is None else self.trail.letters
        return next((one for one in letters if one.worker == self.worker and not one.event.replayid), None)

    @property
    def failed(self) -> FailedAttempts | None:
        """Its attempts, where it is open and has failed."""
        found = () if self.trail is None else self.trail.attempts
        return next((one for one in found if one.worker == self.worker and not one.replay_id), None)

    @property
    def holder(self) -> Member | None:
        """The live process that holds its partition."""
        owner = None if self.bus is None else self.bus.owner
        return next((member for member in self.now.members if member.id == owner), None)

    @property
    def held_by(self) -> str:
        """The holder in words."""
        owner = "" if self.bus is None or self.bus.owner is None else self.bus.owner
        return f"process {owner[:8]}" if self.holder is None else self.holder.named

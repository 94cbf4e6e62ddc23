"""The rules of *why*, in their order: the first that holds wins. Facts in, a sentence out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from daemon.bus.lane_view import LanePlace
from daemon.operator.why.circumstances import off, paused, provider_stopped
from daemon.operator.why.facts import Facts
from daemon.operator.why.sentence import NEXT, Sentence, Who, shown
from daemon.telemetry.redaction import redact_text

Rule: TypeAlias = Callable[[Facts], Sentence | None]


def not_known(f: Facts) -> Sentence | None:
    """Nothing here has it."""
    if f.trail is not None:
        return None
    text = (
        "no such event here: the journal, the spool, the outbox and the dead letters have none of this name; if it was"
        " accepted, `ferryman replay --missing` publishes it again"
    )
    return Sentence(text=text, rule="not known", who_can_act="operator", link="/find")


def not_its_own(f: Facts) -> Sentence | None:
    """The worker handles no such events, or none that are so old."""
    if f.trail is None or f.worker in f.trail.workers or f.ending is not None:
        return None
    return Sentence(
        text=f"{f.worker} has nothing to do with it: it handles other types, or began later", rule="foreign"
    )


def finished(f: Facts) -> Sentence | None:
    """The worker has done it, or had nothing to do."""
    end = f.ending
    if end is None or end.outcome not in ("done", "skipped"):
        return None
    why = f" ({redact_text(end.reason)})" if end.reason else ""
    by = f" by {end.host}" if end.host else ""
    return Sentence(text=f"{end.outcome}{why} at {shown(end.at)}{by}", rule="finished", since=end.at)


def dead(f: Facts) -> Sentence | None:
    """The worker has given up."""
    end, letter = f.ending, f.letter
    if end is None or end.outcome != "dead":
        return None
    if letter is None:
        return Sentence(text=f"dead since {shown(end.at)}; its letter is not kept any more", rule="dead", since=end.at)
    link = f"/letters/{letter.id}"
    if letter.state == "discarded":
        by = letter.settled_by or "an operator"
        return Sentence(text=f"dead; its letter was discarded by {by}", rule="dead", since=letter.settled_at, link=link)
    text = (
        f"dead since {shown(letter.buried_at)} after {_attempts(letter.attempts)}: {letter.error_class}:"
        f" {redact_text(letter.error_text)}; `ferryman dead-letters retry {letter.id}`"
    )
    return Sentence(text=text, rule="dead", since=letter.buried_at, who_can_act="operator", link=link)


def uncertain(f: Facts) -> Sentence | None:
    """It may have been done."""
    end = f.ending
    if end is None or end.outcome != "uncertain":
        return None
    since, link = f"since {shown(end.at)}", f"/events/{end.event_id}"
    if f.message is None:
        why = f": {redact_text(end.reason)}" if end.reason else ""
        text = f"it may have been done, and nobody knows, {since}{why}; see `ferryman uncertain list`"
        return Sentence(text=text, rule="uncertain", since=end.at, who_can_act="operator", link=link)
    id, status = f.message
    if status != "uncertain":
        return Sentence(
            text=f"it was uncertain {since}, and is {status} now", rule="uncertain", since=end.at, link=link
        )
    text = f"the message may have been sent, and nobody knows, {since}; `ferryman uncertain settle {id[:8]}`"
    return Sentence(text=text, rule="uncertain", since=end.at, who_can_act="operator", link=f"/messages/{id}")


def in_spool(f: Facts) -> Sentence | None:
    """Accepted while Redis was away."""
    if f.waiting is None or f.waiting.where != "spool":
        return None
    text = f"accepted, waits for Redis since {shown(f.waiting.since)}; place {f.waiting.ahead + 1} in the spool"
    return Sentence(text=text, rule="in spool", since=f.waiting.since, link="/bus")


def in_outbox(f: Facts) -> Sentence | None:
    """Emitted, or sent again, and not on its stream yet."""
    if f.waiting is None or f.waiting.where != "outbox":
        return None
    what = "it is sent again" if f.waiting.again else "it was emitted"
    text = f"{what} since {shown(f.waiting.since)}, and goes on its stream within seconds where a daemon runs"
    return Sentence(text=text, rule="in outbox", since=f.waiting.since, link="/bus")


def worker_off(f: Facts) -> Sentence | None:
    """No process runs the worker."""
    if f.worker in f.now.pauses or (why := off(f.worker, f.now)) is None:
        return None
    return Sentence(text=why, rule="worker off", who_can_act="admin", link="/")


def is_paused(f: Facts) -> Sentence | None:
    """An operator has stopped the worker, or the channel that it waits for."""
    names = [f.worker, *(_channels(f))]
    name = next((name for name in names if name in f.now.pauses), None)
    if name is None:
        return None
    pause = f.now.pauses[name]
    text, since = paused(pause), pause.since
    return Sentence(text=text, rule="paused", since=since, who_can_act="operator", link="/")


def redis_away(f: Facts) -> Sentence | None:
    """Nothing on the bus moves."""
    if not f.away:
        return None
    return Sentence(
        text="Redis does not answer: it goes on by itself when Redis is back", rule="redis away", link="/bus"
    )


def recovering(f: Facts) -> Sentence | None:
    """What Redis lost is being put back."""
    if f.bus is None or not f.bus.lost:
        return None
    return Sentence(text=f"the streams are being rebuilt: {f.bus.lost}", rule="recovering", link="/bus")


def no_owner(f: Facts) -> Sentence | None:
    """No process holds the lease of its partition."""
    if f.bus is None or f.bus.owner is not None:
        return None
    members = ", ".join(member.named for member in f.now.running(f.worker)) or "none"
    text = (
        f"partition {f.bus.partition} of {f.worker} has no lease holder: a process takes it within 10 s; those that run"
        f" {f.worker}: {members}"
    )
    return Sentence(text=text, rule="no owner", link="/bus")


def unread(f: Facts) -> Sentence | None:
    """The worker has not been given it."""
    if f.bus is None or f.bus.ahead is None or (f.lane is not None and f.lane.state not in ("absent", "left")):
        return None
    number = f"more than {f.bus.ahead}" if f.bus.more else str(f.bus.ahead)
    entries = "entry" if number == "1" else "entries"
    text, at = f"not read yet: {number} {entries} ahead in partition {f.bus.partition}", None
    if f.bus.rate > 0:
        seconds = f.bus.ahead / f.bus.rate
        text += f", about {_long(seconds)} at the present rate"
        at = datetime.now(UTC) + timedelta(seconds=seconds)
    else:
        text += f"; {f.worker} has ended with nothing in the last minute"
    return Sentence(text=text, rule="unread", next_at=at, link="/bus")


def behind(f: Facts) -> Sentence | None:
    """An earlier event of its key has not ended."""
    first = f.sibling if f.lane is None else f.lane.behind
    if f.lane is not None and f.lane.state == "left":
        first = f.sibling
    if first is None:
        return None
    text, next_at = f"waits for event {first} of the same key", None
    if f.sibling_failed is not None and first == f.sibling:
        next_at = f.sibling_failed.next_at
        error = f.sibling_failed.error_code or f.sibling_failed.error_class
        text += f" ({_attempts(f.sibling_failed.failures)} failed, the last with {error}; next at {shown(next_at)})"
    elif f.lane is not None and f.lane.head is not None:
        text += f" ({_head(f.lane.head)})"
        next_at = f.lane.head.next_at
    return Sentence(text=text, rule="behind", next_at=next_at, link=f"/events/{first}")


def later(f: Facts) -> Sentence | None:
    """Its handler has asked for a later time, or its next attempt is set for one."""
    lane = f.lane
    if lane is not None and lane.state == "delayed":
        assert lane.next_at is not None
        why = None if f.trail is None else f.trail.put_off.get(f.worker)
        step = f" ({lane.step})" if lane.step else ""
        text = f"starts at {shown(lane.next_at)}{step}" if why is None else f"{why}; again at {shown(lane.next_at)}"
        return Sentence(text=text, rule="delayed", next_at=lane.next_at)
    if lane is not None and lane.state != "retry":
        return None
    failed = f.failed
    if failed is None or (lane is None and any(f.now.providers[name].stopped for name in _known(f))):
        return None
    next_at = failed.next_at if lane is None or lane.next_at is None else lane.next_at
    text = (
        f"{_attempts(failed.failures)} failed, the last with {failed.error_code or failed.error_class}; the next one is"
        f" at {shown(next_at)}"
    )
    return Sentence(text=text, rule="retry", since=failed.at, next_at=next_at, link=f"/events/{_id(f)}")


def provider(f: Facts) -> Sentence | None:
    """The channel that it needs is away, refuses us, or has no place."""
    if f.lane is not None and f.lane.state not in ("parked", "line"):
        return None
    for name in _known(f):
        one = f.now.providers[name]
        if one.stopped:
            who: Who = "admin" if one.state == "refused" else "provider"
            next_at = None if f.lane is None else f.lane.next_at
            probe = "" if next_at is None else f"; it is tried again at {shown(next_at)}"
            text = provider_stopped(one) + probe
            return Sentence(
                text=text, rule="provider", since=one.since, next_at=next_at, who_can_act=who, link="/providers"
            )
    if f.lane is None:
        return None
    if f.lane.state == "line":
        return Sentence(text="waits for its place within a rate limit", rule="provider", link="/providers")
    return Sentence(text=f"waits for {f.lane.channel}, which does not answer", rule="provider", link="/providers")


def in_hand(f: Facts) -> Sentence | None:
    """Its handler runs, or a slot is about to be free."""
    lane, by = f.lane, f.held_by
    if lane is None or lane.state not in ("handled", "ready"):
        return None
    if lane.state == "ready":
        return Sentence(text=f"next in line for a slot at {by}", rule="in hand", link="/bus")
    age = (datetime.now(UTC) - lane.since).total_seconds() if lane.since else 0.0
    return Sentence(text=f"being handled for {_long(age)} by {by}", rule="in hand", since=lane.since, link="/bus")


def put_off(f: Facts) -> Sentence | None:
    """Its worker has put it off, by its own word."""
    why = None if f.trail is None else f.trail.put_off.get(f.worker)
    return None if why is None else Sentence(text=why, rule="put off")


def otherwise(f: Facts) -> Sentence | None:
    """What is left: it is given to the worker, and nobody says more."""
    if f.lane is not None and f.lane.state == "absent":
        text = f"its entry was read, and {f.held_by} does not hold it now: it is read again within seconds"
        return Sentence(text=text, rule="otherwise", link="/bus")
    return Sentence(text=NEXT, rule="otherwise", link="/bus")


RULES: Final[tuple[Rule, ...]] = (
    not_known,
    finished,
    dead,
    uncertain,
    not_its_own,
    in_spool,
    in_outbox,
    worker_off,
    is_paused,
    redis_away,
    recovering,
    no_owner,
    unread,
    behind,
    later,
    provider,
    in_hand,
    put_off,
    otherwise,
)

OF_TABLES: Final[tuple[Rule, ...]] = RULES[: RULES.index(is_paused)]
"""Rules for which Redis need not be asked."""


def first(facts: Facts, rules: tuple[Rule, ...] = RULES) -> Sentence | None:
    """What the first of *rules* that holds says."""
    return next((said for rule in rules if (said := rule(facts)) is not None), None)


def _channels(f: Facts) -> list[str]:
    """The channels that may hold it up: the one that it waits for, where its process says so."""
    if f.lane is None:
        return list(f.channels)
    if f.lane.state != "parked" or f.lane.channel is None:
        return []
    return [f.lane.channel, f.lane.channel.partition("/")[0]]


def _known(f: Facts) -> list[str]:
    """Those of them that a live process has told of."""
    names = list(f.channels) if f.lane is not None and f.lane.state == "line" else _channels(f)
    return [name for name in names if name in f.now.providers]


def _head(head: LanePlace) -> str:
    """How the event at the head of the lane stands, in words."""
    match head.state:
        case "handled":
            return "being handled" if head.since is None else f"being handled since {shown(head.since)}"
        case "delayed" | "retry" if head.next_at is not None:
            return f"{'starts' if head.state == 'delayed' else 'is tried again'} at {shown(head.next_at)}"
        case "parked":
            return f"waits for {head.channel}"
        case "line":
            return "waits for its place within a rate limit"
    return "waits for a slot"


def _id(f: Facts) -> str:
    return "" if f.trail is None else f.trail.event.id


def _attempts(number: int) -> str:
    return "one attempt" if number == 1 else f"{number} attempts"


def _long(seconds: float) -> str:
    """A time span to be read at a glance, never negative."""
    whole = max(0, round(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= 2 * size:
            return f"{round(whole / size)} {unit}"
    return f"{whole} s"

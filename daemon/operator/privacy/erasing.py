"""Erasing a person: everywhere, for good, and so that nothing brings them back.

First the fence, which everything that comes in meets from then on; then what is under way ends; then the data go, in
rounds, until a search finds nothing. What belongs to the person stands in `erasure_subjects` meanwhile: whatever kills
the process, the same command goes on. Each step does no harm when it is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from adapters.postgres import audit_log
from adapters.postgres import erasures as marks
from adapters.postgres.audit_log import Logged
from adapters.postgres.bus import members, outbox, workers
from adapters.postgres.bus.workers import Registered
from adapters.postgres.erasures import MarkKind
from adapters.postgres.operator.privacy import erasures, rows, subjects, texts
from adapters.postgres.operator.privacy.erasures import Erasure
from adapters.redis import persons
from adapters.redis.streams import StreamEntry, topic_in
from daemon.bus.fence import FENCE_S
from daemon.operator.faults import Conflict
from daemon.operator.privacy import finding, ledger, outside, verifying
from daemon.operator.privacy.finding import Pairs
from daemon.operator.privacy.needles import pattern_of
from daemon.stores import pepper
from schemas.envelope import Event, event_id, from_fields
from schemas.errors import Malformed

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from adapters.redis.streams import Streams
    from daemon.operator.privacy.outside import Beyond
    from daemon.settings.model import Settings

MOST_ROUNDS: Final = 5
SENDING_S: Final = 180.0
"""Longest wait for messages that are being sent: longer than one call of a sender may take."""

POLL_S: Final = 0.2
ERASED: Final = "person.erased"
"""The action in the audit log."""

IDS_AT_ONCE: Final = 400
"""Ids of events in one `contact.erased`: as a webhook its body stays under `schemas.subscriptions.MOST_BYTES`."""

log = structlog.get_logger(__name__)


def _nothing(step: str) -> None:
    pass


class NotYet(Conflict):
    """Something of the person is still under way, or came in meanwhile: the same command goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eraser:
    """Erases people, in the name of *actor*. *reached*: called with each step that is done."""

    pool: Pool
    bus: Streams
    settings: Settings
    beyond: Beyond
    actor: str
    reached: Callable[[str], None] = _nothing
    sending_s: float = SENDING_S
    _hash: bytes = field(default_factory=finding.null_hash, init=False)

    async def plan(self, text: str) -> dict[str, Any]:
        """What would be erased of the person whom *text* means, as counts. Raises: Unusable; NotThere."""
        async with finding.looked_at(self.pool, await finding.seeds(self.pool, text)) as (conn, erasure):
            found = await subjects.read(conn, erasure)
            counts = await rows.counts(conn, erasure, self._hash)
        entries = [entry async for entry in self._entries(found)]
        if not (counts or entries or finding.known(found)):
            raise finding.nobody()
        kept = [
            {"what": one.table, "why": "without what it says, for the accounts"} for one in rows.ROWS if one.blanked
        ]
        return {
            "rows": counts,
            "entries": len(entries),
            "objects": len(found.get("object", ())),
            "records": len(found.get("record", ())),
            "kept": [one for one in kept if one["what"] in counts]
            + (
                [{"what": "opt_outs", "why": "as a digest, so that the person gets no messages"}]
                if "opt_outs" in counts
                else []
            ),
            "outside": await _would_tell(found, self.beyond),
        }

    async def begun(self, text: str) -> int | None:
        """The erasure of the person whom *text* means that was cut short, or is under way. Raises: Unusable."""
        if (secret := await pepper.known(self.pool, self.settings)) is None:
            return None
        seeds = await finding.seeds(self.pool, text)
        named = _as_dict([*seeds, *finding.derived(_as_dict(seeds))])
        found = await erasures.unfinished_of(self.pool, [digest for digest, _ in _digests(secret, named)])
        return found[0] if found else None

    async def erase(self, text: str) -> dict[str, Any]:
        """Erase the person whom *text* means, or go on with that; returns the receipt. Raises: Unusable; NotThere;
        NotYet; NoKey; as the stores: then the same command goes on."""
        if (number := await self.begun(text)) is not None:
            return await self.go_on(number)
        seeds = await finding.seeds(self.pool, text)
        async with finding.looked_at(self.pool, seeds) as (conn, question):
            found = await subjects.read(conn, question)
            counts = await rows.counts(conn, question, self._hash)
        if not counts and not finding.known(found) and not [entry async for entry in self._entries(found)]:
            raise finding.nobody()
        return await self.go_on(await self._begin(await pepper.made(self.pool, self.settings), seeds))

    async def mark_again(self, given: Sequence[tuple[str, bytes]], at: datetime, seeds: Pairs) -> None:
        """Mark once more, in a database that was restored from before *at*, who was erased then; and where *seeds* name
        anything of them here, erase it."""
        secret = await pepper.made(self.pool, self.settings)
        number = await self._begin(secret, seeds, at, given)
        await self.go_on(number)

    async def go_on(self, number: int) -> dict[str, Any]:
        """Go on with the erasure of this number, to its end; returns the receipt."""
        secret = await pepper.made(self.pool, self.settings)
        one = await erasures.find(self.pool, number)
        assert one is not None
        await self._wait_for_processes()
        for _ in range(MOST_ROUNDS):
            found = await self._round(one, secret)
            self.reached("round")
            left = await verifying.search(self.pool, self.bus, found, pattern_of(found))
            if not left:
                break
        else:
            places = ", ".join(sorted({one.place for one in left}))
            raise NotYet(f"something of the person is still in {places}: run it again in a minute")
        return await self._finish(one)

    async def _begin(
        self, secret: bytes, seeds: Pairs, at: datetime | None = None, given: Sequence[tuple[str, bytes]] = ()
    ) -> int:
        """Put up the fence: from here on it can be gone on with. *given*: marks that there were before."""
        ledger.append(self.settings)
        async with self.pool.acquire() as conn, conn.transaction():
            one = await erasures.begin(conn, self.actor, at)
            await subjects.add(conn, one.id, seeds)
            found = await finding.widen(conn, one.id)
            before: list[tuple[bytes, MarkKind]] = [(m, "order" if kind == "order" else "key") for kind, m in given]
            await marks.put(conn, [*before, *_digests(secret, found)], one.id, one.started_at)
        await ledger.note(self.pool, self.settings, one.id)
        self.reached("fence")
        return one.id

    async def _wait_for_processes(self) -> None:
        """Until every process that lives knows of the fence."""
        if await members.live(self.pool):
            await asyncio.sleep(2 * FENCE_S)

    async def _round(self, one: Erasure, secret: bytes) -> Mapping[str, Sequence[str]]:
        found = await self._find(one, secret)
        entries = [entry async for entry in self._entries(found)]
        if ids := [("event", event.id) for entry in entries if (event := _event(entry)) and _is_own(event, found)]:
            async with self.pool.acquire() as conn:
                await subjects.add(conn, one.id, ids)
            found = await self._find(one, secret, read=False)
        self.reached("found")
        await self._stop(one)
        self.reached("stopped")
        await self._end(one, entries, found)
        self.reached("ended")
        await self._erase_rows(one, secret, found)
        await self._count(one, "entries", await persons.remove(self.bus.redis, await self._removable(entries, found)))
        self.reached("streams")
        await self._erase_elsewhere(one, found)
        await self._take_out(one, found)
        return found

    async def _find(self, one: Erasure, secret: bytes, *, read: bool = True) -> dict[str, list[str]]:
        """What belongs to the person by now, and marks on what is new of it."""
        async with self.pool.acquire() as conn, conn.transaction():
            found = await finding.widen(conn, one.id, read=read)
            known = {digest for digest, _ in await erasures.marks_of(conn, one.id)}
            if new := [mark for mark in _digests(secret, found) if mark[0] not in known]:
                await marks.put(conn, new, one.id, one.started_at)
        if new:
            await ledger.note(self.pool, self.settings, one.id)
        return found

    async def _stop(self, one: Erasure) -> None:
        """End what is queued to the person, and wait for what is being sent."""
        async with self.pool.acquire() as conn:
            await self._count(one, "sends", await rows.cancel_sends(conn, one.id))
        until = asyncio.get_running_loop().time() + self.sending_s
        while await self._being_sent(one):
            if asyncio.get_running_loop().time() > until:
                raise NotYet("a message to the person is still being sent: run it again when it has ended")
            await asyncio.sleep(POLL_S)

    async def _being_sent(self, one: Erasure) -> bool:
        """While no process lives, nothing is: what says so was left by one that died."""
        async with self.pool.acquire() as conn:
            return bool(await rows.being_sent(conn, one.id)) and bool(await members.live(conn))

    async def _end(self, one: Erasure, entries: Sequence[StreamEntry], found: Mapping[str, Sequence[str]]) -> None:
        """End for every worker what has not ended: whatever has it in hand finds that, and records nothing."""
        every = await workers.listed(self.pool)
        read = [
            end
            for entry in entries
            if (event := _event(entry)) and _is_own(event, found)
            for end in _ends(entry, event, every)
        ]
        async with self.pool.acquire() as conn:
            ended = await rows.end_read(conn, list(dict.fromkeys(read)), self._hash)
            for worker in every:
                ended += await rows.end_open(conn, one.id, worker, self._hash)
        await self._count(one, "events_ended", ended)

    async def _erase_rows(self, one: Erasure, secret: bytes, found: Mapping[str, Sequence[str]]) -> None:
        lines = {line: pepper.digest_of(secret, "key", line) for line in found.get("line", ())}
        async with self.pool.acquire() as conn, conn.transaction():
            await self._count(one, "opt_outs", await rows.keep_opt_outs(conn, lines), conn)
        for table in rows.ROWS:
            async with self.pool.acquire() as conn, conn.transaction():
                await self._count(one, table.table, await rows.erase(conn, table, one.id, self._hash), conn)
            self.reached(table.table)

    async def _erase_elsewhere(self, one: Erasure, found: Mapping[str, Sequence[str]]) -> None:
        for place in found.get("object", ()):
            bucket, _, path = place.partition("\n")
            await self.beyond.archive.delete(bucket, path)
        self.reached("objects")
        for place in found.get("record", ()):
            model, _, record_id = place.partition("\n")
            await self._count(one, "records", int(await self.beyond.records.erase(model, record_id, by=self.actor)))
        self.reached("records")
        if not one.outside:
            told = await outside.tell(found, self.beyond.chatwoot)
            await erasures.tell_outside(self.pool, one.id, told)
        self.reached("outside")

    async def _take_out(self, one: Erasure, found: Mapping[str, Sequence[str]]) -> None:
        """What names the person in the rows of others, and in the audit log."""
        if not (pattern := pattern_of(found)):
            return
        for table in await texts.tables(self.pool):
            count = await texts.take_out(self.pool, table, pattern, f"erased:{one.id}")
            await self._count(one, f"{table.root}.named", count)
        self.reached("named")

    async def _entries(self, found: Mapping[str, Sequence[str]]) -> Any:
        wanted = verifying.entry_of(found, pattern_of(found))
        async for entry in persons.entries(self.bus.redis, self.bus.partitions, wanted):
            yield entry

    async def _removable(self, entries: Sequence[StreamEntry], found: Mapping[str, Sequence[str]]) -> list[StreamEntry]:
        """The person's entries; and of others', which only name the person, those that every worker has ended."""
        own: list[StreamEntry] = []
        others: list[StreamEntry] = []
        for entry in entries:
            event = _event(entry)
            (own if event is None or _is_own(event, found) else others).append(entry)
        if not others:
            return own
        every = await workers.listed(self.pool)
        wanted = {end for entry in others if (event := _event(entry)) for end in _ends(entry, event, every)}
        async with self.pool.acquire() as conn:
            ended = await rows.ended(conn, list(wanted))
        return own + [e for e in others if (event := _event(e)) and set(_ends(e, event, every)) <= ended]

    async def _finish(self, one: Erasure) -> dict[str, Any]:
        async with self.pool.acquire() as conn, conn.transaction():
            await outbox.leave(conn, told_of((await subjects.read(conn, one.id)).get("event", ()), one))
            await erasures.finish(conn, one.id)
            done = await erasures.find(conn, one.id)
            assert done is not None
            receipt = receipt_of(done)
            detail = {"sha256": receipt["sha256"], "counts": receipt["counts"]}
            await audit_log.add(conn, [Logged(self.actor, ERASED, f"erasure:{one.id}", detail)])
        await persons.forget_deleted(self.bus.redis)
        await ledger.note(self.pool, self.settings, one.id)
        log.info("person.erased", erasure=one.id)
        self.reached("finished")
        return receipt

    async def _count(self, one: Erasure, step: str, number: int, conn: Any = None) -> None:
        await erasures.count(conn or self.pool, one.id, step, number)


def told_of(events: Sequence[str], one: Erasure) -> list[Event]:
    """What subscribers are told: the ids of the person's *events*, by which they find what they keep of them. It names
    nobody, so it may stay. Told again, it has the same ids."""
    now, subject = datetime.now(UTC), f"erasure:{one.id}"
    return [
        Event(
            id=event_id("ferryman", "contact.erased", subject, one.started_at.isoformat(), str(first)),
            type="contact.erased",
            source="ferryman",
            subject=subject,
            time=now,
            data=orjson.dumps({"erasure": one.id, "event_ids": events[first : first + IDS_AT_ONCE]}),
        )
        for first in range(0, len(events), IDS_AT_ONCE)
    ]


def receipt_of(done: Erasure) -> dict[str, Any]:
    """What was done, without any value of a person, and a digest of that."""
    document = {
        "erasure": done.id,
        "actor": done.actor,
        "started_at": done.started_at,
        "finished_at": done.finished_at,
        "counts": dict(done.counted),
        "outside": list(done.outside),
        "starts_anew": "an order that is placed after this begins anew; other messages of the person are not kept",
    }
    return {**document, "sha256": ledger.digest(document)}


async def _would_tell(found: Mapping[str, Sequence[str]], beyond: Beyond) -> list[dict[str, Any]]:
    """As `outside.tell`, before anything is deleted."""
    told = await outside.tell({**found, "chatwoot": ()}, None)
    if contacts := found.get("chatwoot", ()):
        how = "would be deleted" if beyond.chatwoot else "Chatwoot is not configured here: delete the contact there"
        told.insert(0, {"system": "Chatwoot", "contacts": len(contacts), "done": False, "do": how})
    return told


def _as_dict(pairs: Pairs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, value in pairs:
        found.setdefault(kind, []).append(value)
    return found


def _marked(found: Mapping[str, Sequence[str]]) -> list[tuple[MarkKind, str]]:
    keys: list[tuple[MarkKind, str]] = [("key", value) for value in found.get("key", ())]
    return keys + [("order", value) for value in found.get("order", ())]


def _digests(secret: bytes, found: Mapping[str, Sequence[str]]) -> list[tuple[bytes, MarkKind]]:
    return [(pepper.digest_of(secret, kind, value), kind) for kind, value in _marked(found)]


def _event(entry: StreamEntry) -> Event | None:
    try:
        return from_fields(entry.fields)
    except Malformed:
        return None


def _is_own(event: Event, found: Mapping[str, Sequence[str]]) -> bool:
    """Whether *event* is the person's, and does not only name them."""
    return (
        event.subject in found.get("key", ())
        or event.id in found.get("event", ())
        or event.causationid in found.get("event", ())
    )


def _ends(entry: StreamEntry, event: Event, every: Sequence[Registered]) -> list[tuple[str, str, str]]:
    """(worker, event id, replay id) of every end that *entry* is to come to."""
    topic = topic_in(entry.key)
    return [
        (worker.name, event.id, event.replayid)
        for worker in every
        if topic in worker.topics and event.type in worker.types and event.is_for(worker.name, worker.since)
    ]

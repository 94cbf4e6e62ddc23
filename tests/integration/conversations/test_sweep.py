"""The sweep on a real Postgres against a simulated Chatwoot: what was lost is found once, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, cast

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.chatwoot.events import events_of
from adapters.chatwoot.history import ChatwootHistory
from adapters.http import open_session
from adapters.postgres import sweeps
from adapters.postgres.bus import journal, outbox
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool, PostgresError
from adapters.redis.limits import RateLimiter
from daemon.conversations.sweep import FIRST_S, Sweep, Swept
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Conversation, Message
from schemas.envelope import Event
from schemas.errors import FerrymanError
from tests.support.chatwoot_told import asked, told
from tests.support.gates import gate_on
from tests.support.until import until

PLACE: Final = f"chatwoot:{ACCOUNT_ID}"
MINUTE: Final = timedelta(minutes=1)
EVERY_S: Final = 600.0


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
async def chatwoot() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as sandbox:
        yield sandbox


class Rig:
    """Sweeps of processes that come and go. Time goes by where `later` says so: in the rows of the table."""

    def __init__(self, db: Pool, chatwoot: ChatwootSandbox, session: ClientSession) -> None:
        self.db = db
        self.chatwoot = chatwoot
        self._session = session
        self.hurried: list[str] = []
        self.count = 0
        self._told = 0

    def process(self) -> Sweep:
        """A process that has just started."""
        limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
        gate = gate_on(self._session, limiter=limiter, channel=Channel("chatwoot-history"), timeout_s=2.0)
        values = {
            "url": self.chatwoot.url,
            "api_access_token": self.chatwoot.token,
            "account_id": str(ACCOUNT_ID),
            "inbox_id": str(INBOX_ID),
        }
        self.count += 1
        history = ChatwootHistory(gate, account=lambda: values)
        return Sweep(history, self.db, self._hurry, now, place=PLACE, me=f"p{self.count}", settle_s=0.0)

    async def _hurry(self, events: Sequence[Event], seqs: Sequence[int]) -> None:
        self.hurried += [event.id for event in events]

    async def sweep(self, by: Sweep | None = None) -> Swept:
        """What one sweep does that is due."""
        swept = await (by or self.process()).act(EVERY_S)
        assert swept is not None
        return swept

    async def later(self, by: timedelta = 11 * MINUTE) -> None:
        """So much time goes by."""
        names = ("since", "next_floor_at", "held_until", "began_at", "ended_at")
        await self.db.execute(f"UPDATE sweeps SET {', '.join(f'{name} = {name} - $1::interval' for name in names)}", by)
        for talk in self.chatwoot.account.conversations.values():
            talk.created_at -= by.total_seconds()
            for message in talk.messages:
                message.created_at -= by.total_seconds()

    async def came(self, talk: Conversation, message: Message) -> None:
        """The webhook of *message* has come, and is journaled."""
        await self.journaled(events_of(told(talk, message), now()))

    async def journaled(self, events: Sequence[Event]) -> None:
        async with self.db.acquire() as conn, conn.transaction():
            await journal.append(conn, [Journaled(event, "") for event in events])

    async def brought(self) -> list[Event]:
        """What was found since the last call, in its order, and is journaled now."""
        left = await outbox.left(self.db, older_than_s=-1, limit=10_000)
        await self.journaled([event for _, event in left])
        await outbox.published(self.db, [seq for seq, _ in left])
        return [event for _, event in left]

    async def reads_messages(self) -> bool:
        """Whether the messages of a conversation were asked for since the last call of `calls`."""
        return "messages" in asked(self.chatwoot)[self._told :]

    def calls(self) -> list[str]:
        """What Chatwoot was asked since the last call."""
        found = asked(self.chatwoot)[self._told :]
        self._told += len(found)
        return found


@pytest.fixture
def rig(db: Pool, chatwoot: ChatwootSandbox, session: ClientSession) -> Rig:
    return Rig(db, chatwoot, session)


def texts(events: Sequence[Event]) -> list[str]:
    """What people have written."""
    return [event.json()["text"] for event in events if event.type == "message.received"]


async def installed(rig: Rig) -> Sweep:
    """A process whose first sweep is done, some time ago."""
    first = rig.process()
    await rig.sweep(first)
    await rig.later()
    rig.calls()
    return first


async def test_the_first_sweep_ever_imports_no_history(rig: Rig) -> None:
    receive = rig.chatwoot.account.receive
    for n in range(40):
        receive(phone(n % 4), f"old {n}", ago_s=FIRST_S * 3 + 60 * (40 - n))
    receive(phone(1), "new", ago_s=FIRST_S / 2)
    assert (await rig.sweep()).found == 1
    assert texts(await rig.brought()) == ["new"]
    await rig.later()
    receive(phone(2), "lost")
    assert (await rig.sweep()).found == 1
    assert texts(await rig.brought()) == ["lost"]


async def test_a_first_sweep_that_fails_begins_where_it_was_tried_first(rig: Rig) -> None:
    rig.chatwoot.faults.add("error", status=500)
    with pytest.raises(FerrymanError):
        await rig.sweep()
    await rig.later(timedelta(hours=3))
    for n in range(50):
        rig.chatwoot.account.receive(phone(1), f"{n}", ago_s=3600 - n)
    rig.chatwoot.faults.clear()
    assert (await rig.sweep()).found == 50
    assert len(await rig.brought()) == 50


async def test_where_nothing_has_happened_it_is_one_call(rig: Rig) -> None:
    process = await installed(rig)
    assert await rig.sweep(process) == Swept(0, 0, 0, 0)
    assert rig.calls() == ["conversations"]
    talk = rig.chatwoot.account.receive(phone(1), "hello")
    await rig.came(talk, talk.messages[0])
    await rig.later()
    assert (await rig.sweep(process)).asked == 1
    await rig.later(3 * MINUTE)
    rig.calls()
    await rig.db.execute("UPDATE sweeps SET ended_at = ended_at - interval '1 hour', began_at = ended_at")
    assert (await rig.sweep(process)).asked == 0
    assert rig.calls() == ["conversations"]


async def test_all_that_was_lost_is_found_once_in_the_order_of_each_person(rig: Rig) -> None:
    await installed(rig)
    for n in range(200):
        rig.chatwoot.account.receive(phone(n % 50), f"{n}")
    assert (await rig.sweep()).found == 200
    found = await rig.brought()
    assert len({event.id for event in found}) == 200 == len(found)
    assert rig.hurried == [event.id for event in found]
    for n in range(50):
        mine = [int(event.json()["text"]) for event in found if event.subject == phone(n)]
        assert mine == sorted(mine)
        assert len(mine) == 4
    for _ in range(3):
        await rig.later()
        assert (await rig.sweep()).found == 0
    assert await rig.brought() == []


async def test_a_message_whose_webhook_came_is_not_found_and_one_lost_between_two_that_came_is(rig: Rig) -> None:
    await installed(rig)
    for n in range(5):
        talk = rig.chatwoot.account.receive(phone(1), f"{n}")
    for n in (0, 2, 4):
        await rig.came(talk, talk.messages[n])
    rig.chatwoot.account.post(talk, {"content": "an answer"})
    await rig.sweep()
    assert texts(await rig.brought()) == ["1", "3"]


async def test_a_late_webhook_makes_the_very_event_that_was_found(rig: Rig) -> None:
    await installed(rig)
    talk = rig.chatwoot.account.receive(phone(1), "hello")
    await rig.sweep()
    (found,) = await rig.brought()
    (late,) = events_of(told(talk, talk.messages[0]), now())
    assert (late.id, late.data, late.subject, late.source) == (found.id, found.data, found.subject, found.source)


async def test_a_long_conversation_is_read_to_its_end(rig: Rig) -> None:
    await installed(rig)
    for n in range(321):
        rig.chatwoot.account.receive(phone(1), f"{n}")
    assert (await rig.sweep()).found == 321
    assert texts(await rig.brought()) == [str(n) for n in range(321)]


async def test_while_chatwoot_is_away_the_mark_stays_and_nothing_is_lost(rig: Rig) -> None:
    await installed(rig)
    before = await rig.db.fetchrow("SELECT since, floor, next_floor FROM sweeps")
    rig.chatwoot.account.receive(phone(1), "hello")
    for fault in ("reset", "html", "bad_token"):
        rig.chatwoot.faults.add(cast("Any", fault))
        with pytest.raises(FerrymanError):
            await rig.sweep()
        rig.chatwoot.faults.clear()
        await rig.db.execute("UPDATE sweeps SET began_at = began_at - interval '2 minutes'")
    assert await rig.db.fetchrow("SELECT since, floor, next_floor FROM sweeps") == before
    ((last,)) = await sweeps.last(rig.db)
    assert last.error is not None
    assert (await rig.sweep()).found == 1


async def test_one_conversation_that_cannot_be_read_holds_up_no_other(rig: Rig) -> None:
    await installed(rig)
    talks = [rig.chatwoot.account.receive(phone(n), f"{n}") for n in range(6)]
    rig.chatwoot.faults.add("error", path=f"/conversations/{talks[2].id}/messages", status=500)
    with pytest.raises(FerrymanError):
        await rig.sweep()
    assert texts(await rig.brought()) == ["0", "1", "3", "4", "5"]
    rig.chatwoot.faults.clear()
    await rig.later(2 * MINUTE)
    assert (await rig.sweep()).found == 1


async def test_what_could_not_be_brought_is_found_by_the_same_process_later(rig: Rig) -> None:
    """Postgres fails when the messages were read already."""
    process = await installed(rig)
    rig.chatwoot.account.receive(phone(1), "hello")
    await rig.db.execute("ALTER TABLE outbox RENAME TO gone")
    with pytest.raises(PostgresError):
        await rig.sweep(process)
    await rig.db.execute("ALTER TABLE gone RENAME TO outbox")
    await rig.later()
    assert (await rig.sweep(process)).found == 1


async def test_a_sweep_cut_short_is_made_good_by_the_next_process_at_once(rig: Rig) -> None:
    await installed(rig)
    for n in range(60):
        rig.chatwoot.account.receive(phone(n), f"{n}")
    rig.chatwoot.faults.add("slow", path="/messages", seconds=0.2)
    cut = asyncio.create_task(rig.process().act(EVERY_S))
    await until(rig.reads_messages, "a sweep under way")
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    rig.chatwoot.faults.clear()
    swept = await rig.sweep()
    assert swept.found == len(rig.hurried) == 60
    assert len({event.id for event in await rig.brought()}) == 60


async def test_a_process_killed_meanwhile_is_followed_when_its_turn_has_run_out(rig: Rig) -> None:
    await installed(rig)
    rig.chatwoot.account.receive(phone(1), "hello")
    await rig.db.execute(
        "UPDATE sweeps SET held_by = 'dead', held_until = now() + interval '1 minute', began_at = now()"
    )
    follower = rig.process()
    assert await follower.act(EVERY_S) is None
    await rig.later(2 * MINUTE)
    assert (await rig.sweep(follower)).found == 1


async def test_of_many_processes_one_sweeps(rig: Rig) -> None:
    await installed(rig)
    for n in range(20):
        rig.chatwoot.account.receive(phone(n), f"{n}")
    rig.chatwoot.faults.add("slow", path="/messages", seconds=0.05)
    processes = [rig.process() for _ in range(5)]
    done = await asyncio.gather(*(one.act(EVERY_S) for one in processes))
    assert [one.found for one in done if one is not None] == [20]
    assert len(await rig.brought()) == 20
    assert [await one.act(EVERY_S) for one in processes] == [None] * 5


async def test_who_has_lost_the_turn_moves_no_mark(rig: Rig) -> None:
    await installed(rig)
    rig.chatwoot.account.receive(phone(1), "hello")
    before = await rig.db.fetchval("SELECT since FROM sweeps")
    rig.chatwoot.faults.add("slow", path="/messages", seconds=0.3)
    slow = asyncio.create_task(rig.process().act(EVERY_S))
    await until(rig.reads_messages, "a sweep under way")
    await rig.db.execute("UPDATE sweeps SET held_by = 'another'")
    assert await slow is None
    assert await rig.db.fetchval("SELECT since FROM sweeps") == before


async def test_a_message_that_comes_while_it_is_swept_is_there_once(rig: Rig) -> None:
    """It is written when the list was read already; its webhook comes before the next sweep, or is lost."""
    process = await installed(rig)
    talk = rig.chatwoot.account.receive(phone(1), "before")
    rig.chatwoot.faults.add("slow", path="/messages", seconds=0.2)
    under_way = asyncio.create_task(process.act(EVERY_S))
    await until(rig.reads_messages, "a sweep under way")
    rig.chatwoot.account.receive(phone(1), "meanwhile")
    other = rig.chatwoot.account.receive(phone(2), "its webhook comes")
    rig.chatwoot.account.receive(phone(3), "its webhook is lost")
    await rig.came(other, other.messages[0])
    await under_way
    rig.chatwoot.faults.clear()
    found = await rig.brought()
    await rig.later()
    await rig.sweep(process)
    found += await rig.brought()
    assert sorted(texts(found)) == ["before", "its webhook is lost", "meanwhile"]
    assert len(talk.messages) == 2


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(hours=-2)])
async def test_clocks_that_differ_lose_nothing(rig: Rig, ahead: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chatwoot's clock is hours off: only the very first sweep goes by it, for its few minutes."""
    process = await installed(rig)
    for n in range(3):
        talk = rig.chatwoot.account.receive(phone(n), f"{n}")
        talk.messages[0].created_at += ahead.total_seconds()
    monkeypatch.setattr("daemon.sandbox.chatwoot_history.time", Clock(ahead.total_seconds()))
    assert (await rig.sweep(process)).found == 3


class Clock:
    """The simulator's clock, so many seconds ahead."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def time(self) -> float:
        return now().timestamp() + self._ahead_s


async def test_people_without_a_phone_and_other_inboxes_are_found_too(rig: Rig) -> None:
    await installed(rig)
    talk = rig.chatwoot.account.receive(phone(1), "hello")
    talk.contact.phone_number, talk.address, talk.inbox_id = None, "NL.8Kd02x", 99
    await rig.sweep()
    (found,) = await rig.brought()
    data = found.json()
    assert (data["phone"], data["bsuid"], data["conversation"]["inbox"]) == (None, "NL.8Kd02x", "99")


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_lost_and_whenever_it_is_swept_every_message_comes_once(rig: Rig, seed: int) -> None:
    random, written = Random(seed), 0
    process = await installed(rig)
    for _ in range(12):
        for _ in range(random.randrange(6)):
            talk = rig.chatwoot.account.receive(phone(random.randrange(5)), str(written))
            written += 1
            if random.random() < 0.3:
                rig.chatwoot.account.post(talk, {"content": "an answer"})
            if random.random() < 0.5:
                await rig.came(talk, [one for one in talk.messages if one.message_type == 0][-1])
        if random.random() < 0.3:
            process = rig.process()
        if random.random() < 0.3:
            rig.chatwoot.faults.add("reset", times=1, path="/messages")
        try:
            await process.act(EVERY_S)
        except FerrymanError:
            await rig.later(2 * MINUTE)
        await rig.brought()
        await rig.later(timedelta(minutes=random.choice([1, 4, 11])))
    rig.chatwoot.faults.clear()
    await rig.later()
    await rig.sweep()
    await rig.brought()
    rows = await rig.db.fetch("SELECT id, data FROM event_journal WHERE type = 'message.received'")
    assert len(rows) == len({row["id"] for row in rows}) == written

"""The page of an event: its way through the workers, and what may be done about it."""

from __future__ import annotations

import pytest

from adapters.postgres.bus import journal, workers
from adapters.postgres.bus.journal import Journaled
from daemon.workers import WORKERS
from schemas.envelope import Event
from tests.support.browsers import Browser, Office
from tests.support.conversations import insert
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.toy import make_event

PHONE = "+972505550142"
SYNC = "contact-sync"


async def journaled(office: Office, event: Event) -> str:
    """The page of *event*, which is in the journal."""
    await workers.register(office.db, [worker.entry for worker in WORKERS], [])
    async with office.db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "")])
    return f"/events/{event.id}"


async def buried(office: Office, event: Event, text: str = "no") -> int:
    number = await insert(
        office.db,
        "dead_letters",
        worker=SYNC,
        event_id=event.id,
        type=event.type,
        source=event.source,
        subject=event.subject,
        time=event.time,
        data=event.data.decode(),
        traceparent="",
        causationid="",
        schemaversion=1,
        error_class="Refused",
        error_text=text,
        attempts=3,
    )
    return int(number)


async def states(office: Office) -> list[str]:
    return [row[0] for row in await office.db.fetch("SELECT state FROM dead_letters ORDER BY id")]


@pytest.fixture
async def operate(office: Office) -> Browser:
    return await office.logged_in("operate", "Noa")


async def test_it_tells_the_way_of_the_event_and_why_it_waits(office: Office) -> None:
    path = await journaled(office, make_event(PHONE, 1, phone=PHONE))
    html = (await (await office.logged_in("read")).get(path)).text
    for text in (SYNC, "no daemon runs", "arrived", "in the journal", "+972…42", "?data=1", "ferryman events show"):
        assert text in html, text
    assert PHONE not in html
    for verb in ("/retry", "/discard", "/replay"):
        assert verb not in html


async def test_its_data_are_shown_on_demand_masked_until_revealed(office: Office, operate: Browser) -> None:
    event = make_event(PHONE, 1, phone=PHONE, text="a secret word")
    path = await journaled(office, event)
    assert "(13 characters)" not in (await operate.get(path)).text
    html = (await operate.get(path + "?data=1")).text
    assert "(13 characters)" in html
    assert "a secret word" not in html
    await operate.post("/reveal", {"subject": f"event:{event.id}", "reason": "a call", "back": path})
    html = (await operate.get(path + "?data=1")).text
    assert "a secret word" in html
    assert PHONE in html


@pytest.mark.parametrize("id", ["nothing", "%2B972505550142", "%00"])
async def test_what_is_no_id_of_an_event_is_not_there(office: Office, operate: Browser, id: str) -> None:
    await journaled(office, make_event(PHONE, 1))
    assert (await operate.get(f"/events/{id}")).status == 404


async def test_a_dead_letter_is_sent_again_once(office: Office, operate: Browser) -> None:
    event = make_event(PHONE, 1)
    path = await journaled(office, event)
    assert f"{path}/retry" not in (await operate.get(path)).text
    await buried(office, event)
    html = (await operate.get(path)).text
    assert f'action="{path}/retry"' in html
    answer = await operate.post(f"{path}/retry")
    assert (answer.status, answer.leads_to) == (303, path)
    assert "Queued again for contact-sync." in (await operate.get(path)).text
    assert await states(office) == ["retried"]
    assert (await operate.post(f"{path}/retry")).status == 409
    rows = await office.db.fetch("SELECT actor FROM audit_log WHERE action = 'letter.retried'")
    assert [row["actor"] for row in rows] == ["Noa"]


async def test_a_dead_letter_is_discarded_only_with_a_yes_and_only_what_was_counted(
    office: Office, operate: Browser
) -> None:
    event = make_event(PHONE, 1)
    path = await journaled(office, event)
    number = await buried(office, event)
    asked = await operate.post(f"{path}/discard")
    assert (asked.status, "discard dead letters: 1" in asked.text) == (200, True)
    assert await states(office) == ["open"]
    answer = await operate.post(f"{path}/discard", {"confirmed": "1", "upto": str(number)})
    assert (answer.status, answer.leads_to) == (303, path)
    assert await states(office) == ["discarded"]
    assert (await operate.post(f"{path}/discard", {"confirmed": "1", "upto": str(number)})).status == 409
    assert await office.db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'letter.discarded'") == 1


async def test_a_replay_asks_first_and_is_delivered_to_that_worker(office: Office, operate: Browser) -> None:
    event = make_event(PHONE, 1)
    path = await journaled(office, event)
    asked = await operate.post(f"{path}/replay", {"worker": SYNC})
    assert "replay to contact-sync" in asked.text
    assert await office.db.fetchval("SELECT count(*) FROM replays") == 0
    answer = await operate.post(f"{path}/replay", {"worker": SYNC, "confirmed": "1", "upto": "1"})
    assert (answer.status, answer.leads_to) == (303, path)
    assert "Delivered again to contact-sync." in (await operate.get(path)).text
    assert await office.db.fetchval("SELECT published FROM replays") == 1
    assert await office.db.fetchval("SELECT actor FROM audit_log WHERE action = 'replay.begun'") == "Noa"
    assert (await operate.post(f"{path}/replay", {"worker": "nothing"})).status == 422


async def test_an_event_that_nobody_handles_says_so(office: Office) -> None:
    path = await journaled(office, make_event(PHONE, 1, type="nothing.known"))
    html = (await (await office.logged_in("read")).get(path)).text
    assert "No worker of this installation handles" in html


async def test_what_others_wrote_is_shown_as_text(office: Office, operate: Browser) -> None:
    event = make_event(HOSTILE, 1, text=HOSTILE, more={HOSTILE: 1})._replace(source=HOSTILE)
    path = await journaled(office, event)
    await buried(office, event, HOSTILE)
    assert_harmless((await operate.get(path + "?data=1")).text, times=2)
    await operate.post("/reveal", {"subject": f"event:{event.id}", "reason": "a call"})
    html = (await operate.get(path + "?data=1")).text
    assert_harmless(html, times=4)

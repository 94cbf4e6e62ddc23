"""The page of a person: masked until revealed, one timeline, what waits and why."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import orjson
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.bus import journal, workers
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from tests.support.browsers import Office, opened_office
from tests.support.conversations import PHONE, chatwoot_chat, insert
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.people import bought
from tests.support.toy import NOON, make_event

SECRETS = ("972505550142", "Ben-Ari", "noa@", "a secret word")


async def filled(office: Office, word: str = "a secret word", name: str = "Noa Ben-Ari", aside: str = "vip") -> UUID:
    """A person with an order, messages, a note, a conversation and an open event. *word*: what they said; *aside*: what
    programs said of it."""
    contact = await bought(office.db, PHONE, 7, name=name, email="noa@example.com")
    await workers.register(office.db, [worker.entry for worker in WORKERS], [])
    async with office.db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(make_event(PHONE, 1), "")])
    await insert(
        office.db,
        "messages",
        id="6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e10",
        direction="in",
        status="failed",
        provider="meta",
        phone=PHONE,
        kind="text",
        content={"text": word},
        purpose="api",
        error=f"not sent to {PHONE} {aside}",
        event_id="e0",
        created_at=NOON + timedelta(minutes=1),
    )
    await chatwoot_chat(office.db, 481, labels=[aside], labels_at=NOON + timedelta(minutes=9))
    await insert(
        office.db,
        "meeting_notes",
        id="6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e22",
        message_key="chatwoot:1",
        contact_identifier=PHONE,
        content=word,
        event_id="e9",
        created_at=NOON + timedelta(minutes=5),
    )
    return contact


async def test_somebody_of_whom_nothing_has_happened_has_a_page_that_says_so(office: Office) -> None:
    contact = await office.db.fetchval("INSERT INTO contacts (id) VALUES (gen_random_uuid()) RETURNING id")
    answer = await (await office.logged_in("read")).get(f"/people/{contact}")
    assert answer.status == 200
    assert "Nothing has happened yet." in answer.text
    assert "Nothing waits." in answer.text


async def test_it_is_masked_and_tells_the_timeline_and_why(office: Office) -> None:
    contact = await filled(office)
    html = (await (await office.logged_in("read")).get(f"/people/{contact}")).text
    for secret in SECRETS:
        assert secret not in html, secret
    for text in (
        "N. B. A.",
        "+972…42",
        "order IL7 came",
        "text from them by meta: failed",
        "labels: vip",
        "no daemon runs",
        'href="/conversations/chatwoot%3A3%3A481"',
    ):
        assert text in html, text
    for verb in ("reveal</summary>", "Sync now", "Add labels"):
        assert verb not in html


async def test_a_reveal_shows_the_person_for_that_session_and_is_written_down_once(office: Office) -> None:
    contact = await filled(office)
    path = f"/people/{contact}"
    browser = await office.logged_in("operate", "Noa")
    assert "a secret word" not in (await browser.get(path)).text
    await browser.post("/reveal", {"subject": f"contact:{contact}", "reason": "a call", "back": path})
    for _ in range(2):
        html = (await browser.get(path)).text
        for secret in SECRETS:
            assert secret in html, secret
    rows = await office.db.fetch("SELECT action FROM audit_log WHERE subject = $1", f"contact:{contact}")
    assert [row["action"] for row in rows] == ["person.revealed"]
    other = await office.logged_in("operate")
    assert "Ben-Ari" not in (await other.get(path)).text


async def test_a_merged_person_leads_to_whom_they_were_merged_into(office: Office) -> None:
    stays, gone = await filled(office), await bought(office.db, "+972505550143", 8)
    await office.db.execute("UPDATE contacts SET merged_into = $1 WHERE id = $2", stays, gone)
    answer = await (await office.logged_in("read")).get(f"/people/{gone}")
    assert (answer.status, answer.leads_to) == (303, f"/people/{stays}")


@pytest.mark.parametrize("id", ["6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e99", "%2B972505550142", "IL7", "noa@example.com"])
async def test_only_an_id_names_a_person_in_an_address(office: Office, id: str) -> None:
    await filled(office)
    answer = await (await office.logged_in("read")).get(f"/people/{id}")
    assert answer.status == 404
    assert "N. B. A." not in answer.text


async def test_the_newest_order_is_synced_again(office: Office) -> None:
    contact = await filled(office)
    body = {"order": {"id": "IL7"}, "form": {"client": {}, "created_at": "2021-02-14T09:00:00Z", "applicants": []}}
    await office.db.execute("UPDATE orders SET raw_body = $1::text::jsonb", orjson.dumps(body).decode())
    browser = await office.logged_in("operate", "Noa")
    answer = await browser.post(f"/people/{contact}/sync")
    assert (answer.status, answer.leads_to) == (303, f"/people/{contact}")
    assert "The order IL7 is on its way to CGB." in (await browser.get(answer.leads_to)).text
    keys = [key async for key in office.pages._bus.redis.scan_iter("*orders*")]
    assert keys, "it is on a stream"
    row = await office.db.fetchrow("SELECT actor, subject FROM audit_log WHERE action = 'order.synced'")
    assert row is not None
    assert tuple(row) == ("Noa", "order:IL7")


async def test_without_an_order_there_is_nothing_to_sync(office: Office) -> None:
    contact = await office.db.fetchval("INSERT INTO contacts (id) VALUES (gen_random_uuid()) RETURNING id")
    browser = await office.logged_in("operate")
    assert "Sync now" not in (await browser.get(f"/people/{contact}")).text
    assert (await browser.post(f"/people/{contact}/sync")).status == 422


async def test_labels_are_asked_for_where_there_is_a_crm(redis: Redis, db: Pool, settings: Settings) -> None:
    crm = settings.model_copy(
        update={
            "chatwoot_base_url": "https://crm.example",
            "chatwoot_api_access_token": SecretStr("t"),
            "chatwoot_account_id": 3,
        }
    )
    async with opened_office(redis, db, crm) as office:
        contact = await filled(office)
        browser = await office.logged_in("operate", "Noa")
        answer = await browser.post(f"/people/{contact}/labels", {"labels": "vip, interest diesel"})
        assert (answer.status, answer.leads_to) == (303, f"/people/{contact}")
        assert "On their way to Chatwoot: vip, interest-diesel." in (await browser.get(answer.leads_to)).text
        row = await db.fetchrow("SELECT actor, detail FROM audit_log WHERE action = 'labels.added'")
        assert row is not None
        assert row["actor"] == "Noa"
        assert "interest-diesel" in str(row["detail"])
        for wrong in ("", " , ", "x" * 2001):
            assert (await browser.post(f"/people/{contact}/labels", {"labels": wrong})).status == 422


async def test_without_a_crm_labels_say_what_lacks(office: Office) -> None:
    contact = await filled(office)
    browser = await office.logged_in("operate")
    answer = await browser.post(f"/people/{contact}/labels", {"labels": "vip"})
    assert answer.status == 422
    assert "Chatwoot is not configured" in answer.text
    assert await office.db.fetchval("SELECT count(*) FROM outbox") == 0


async def test_what_others_wrote_is_shown_as_text(office: Office) -> None:
    contact = await filled(office, HOSTILE, name=HOSTILE, aside=HOSTILE)
    browser = await office.logged_in("operate")
    path = f"/people/{contact}"
    assert_harmless((await browser.get(path)).text)
    await browser.post("/reveal", {"subject": f"contact:{contact}", "reason": "a call"})
    assert_harmless((await browser.get(path)).text, times=4)

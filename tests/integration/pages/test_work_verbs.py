"""What operators do on the pages of work: each verb once asked, with its exact count, and what it leaves alone."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

import pytest

from adapters.postgres.pool import Pool
from daemon.operator.dead_letters import REACHING
from daemon.settings.model import Settings
from daemon.workers import WORKERS
from tests.support import campaigns
from tests.support.browsers import Browser, Office
from tests.support.forms import asked_count, kept, say_yes
from tests.support.list_rows import fill
from tests.support.listening import order
from tests.support.until import until

LETTER: Final = """
INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid, schemaversion,
  fingerprint, error_class, error_text, attempts, state)
VALUES ($1, gen_random_uuid(), $2, 'orders', '+972505550142', now(), '{"order": {"id": "IL1"}, "name": "Dorit"}', '',
  '', 1, 'f1', 'Refused', 'no', 1, 'open') RETURNING id
"""
REFUSED: Final = """
INSERT INTO refused_requests (source, reason, status, headers, body, at)
VALUES ('orders', 'body', 400, '{"Content-Type": "application/json"}', $1, now()) RETURNING id
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an account of Meta, for campaigns."""
    names = ("meta_phone_number_id", "meta_access_token")
    return settings.model_copy(update={name: getattr(campaigns.SETTINGS, name) for name in names})


@pytest.fixture
async def browser(office: Office) -> Browser:
    return await office.logged_in("operate", "Noa")


async def letter(db: Pool, worker: str = "contact-sync", type: str = "order.received") -> int:
    return int(await db.fetchval(LETTER, worker, type))


async def states(db: Pool) -> dict[int, str]:
    return {row["id"]: row["state"] for row in await db.fetch("SELECT id, state FROM dead_letters ORDER BY id")}


async def logged(db: Pool, action: str) -> list[Any]:
    return [dict(row) for row in await db.fetch("SELECT actor, subject FROM audit_log WHERE action = $1", action)]


def test_workers_that_write_to_people_are_known_by_their_names() -> None:
    assert {worker.name for worker in WORKERS} >= REACHING


async def test_one_letter_is_retried_without_a_question(browser: Browser, db: Pool) -> None:
    number = await letter(db)
    answer = await browser.post("/letters/retry", {"id": str(number)})
    assert answer.leads_to == f"/letters/{number}"
    assert "1 sent again." in (await browser.get(f"/letters/{number}")).text
    assert await states(db) == {number: "retried"}
    assert [row["actor"] for row in await logged(db, "letter.retried")] == ["Noa"]


async def test_a_letter_whose_worker_writes_to_people_is_asked_about(browser: Browser, db: Pool) -> None:
    number = await letter(db, "outbound-messaging", "message.requested")
    count, answer = await say_yes(browser, "/letters/retry", {"id": str(number)})
    assert (count, answer.status, await states(db)) == (1, 303, {number: "retried"})


@pytest.mark.parametrize(("verb", "state"), [("retry", "retried"), ("discard", "discarded")])
async def test_a_group_is_settled_as_it_was_shown(browser: Browser, db: Pool, verb: str, state: str) -> None:
    numbers = [await letter(db) for _ in range(3)]
    other = await letter(db, "crm-labels")
    shown = await browser.get("/dead-letters?worker=contact-sync")
    assert "Retry 3" in shown.text
    assert "<polyline" in shown.text
    fields = {"everything": "1", "filter.worker": "contact-sync", "filter.fingerprint": "f1"}
    asked = await browser.post(f"/letters/{verb}", fields)
    later = await letter(db)
    await db.execute("UPDATE dead_letters SET state = 'discarded' WHERE id = $1", numbers[0])
    assert asked_count(asked) == 3
    assert (await browser.post(f"/letters/{verb}", kept(asked))).leads_to == "/dead-letters"
    found = await states(db)
    assert [found[number] for number in numbers[1:]] == [state, state]
    assert (found[other], found[later]) == ("open", "open")
    assert "Left alone: 1: it was settled meanwhile" in (await browser.get("/dead-letters")).text


async def test_a_discard_of_one_is_asked_about(browser: Browser, db: Pool) -> None:
    number = await letter(db)
    asked = await browser.post("/letters/discard", {"id": [str(number), str(number + 7)]})
    assert "not open, or not there" in asked.text
    assert await states(db) == {number: "open"}
    await browser.post("/letters/discard", kept(asked))
    assert await states(db) == {number: "discarded"}


async def test_a_letter_is_mended_once_it_is_revealed(browser: Browser, db: Pool) -> None:
    number = await letter(db)
    path = f"/letters/{number}"
    shown = (await browser.get(path)).text
    assert ("Dorit" in shown, "<textarea" in shown) == (False, False)
    await browser.post("/reveal", {"subject": f"letter:{number}", "reason": "a call", "back": path})
    shown = (await browser.get(path)).text
    assert ("Dorit" in shown, "<textarea" in shown) == (True, True)
    wrong = await browser.post(f"{path}/edit", {"data": "{nonsense"})
    assert (wrong.status, "{nonsense" in wrong.text, await states(db)) == (422, True, {number: "open"})
    await db.execute("UPDATE dead_letters SET source = 'ferryman' WHERE id = $1", number)
    assert (await browser.post(f"{path}/edit", {"data": '{"mended": true}'})).leads_to == path
    assert await states(db) == {number: "retried"}
    assert await db.fetchval("SELECT data FROM outbox") == '{"mended": true}'
    assert (await browser.post(f"{path}/edit", {"data": "{}"})).status == 409


async def in_doubt(db: Pool, count: int) -> list[UUID]:
    await fill(db, count)
    await db.execute("UPDATE messages SET status = 'uncertain', direction = 'out', provider = 'meta', evidence = NULL")
    return [row["id"] for row in await db.fetch("SELECT id FROM messages ORDER BY created_at, id")]


async def message_states(db: Pool) -> dict[UUID, str]:
    return {row["id"]: row["status"] for row in await db.fetch("SELECT id, status FROM messages")}


async def test_messages_that_were_sent_are_taken_as_sent(browser: Browser, db: Pool) -> None:
    first, second, third = await in_doubt(db, 3)
    assert "not looked for" in (await browser.get("/messages/uncertain")).text
    asked = await browser.post("/messages/uncertain/sent", {"id": [str(first), str(second)]})
    assert (asked_count(asked), 'name="typed"' in asked.text) == (2, False)
    await db.execute("UPDATE messages SET status = 'failed' WHERE id = $1", second)
    await browser.post("/messages/uncertain/sent", kept(asked))
    assert await message_states(db) == {first: "sent", second: "failed", third: "uncertain"}
    assert "1: it is not uncertain any more" in (await browser.get("/messages/uncertain")).text
    assert await logged(db, "message.settled_sent") == [{"actor": "Noa", "subject": f"message:{first}"}]


async def test_sending_several_again_asks_to_type_their_count(browser: Browser, db: Pool) -> None:
    ids = await in_doubt(db, 3)
    asked = await browser.post("/messages/uncertain/again", {"everything": "1", "filter.provider": "meta"})
    assert (asked_count(asked), 'name="typed"' in asked.text) == (3, True)
    assert sorted(kept(asked)["id"]) == sorted(map(str, ids))
    wrong = await browser.post("/messages/uncertain/again", {**kept(asked), "typed": "2"})
    assert (wrong.status, set((await message_states(db)).values())) == (422, {"uncertain"})
    await browser.post("/messages/uncertain/again", {**kept(asked), "typed": "3"})
    assert set((await message_states(db)).values()) == {"queued"}
    unfrozen = {"everything": "1", "confirmed": "3", "upto": ""}
    assert (await browser.post("/messages/uncertain/again", unfrozen)).status == 400


async def test_a_message_is_unmasked_after_a_reason_was_given(browser: Browser, db: Pool) -> None:
    await fill(db, 1)
    id = await db.fetchval("SELECT id FROM messages")
    assert "secret words" not in (await browser.get(f"/messages/{id}")).text
    await browser.post("/reveal", {"subject": f"message:{id}", "reason": "a call", "back": f"/messages/{id}"})
    shown = (await browser.get(f"/messages/{id}")).text
    assert ("secret words" in shown, "+97250555" in shown) == (True, True)


async def test_orders_are_synced_as_they_were_shown_and_the_page_says_how_far(browser: Browser, db: Pool) -> None:
    await fill(db, 4)
    await db.execute("UPDATE orders SET cgb_sync_status = 'failed' WHERE order_id < 'IL000000004'")
    await db.execute("UPDATE orders SET client_phone_e164 = NULL WHERE order_id = 'IL000000001'")
    asked = await browser.post("/orders/sync", {"everything": "1", "filter.status": "failed", "rate": "6000"})
    assert (asked_count(asked), "1: it has no usable phone" in asked.text) == (3, True)
    await db.execute("UPDATE orders SET created_at = now() WHERE order_id = 'IL000000003'")
    answer = await browser.post("/orders/sync", kept(asked))
    assert answer.leads_to.startswith("/syncs/contact-sync:sync-")
    shown = await browser.get(answer.leads_to)
    assert ("of 2 orders" in shown.text, "1 are left out" in shown.text) == (True, True), shown.text
    live = await browser.peek(answer.leads_to + "/live")
    assert "<progress" in live.text

    async def ended() -> bool:
        return bool(await db.fetchval("SELECT finished_at IS NOT NULL FROM sync_runs WHERE begun_by = 'Noa'"))

    await until(ended)
    assert "2 of 2 orders: ended" in (await browser.get(answer.leads_to)).text
    assert [row["actor"] for row in await logged(db, "orders.synced")] == ["Noa"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"id": "IL000000001", "rate": "fast"}, 422),
        ({"id": "IL000000001", "confirmed": "1"}, 400),
        ({"everything": "1", "filter.status": "nonsense"}, 422),
    ],
)
async def test_a_sync_that_no_page_asks_for_is_refused(
    browser: Browser, db: Pool, fields: dict[str, str], status: int
) -> None:
    assert (await browser.post("/orders/sync", fields)).status == status
    assert await db.fetchval("SELECT count(*) FROM sync_runs") == 0


async def test_a_campaign_is_started_paused_resumed_and_stopped(office: Office, browser: Browser, db: Pool) -> None:
    id = await campaigns.made(db, provider="meta")
    path = f"/campaigns/{id}"
    shown = (await browser.get(path)).text
    assert ("Start</button>" in shown, "Pause</button>" in shown) == (True, False)
    assert "/start" not in (await (await office.logged_in("read")).get(path)).text
    asked = await browser.post(f"{path}/start")
    assert (asked_count(asked), 'name="typed"' in asked.text) == (3, True)
    started = await browser.post(f"{path}/start", {**kept(asked), "typed": "3"})
    assert started.leads_to == path, started.text
    assert (await browser.post(f"{path}/start")).status == 409
    assert (await browser.post(f"{path}/pause")).leads_to == path
    _, resumed = await say_yes(browser, f"{path}/resume", {}, typed="3")
    assert resumed.leads_to == path
    count, stopped = await say_yes(browser, f"{path}/stop", {})
    assert (count, stopped.leads_to) == (3, path)
    assert "The campaign is stopped." in (await browser.get(path)).text
    assert await db.fetchval("SELECT status FROM campaigns") == "stopped"


async def test_a_report_is_masked_unless_an_admin_asks(office: Office, browser: Browser, db: Pool) -> None:
    id = await campaigns.made(db, "=news")
    path = f"/campaigns/{id}/report.csv"
    await db.execute("UPDATE campaign_recipients SET error = '=HYPERLINK(1)' WHERE line = 1")
    masked = await browser.get(path)
    assert masked.headers["Content-Type"].startswith("text/csv")
    assert masked.headers["Content-Disposition"] == 'attachment; filename="campaign-_news.csv"'
    assert campaigns.phone(1) not in masked.text
    assert "'=HYPERLINK(1)" in masked.text
    assert await logged(db, "campaign.revealed") == []
    admin = await office.logged_in("admin", "Dan")
    whole = await admin.post(path)
    assert f"'{campaigns.phone(1)}" in whole.text
    assert await logged(db, "campaign.revealed") == [{"actor": "Dan", "subject": f"campaign:{id}"}]


async def test_what_became_of_reading_each_list_of_templates_is_said(browser: Browser, db: Pool) -> None:
    await db.execute("INSERT INTO pauses (name) VALUES ('meta')")
    answer = await browser.post("/templates/sync")
    assert answer.leads_to == "/templates", answer.text
    assert "meta: the list could not be read: meta is paused" in (await browser.get("/templates")).text
    assert await logged(db, "templates.read") == [{"actor": "Noa", "subject": "provider:meta"}]


async def test_refused_requests_stand_in_groups_by_reason(browser: Browser, db: Pool) -> None:
    await fill(db, 12)
    shown = re.sub(r"\s+", " ", (await browser.get("/refused")).text)
    assert 'href="/refused?source=orders&amp;reason=signature">signature</a>' in shown
    assert 'href="/refused?source=orders&amp;reason=too%20large">too large</a>' in shown


async def test_a_refused_request_that_is_still_wrong_says_why(browser: Browser, db: Pool) -> None:
    number = await db.fetchval(REFUSED, b'{"order": {}, "name": "Dorit"}')
    assert "Dorit" not in (await browser.get(f"/refused/{number}")).text
    answer = await browser.post(f"/refused/{number}/send")
    assert (answer.status, "it would be refused again" in answer.text) == (422, True)
    assert await db.fetchval("SELECT sent_again_at FROM refused_requests") is None


async def test_a_refused_request_is_taken_with_a_mended_body(browser: Browser, db: Pool) -> None:
    number = await db.fetchval(REFUSED, b'{"order": {}}')
    path = f"/refused/{number}"
    await browser.post("/reveal", {"subject": f"refused:{number}", "reason": "a call", "back": path})
    assert "<textarea" in (await browser.get(path)).text
    count, answer = await say_yes(browser, f"{path}/send", {"body": order(1).decode()})
    assert (answer.leads_to, count) == (path, await db.fetchval("SELECT count(*) FROM outbox"))
    assert "<textarea" not in (await browser.get(path)).text
    assert [row["actor"] for row in await logged(db, "refused.sent_again")] == ["Noa"]

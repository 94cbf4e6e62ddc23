"""Campaigns on a real Postgres: fed once each, paused and stopped at once, and never apart from their messages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from adapters.postgres import messages, opt_outs
from adapters.postgres.audience import OrdersQuery, buyers
from adapters.postgres.bus import outbox
from adapters.postgres.deliveries import Sent, Told
from adapters.postgres.messages import Asked, Ended
from adapters.postgres.opt_outs import Preference
from adapters.postgres.pool import Pool
from daemon.messages import delivery_status, outbound
from daemon.messages.campaign_rules import FEW
from daemon.messages.requests import CAMPAIGNS
from daemon.operator import campaign_standing, campaigns, credentials
from daemon.operator.campaigns import NotMoved
from daemon.operator.faults import Unusable
from daemon.settings.model import Settings
from schemas.envelope import Event
from tests.support.campaigns import FASTEST, fed, made, moved, people, phone, standing
from tests.support.toy import NOON
from tests.support.until import until

FAR: Final = 10_000


async def queued(db: Pool, id: UUID) -> list[UUID]:
    """The messages that are queued, in the order of the lines."""
    rows = await db.fetch(
        "SELECT message_id FROM campaign_recipients WHERE campaign_id = $1 AND status = 'queued' ORDER BY line", id
    )
    return [row["message_id"] for row in rows]


async def end(db: Pool, id: UUID, status: str, code: str | None = None) -> None:
    """The worker's record of a message that it has claimed."""
    await messages.claim(db, id)
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, [Ended(id=id, status=status, at=NOON, error_code=code, error=code and "refused")])


async def left(db: Pool) -> list[Event]:
    return [event for _, event in await outbox.left(db, older_than_s=-1, limit=FAR)]


async def rounds(db: Pool, id: UUID, *, status: str = "sent") -> None:
    """Feed and send until the campaign goes on no more."""

    async def over() -> bool:
        await fed(db)
        for message in await queued(db, id):
            await end(db, message, status)
        found: str = await db.fetchval("SELECT status FROM campaigns WHERE id = $1", id)
        return found != "running"

    await until(over, "the end of the campaign")


async def test_a_campaign_by_a_stored_account_starts_where_the_settings_name_none(db: Pool) -> None:
    id = await made(db)
    bare = Settings(messages_default_provider="meta", ferryman_secret_key=(SecretStr(Fernet.generate_key().decode()),))
    with pytest.raises(Unusable, match="provider meta is not configured"):
        await campaigns.move(db, bare, str(id), "start", "ops")
    fields = {"phone_number_id": "1", "access_token": "m" * 20}
    await credentials.store(db, bare, credentials.given("meta", "default", fields), "ops")
    assert (await campaigns.move(db, bare, str(id), "start", "ops"))["status"] == "running"


async def test_a_draft_sends_nothing_and_a_started_one_to_each_once(db: Pool) -> None:
    id = await made(db, recipients=people(40))
    await fed(db)
    assert await standing(db, id) == {"pending": 40}
    await moved(db, id, "start")
    await rounds(db, id)
    assert await standing(db, id) == {"sent": 40}
    found = await campaign_standing.show(db, str(id))
    assert (found["status"], found["counts"]["sent"], found["recipients"]) == ("done", 40, 40)
    rows = await db.fetch("SELECT phone, purpose, category, content->>'name' AS name FROM messages")
    assert sorted(row["phone"] for row in rows) == [phone(n) for n in range(40)]
    assert {tuple(row)[1:] for row in rows} == {(f"campaign:{id}", "utility", "news")}
    events = await left(db)
    assert len({event.id for event in events}) == 40
    assert {event.source for event in events} == {CAMPAIGNS}, "by which its calls are bulk at the rate limit"
    assert outbound.WORKER.is_bulk(events[0])
    assert not outbound.WORKER.is_bulk(events[0]._replace(source="ferryman"))


async def test_many_that_feed_at_once_queue_each_person_once(db: Pool) -> None:
    ids = [await made(db, f"news {n}", recipients=people(60)) for n in range(2)]
    for id in ids:
        await moved(db, id, "start")
    for _ in range(4):
        await asyncio.gather(*(fed(db) for _ in range(4)))
    assert await db.fetchval("SELECT count(*) FROM messages") == len(await left(db))
    for id in ids:
        await rounds(db, id)
        assert await standing(db, id) == {"sent": 60}
    assert await db.fetchval("SELECT count(*) FROM messages") == 120


async def test_of_two_who_start_it_at_once_one_does(db: Pool) -> None:
    id = await made(db)
    found = await asyncio.gather(*(moved(db, id, "start") for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in found].count(dict) == 1
    assert [type(one) for one in found].count(NotMoved) == 4


async def test_the_rate_and_the_number_under_way_are_kept(db: Pool) -> None:
    slow, fast = await made(db, rate=0.1), await made(db, "fast", recipients=people(100))
    for id in (slow, fast):
        await moved(db, id, "start")
    for _ in range(2):
        await fed(db)
    assert await standing(db, slow) == {"queued": 1, "pending": 2}
    assert (await standing(db, fast))["queued"] == 100
    found = await campaign_standing.show(db, str(slow))
    assert found["per_minute"] == 1
    assert [(one["count"], one["why"]) for one in found["waits"]] == [
        (2, "their turn, at the campaign's rate"),
        (1, "their turn at meta"),
    ]


async def test_nobody_is_fed_while_enough_are_under_way(db: Pool) -> None:
    id = await made(db, recipients=people(40), rate=1)
    await moved(db, id, "start")
    for _ in range(30):
        await fed(db)
    assert await standing(db, id) == {"queued": 10, "pending": 30}


async def test_a_pause_takes_back_what_is_queued_and_resuming_sends_it_once(db: Pool) -> None:
    id = await made(db, recipients=people(30))
    await moved(db, id, "start")
    await fed(db)
    first = await queued(db, id)
    await messages.claim(db, first[0])
    before = await left(db)
    found = await moved(db, id, "pause")
    assert (found["counts"]["sending"], found["counts"]["pending"]) == (1, 29)
    assert found["waits"][0]["count"] == 29
    assert await messages.claim(db, first[1]) is None, "its event finds no message"
    await fed(db)
    assert await standing(db, id) == {"sending": 1, "pending": 29}
    await moved(db, id, "pause")
    await moved(db, id, "resume")
    await end(db, first[0], "sent")
    await rounds(db, id)
    assert await standing(db, id) == {"sent": 30}
    assert await db.fetchval("SELECT count(*) FROM messages") == 30
    again = {event.id for event in await left(db)} - {event.id for event in before}
    assert len(again) == 29, "the events of before have ended with nothing to be done"


async def test_a_stop_cancels_whoever_has_not_had_their_turn(db: Pool) -> None:
    id = await made(db, recipients=people(30), rate=2)
    await moved(db, id, "start")
    await fed(db)
    (message,) = (await queued(db, id))[:1]
    await end(db, message, "sent")
    await fed(db)
    found = await moved(db, id, "stop")
    assert (found["status"], found["counts"]["sent"], found["counts"]["canceled"]) == ("stopped", 1, 29)
    assert await db.fetchval("SELECT count(*) FROM messages WHERE status = 'queued'") == 0
    with pytest.raises(NotMoved, match="nobody waits"):
        await moved(db, id, "resume")


async def test_a_template_that_is_refused_to_all_stops_the_campaign_after_a_few(db: Pool) -> None:
    id = await made(db, recipients=people(200), rate=2)
    await moved(db, id, "start")
    for _ in range(20):
        await fed(db)
        for message in await queued(db, id):
            await end(db, message, "failed", "meta-132001")
    found = await campaign_standing.show(db, str(id))
    assert (found["status"], "132001" in found["reason"]) == ("stopped", True)
    assert found["counts"]["failed"] < 3 * FEW
    assert found["counts"]["failed"] + found["counts"]["pending"] == 200
    assert found["errors"][0] | {"error": ""} == {
        "status": "failed",
        "code": "meta-132001",
        "error": "",
        "count": found["counts"]["failed"],
    }
    await moved(db, id, "resume")
    await db.execute("UPDATE campaigns SET rate = $1", FASTEST)
    await rounds(db, id)
    assert await standing(db, id) == {"failed": found["counts"]["failed"], "sent": found["counts"]["pending"]}


async def test_refusals_that_statuses_tell_stop_it_too(db: Pool) -> None:
    id = await made(db, recipients=people(60), rate=2)
    await moved(db, id, "start")
    for _ in range(12):
        await fed(db)
    ids = await queued(db, id)
    for n, message in enumerate(ids):
        await messages.claim(db, message)
        async with db.acquire() as conn, conn.transaction():
            row = Ended(id=message, status="sent", at=NOON, provider_id=f"w{n}")
            await outbound.record(conn, [row, Sent(message, "meta", f"w{n}")])
    await fed(db)
    assert await db.fetchval("SELECT status FROM campaigns") == "running", "nothing is known yet"
    for n in range(FEW):
        told = Told(
            system="meta", provider_id=f"w{n}", our_id=None, phone=None, status="failed", at=NOON, event_id=f"e{n}",
            error_code="132015",
        )  # fmt: skip
        async with db.acquire() as conn, conn.transaction():
            await delivery_status.record(conn, [told])
    await fed(db)
    assert await db.fetchval("SELECT status FROM campaigns") == "stopped"


async def test_people_who_cannot_be_reached_stop_no_campaign(db: Pool) -> None:
    id = await made(db, recipients=people(30))
    await moved(db, id, "start")
    await fed(db)
    for message in await queued(db, id):
        await end(db, message, "failed", "meta-131026")
    await rounds(db, id)
    assert await standing(db, id) == {"failed": 30}
    assert (await campaign_standing.show(db, str(id)))["status"] == "done"


async def test_a_stop_of_a_person_counts_while_the_campaign_runs(db: Pool) -> None:
    id = await made(db, recipients=people(12), rate=1)
    await moved(db, id, "start")
    await fed(db)
    wishes = [Preference(phone(n), "marketing" if n == 5 else "all", True, NOON, "message", f"e{n}") for n in (5, 6)]
    async with db.acquire() as conn, conn.transaction():
        await opt_outs.keep(conn, wishes)
    await db.execute("UPDATE campaigns SET rate = $1", FASTEST)
    await rounds(db, id)
    assert await standing(db, id) == {"sent": 11, "skipped": 1}, "a stop of marketing leaves others"
    found = await campaign_standing.show(db, str(id))
    assert "opted out" in found["errors"][0]["error"]


async def test_quiet_hours_that_begin_take_queued_messages_back(db: Pool) -> None:
    id = await made(db, quiet="03:00-02:59")  # all day but for a minute
    await db.execute("UPDATE campaigns SET quiet_from = NULL, quiet_to = NULL")
    await moved(db, id, "start")
    await fed(db)
    assert await standing(db, id) == {"queued": 3}
    await db.execute("UPDATE campaign_recipients SET not_after = now() - interval '1 second'")
    now = await db.fetchval("SELECT now() AT TIME ZONE 'Asia/Jerusalem'")
    start, end_ = (now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time()
    await db.execute("UPDATE campaigns SET quiet_from = $1, quiet_to = $2", start, end_)
    await fed(db)
    assert await standing(db, id) == {"pending": 3}
    assert await db.fetchval("SELECT count(*) FROM messages") == 0
    (wait,) = (await campaign_standing.show(db, str(id)))["waits"]
    assert (wait["count"], wait["why"]) == (3, "quiet hours")
    assert timedelta(minutes=50) < wait["until"] - await db.fetchval("SELECT now()") <= timedelta(hours=1)


async def test_its_end_skips_whoever_has_not_had_their_turn(db: Pool) -> None:
    id = await made(db)
    await moved(db, id, "start")
    await db.execute("UPDATE campaigns SET ends_at = now() + interval '1 day', rate = 1")
    await fed(db)
    assert await standing(db, id) == {"queued": 2, "pending": 1}
    await db.execute("UPDATE campaigns SET ends_at = now() - interval '1 second'")
    await db.execute("UPDATE campaign_recipients SET not_after = now() - interval '1 second' WHERE status = 'queued'")
    await fed(db)
    assert await standing(db, id) == {"skipped": 3}
    assert await db.fetchval("SELECT status FROM campaigns") == "done"


async def test_a_provider_that_is_not_configured_loses_nobody(db: Pool) -> None:
    id = await made(db)
    await moved(db, id, "start")
    await fed(db, configured=False)
    assert await standing(db, id) == {"pending": 3}


async def test_a_message_that_is_taken_back_alone_cancels_its_recipient(db: Pool) -> None:
    id = await made(db)
    await moved(db, id, "start")
    await fed(db)
    assert await messages.cancel(db, (await queued(db, id))[0])
    assert await standing(db, id) == {"canceled": 1, "queued": 2}


async def test_feeding_pausing_and_sending_at_once_never_lock_each_other_up(db: Pool) -> None:
    id = await made(db, recipients=people(80))
    await moved(db, id, "start")

    async def send() -> None:
        for _ in range(6):
            for message in (await queued(db, id))[:8]:
                if await messages.claim(db, message):
                    async with db.acquire() as conn, conn.transaction():
                        await outbound.record(conn, [Ended(id=message, status="sent", at=NOON)])

    async def stir() -> None:
        for verb in ("pause", "resume") * 3:
            try:
                await moved(db, id, verb)
            except NotMoved:
                return
            await fed(db)

    await asyncio.gather(send(), stir(), *(fed(db) for _ in range(5)))
    await rounds(db, id)
    assert await standing(db, id) == {"sent": 80}
    assert await db.fetchval("SELECT count(*) FROM messages") == 80


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"recipients": []}, "nobody to send to"),
        ({"csv": "phone,1\n"}, "nobody to send to"),
        ({"orders": {"branch": "il"}}, "nobody to send to"),
        ({"category": "marketing"}, "marketing needs consent"),
        ({"csv": "1,2\na,b\n"}, "no column phone"),
        ({"csv": "phone,1,1\n+972505550142,a,b\n"}, "a name twice"),
        ({"csv": 'phone,1\n+972505550142,"a\n'}, "is no CSV"),
        ({"csv": "phone,1\n12,a\n+972505550142,b\n13,c\n"}, "2 rows cannot be sent"),
        ({"csv": "phone,1\n+972505550142,b\n12,c\n"}, "line 3: no usable phone"),
        ({"csv": "phone,1\n+972505550142,a\n+972505550143, \n"}, "line 3: the variable 1 is empty"),
        ({"csv": "phone,1\n+972505550142,a,b\n"}, "line 2: it has 3 cells"),
        ({"csv": f"phone,1\n+972505550142,a\n+972505550143,{'x' * 2001}\n"}, "line 3: the variable 1"),
        ({"provider": "twilio"}, "twilio is not configured"),
        ({"quiet": "at night"}, "quiet:"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "has passed"),
        ({"orders": {"branch": "il", "variables": {"1": "{client_name.__class__}"}}}, "in braces"),
    ],
)
async def test_what_is_wrong_with_a_campaign_is_said_and_nothing_is_made(
    db: Pool, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(Unusable) as raised:
        await made(db, **given)
    assert says in str(raised.value)
    assert "5550142" not in str(raised.value)
    assert await db.fetchval("SELECT count(*) FROM campaigns") == 0
    assert await db.fetchval("SELECT count(*) FROM campaign_recipients") == 0


async def test_two_spellings_of_one_number_are_one_message(db: Pool) -> None:
    text = "phone;name;1\n+55 11 96123-4567;Ana;a\n\n+551161234567;Ana;b\n+972 50-555-0142;Noa;c\n00972505550142;;d\n"
    id = await made(db, csv="\ufeff" + text)
    rows = await db.fetch("SELECT line, name, variables->>'1' AS one FROM campaign_recipients ORDER BY line")
    assert [tuple(row) for row in rows] == [(2, "Ana", "a"), (5, "Noa", "c")]
    found = await campaign_standing.show(db, str(id))
    assert (found["recipients"], found["duplicates"]) == (2, 2)


async def test_who_has_not_agreed_to_marketing_gets_none(db: Pool) -> None:
    text = "phone,1,consent\n+972505550141,a,web form 2026\n+972505550142,b,\n+972505550143,c,no\n"
    id = await made(db, csv=text, category="marketing")
    assert await standing(db, id) == {"pending": 1, "skipped": 2}
    (error,) = (await campaign_standing.show(db, str(id)))["errors"]
    assert (error["count"], "consent" in error["error"]) == (2, True)
    all_of_them = await made(db, "all", csv=text, category="marketing", consent="the shop's list of 2026")
    assert await standing(db, all_of_them) == {"pending": 2, "skipped": 1}, "a no of the person's own stays one"
    logged = await db.fetch("SELECT detail->>'consent' AS consent FROM audit_log WHERE action = 'campaign.created'")
    assert [row["consent"] for row in logged] == [None, "the shop's list of 2026"]


async def test_marketing_has_quiet_hours_where_nothing_else_is_said(db: Pool) -> None:
    told = {"quiet": None, "consent": "asked"}
    found = [await campaign_standing.show(db, str(await made(db, one, category=one, **told))) for one in _CATEGORIES]
    assert [one["quiet"] for one in found] == [None, "21:00-09:00"]


_CATEGORIES: Final[tuple[Any, ...]] = ("utility", "marketing")


async def test_buyers_of_stored_orders_are_asked_by_their_newest_order(db: Pool) -> None:
    for n, (number, alerts) in enumerate([(1, True), (1, True), (2, None), (3, True)]):
        await db.execute(
            "INSERT INTO orders (order_id, branch, order_status, client_name, client_phone_e164, product_country,"
            " whatsapp_alerts_enabled, ordered_at, webhook_received_at, raw_body)"
            " VALUES ($1, 'il', 'paid', $2, $3, 'India', $4, now() - $5 * interval '1 day', now(), '{}')",
            *(f"IL{n}", f"Buyer {n}", phone(number), alerts, 10 - n),
        )
    wanted = {"branch": "il", "country": "india", "variables": {"1": "{client_name}", "2": "order {order_id}"}}
    id = await made(db, orders=wanted)
    rows = await db.fetch(
        "SELECT phone, variables->>'1', variables->>'2', status FROM campaign_recipients ORDER BY line"
    )
    assert [tuple(row) for row in rows] == [
        (phone(1), "Buyer 1", "order IL1", "pending"),
        (phone(2), "Buyer 2", "order IL2", "skipped"),
        (phone(3), "Buyer 3", "order IL3", "pending"),
    ]
    assert "consent" in (await campaign_standing.show(db, str(id)))["errors"][0]["error"]
    assert [len(await buyers(db, OrdersQuery(branch="il"), one, 9)) for one in (None, ["il"], ["se"])] == [3, 3, 0]


async def test_a_person_is_called_as_their_contact_else_as_the_file_says(db: Pool) -> None:
    id = await made(db, csv=f"phone,1,name\n{phone(1)},a,Noa\n{phone(2)},a,Dan\n{phone(3)},a,\n")
    contact = await db.fetchval("INSERT INTO contacts (name) VALUES ('Daniel') RETURNING id")
    await db.execute(
        "INSERT INTO contact_identities (contact_id, kind, value) VALUES ($1, 'phone', $2)", contact, phone(2)
    )
    await moved(db, id, "start")
    await fed(db)
    asked = [Asked(message, phone(0), "meta") for message in await queued(db, id)]
    assert [state.name for state in await messages.states(db, asked)] == ["Noa", "Daniel", None]


async def test_a_name_stands_for_one_campaign(db: Pool) -> None:
    await made(db)
    with pytest.raises(campaigns.CampaignTaken):
        await made(db)
    assert (await campaign_standing.show(db, "news"))["recipients"] == 3

"""The operator's lists and verbs over HTTP: pages, what is asked wrongly, verbs that are planned first, and nothing
personal without a reason."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from adapters.postgres.pool import Pool
from daemon.api.lists import LISTS
from daemon.operator.faults import Conflict
from daemon.operator.runs import Runs
from tests.integration.api.conftest import Served
from tests.support.list_rows import CANARIES, fill
from tests.support.listening import check_problem
from tests.support.until import until

ROWS: Final = 12
PATHS: Final = [f"/api/v1/{one.path}" for one in LISTS]


@pytest.fixture
async def filled(served: Served, db: Pool) -> Served:
    await fill(db, ROWS)
    return served


async def asked(served: Served, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await served.ask(method, path, None if body is None else json.dumps(body).encode())
    assert answer.status == status, answer.body
    return answer.json


@pytest.mark.parametrize("path", PATHS)
async def test_a_list_is_read_page_by_page(filled: Served, path: str) -> None:
    whole = await asked(filled, "GET", path)
    assert (len(whole["data"]) > 0, whole["next"], whole["prev"]) == (True, None, None)
    page = await asked(filled, "GET", f"{path}?limit=1")
    found = page["data"]
    while page["next"]:
        page = await asked(filled, "GET", f"{path}?limit=1&cursor={page['next']}")
        found += page["data"]
    assert found == whole["data"]


@pytest.mark.parametrize("path", PATHS)
async def test_no_list_tells_who_somebody_is(filled: Served, path: str) -> None:
    text = (await filled.ask("GET", path)).body.decode()
    assert [canary for canary in CANARIES if canary in text] == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "query", ["stat=failed", "limit=0", "limit=101", "limit=x", "cursor=x", "cursor=", "limit=1&limit=2"]
)
async def test_a_query_that_is_wrong_is_refused(filled: Served, path: str, query: str) -> None:
    check_problem(await filled.ask("GET", f"{path}?{query}"), 400)


async def test_times_are_utc_with_a_z(filled: Served) -> None:
    (first, *_) = (await asked(filled, "GET", "/api/v1/orders"))["data"]
    assert first["kept_at"].endswith("Z")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("orders", "status=failed"),
        ("events", "type=template.changed"),
        ("dead-letters", "class=Refused"),
        ("dead-letters", "state=open"),
        ("refused", "reason=too%20large"),
        ("audit-log", "actor=ops"),
    ],
)
async def test_a_filter_is_named_in_the_query(filled: Served, path: str, query: str) -> None:
    assert len((await asked(filled, "GET", f"/api/v1/{path}?{query}"))["data"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "orders/IL000000001",
        "events/{event}",
        "refused/1",
        "people/{person}",
        "dead-letters/1",
        "dead-letters/groups",
        "overview",
    ],
)
async def test_one_thing_is_shown_masked(filled: Served, db: Pool, path: str) -> None:
    event = await db.fetchval("SELECT id FROM event_journal LIMIT 1")
    person = await db.fetchval("SELECT id FROM contacts LIMIT 1")
    text = json.dumps(await asked(filled, "GET", f"/api/v1/{path.format(event=event, person=person)}"))
    assert [canary for canary in CANARIES if canary in text] == []


@pytest.mark.parametrize(
    "path",
    [
        "orders/none",
        "events/none",
        "refused/99999",
        "refused/x",
        "people/x",
        "people/77c54121-94e8-4c95-a5fa-bc7aaaa12a87",
        "syncs/none",
        "replays/none",
        "dead-letters/99999",
    ],
)
async def test_what_is_not_there_is_a_404(filled: Served, path: str) -> None:
    check_problem(await filled.ask("GET", f"/api/v1/{path}"), 404)


async def test_a_person_is_revealed_for_a_reason_that_is_kept(filled: Served, db: Pool) -> None:
    person = await db.fetchval("SELECT id FROM contacts LIMIT 1")
    path = f"/api/v1/people/{person}/reveal"
    check_problem(await filled.ask("POST", path, b"{}"), 422)
    check_problem(await filled.ask("POST", path, b'{"reason": "x"}'), 422)
    before = await db.fetchval("SELECT count(*) FROM audit_log")
    answer = await filled.ask("POST", path, b'{"reason": "asks where the order is"}')
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (answer.json["name"], answer.json["phones"]) == (
        "Dorit Canary",
        await db.fetchval("SELECT array_agg(value) FROM contact_identities WHERE contact_id = $1", person),
    )
    rows = await db.fetch("SELECT actor, action, subject, detail FROM audit_log ORDER BY id OFFSET $1", before)
    assert [(*tuple(row)[:3], json.loads(row["detail"])) for row in rows] == [
        ("api", "contact.revealed", f"contact:{person}", {"reason": "asks where the order is"})
    ]


async def test_a_customer_is_found_by_what_is_known(filled: Served, db: Pool) -> None:
    async def found(text: str) -> list[tuple[str, str]]:
        answer = await filled.ask("POST", "/api/v1/find", json.dumps({"text": text}).encode())
        assert [canary for canary in CANARIES if canary in answer.body.decode()] == []
        return [(hit["kind"], hit["id"]) for hit in answer.json["data"]]

    person = str(await db.fetchval("SELECT contact_id FROM contact_identities WHERE value = '+972505550107'"))
    assert ("person", person) in await found("+972 50-555-0107")
    assert await found("IL000000003") == [("order", "IL000000003")]
    message = str(await db.fetchval("SELECT id FROM messages LIMIT 1"))
    assert await found(message) == [("message", message)]
    assert await found("nobody at all") == []


async def test_uncertain_messages_are_settled_and_the_others_are_counted(filled: Served, db: Pool) -> None:
    (id,) = [one["id"] for one in (await asked(filled, "GET", "/api/v1/uncertain"))["data"]]
    sent = await db.fetchval("SELECT id FROM messages WHERE status = 'sent' LIMIT 1")
    body = {"ids": [id, str(sent), str(uuid4()), id], "verdict": "sent"}
    wanted = {
        "done": 1,
        "skipped": [
            {"reason": "it is not uncertain any more", "count": 1},
            {"reason": "there is no such message", "count": 1},
        ],
    }
    assert await asked(filled, "POST", "/api/v1/uncertain/settle", body | {"dry_run": True}) == wanted
    assert await db.fetchval("SELECT status FROM messages WHERE id = $1", UUID(id)) == "uncertain"
    assert await asked(filled, "POST", "/api/v1/uncertain/settle", body) == wanted
    assert await db.fetchval("SELECT status FROM messages WHERE id = $1", UUID(id)) == "sent"
    assert (await asked(filled, "POST", "/api/v1/uncertain/settle", body))["done"] == 0
    assert await db.fetchval("SELECT actor FROM audit_log WHERE action = 'message.settled_sent'") == "api"


async def test_a_refused_request_that_is_not_whole_is_not_sent_again(filled: Served) -> None:
    check_problem(await filled.ask("POST", "/api/v1/refused/1/send"), 409)


async def test_orders_are_planned_and_then_synced_as_they_were_shown(filled: Served, db: Pool) -> None:
    check_problem(await filled.ask("POST", "/api/v1/orders/sync", b'{"branch": "th"}'), 422)
    await db.execute("UPDATE orders SET raw_body = '{', branch = 'th' WHERE order_id < 'IL000000004'")
    await db.execute("UPDATE orders SET client_phone_e164 = NULL WHERE order_id = 'IL000000002'")
    plan = await asked(filled, "POST", "/api/v1/orders/sync", {"branch": "th", "dry_run": True})
    assert (plan["id"], plan["count"]) == (None, 2)
    assert plan["skipped"] == [{"reason": "it has no usable phone", "count": 1}]
    await db.execute(
        "INSERT INTO orders (order_id, branch, client_phone_e164, ordered_at, raw_body, webhook_received_at,"
        " created_at) VALUES ('LATER', 'th', '+972505550199', now(), '{', now(), now() + interval '1 s')"
    )
    body = {"branch": "th", "upto": plan["upto"]}
    run = await asked(filled, "POST", "/api/v1/orders/sync", body, 202)
    assert (run["count"], run["skipped"]) == (plan["count"], plan["skipped"])

    async def ended() -> bool:
        return (await asked(filled, "GET", f"/api/v1/syncs/{run['id']}"))["finished_at"] is not None

    await until(ended)
    told = await asked(filled, "GET", f"/api/v1/syncs/{run['id']}")
    assert (told["total"], told["sent"], told["begun_by"], told["running"]) == (2, 2, "api", False)
    (newest, *_) = (await asked(filled, "GET", "/api/v1/syncs"))["data"]
    assert newest["id"] == run["id"]


async def test_orders_that_are_named_and_not_there_are_counted(filled: Served) -> None:
    body = {"ids": ["IL000000001", "NONE", "IL000000001"], "dry_run": True}
    plan = await asked(filled, "POST", "/api/v1/orders/sync", body)
    assert (plan["count"], plan["upto"]) == (1, None)
    assert plan["skipped"] == [{"reason": "there is no such order", "count": 1}]


async def test_one_run_of_a_kind_goes_on_at_a_time() -> None:
    runs, stop, began = Runs(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    service = asyncio.create_task(runs.run(stop))
    runs.begin("orders-sync", "one", work())
    await began.wait()
    assert runs.is_running("one")
    with pytest.raises(Conflict, match="one is under way"):
        runs.require_free("orders-sync")
    runs.require_free("replay")
    stop.set()
    await service
    assert not runs.is_running("one")


async def test_the_bus_and_the_settings_are_shown_without_a_secret(filled: Served) -> None:
    bus = await asked(filled, "GET", "/api/v1/bus")
    assert set(bus) == {"partitions", "members", "workers"}
    assert {"contact-sync", "journal"} <= set(bus["partitions"]["workers"])
    text = json.dumps(await asked(filled, "GET", "/api/v1/settings"))
    assert "FERRYMAN_PARTITIONS" in text
    assert not any(secret in text for secret in ("admin-token-0123456789", "w" * 20, "m" * 20))


async def test_letters_are_discarded_as_they_were_shown(filled: Served, db: Pool) -> None:
    await db.execute("UPDATE dead_letters SET state = 'open' WHERE id <= 6")
    path, wanted = "/api/v1/dead-letters/discard", {"worker": "contact-sync"}
    check_problem(await filled.ask("POST", path, json.dumps(wanted).encode()), 422)
    plan = await asked(filled, "POST", path, wanted | {"dry_run": True})
    assert (plan["count"], plan["upto"], plan["done"]) == (5, 6, None)
    await db.execute("UPDATE dead_letters SET state = 'open' WHERE id = 8")
    before = await db.fetchval("SELECT max(id) FROM audit_log")
    done = await asked(filled, "POST", path, wanted | {"upto": plan["upto"]})
    assert (done["done"], done["skipped"]) == (5, [])
    rows = await db.fetch("SELECT actor, action, detail ->> 'count' AS n FROM audit_log WHERE id > $1", before)
    assert [tuple(row) for row in rows] == [("api", "letter.discarded", "5")]
    assert [row["id"] for row in await db.fetch("SELECT id FROM dead_letters WHERE state = 'open' ORDER BY id")] == [
        3,
        8,
    ]


async def test_letters_are_sent_again_by_their_numbers(filled: Served, db: Pool) -> None:
    await db.execute("UPDATE dead_letters SET state = 'open' WHERE id <= 2")
    body = {"ids": [1, 2, 7, 999]}
    skipped = [{"reason": "it is not open, or not there", "count": 2}]
    plan = await asked(filled, "POST", "/api/v1/dead-letters/retry", body | {"dry_run": True})
    assert plan == {"count": 2, "upto": None, "skipped": skipped, "done": None}
    done = await asked(filled, "POST", "/api/v1/dead-letters/retry", body)
    assert (done["done"], done["skipped"]) == (2, skipped)
    assert await db.fetchval("SELECT count(*) FROM outbox") == 2


async def test_a_letter_is_sent_again_with_other_data(filled: Served, db: Pool) -> None:
    await db.execute("UPDATE dead_letters SET state = 'open', source = 'ferryman' WHERE id = 1")
    path = "/api/v1/dead-letters/1/edit"
    assert (await asked(filled, "POST", path, {"data": {"a": 1}, "dry_run": True}))["done"] is None
    assert (await asked(filled, "POST", path, {"data": {"a": 1}}))["done"] == 1
    assert await db.fetchval("SELECT data FROM outbox") == '{"a":1}'
    check_problem(await filled.ask("POST", path, b'{"data": {}}'), 409)
    check_problem(await filled.ask("POST", "/api/v1/dead-letters/999/edit", b'{"data": {}}'), 404)


async def test_a_worker_is_paused_for_a_reason_and_goes_on(filled: Served, db: Pool) -> None:
    body = {"name": "contact-sync", "reason": "CGB is moved"}
    planned = await asked(filled, "POST", "/api/v1/pauses", body | {"dry_run": True})
    assert planned == {"name": "contact-sync", "paused": True, "changes": True}
    assert (await asked(filled, "GET", "/api/v1/pauses"))["data"] == []
    assert await asked(filled, "POST", "/api/v1/pauses", body) == planned
    ((row),) = (await asked(filled, "GET", "/api/v1/pauses"))["data"]
    assert (row["name"], row["by"], row["reason"]) == ("contact-sync", "api", "CGB is moved")
    assert (await asked(filled, "POST", "/api/v1/pauses", body))["changes"] is False
    assert (await asked(filled, "POST", "/api/v1/pauses/resume", {"name": "contact-sync"}))["changes"] is True
    check_problem(await filled.ask("POST", "/api/v1/pauses", b'{"name": "nobody", "reason": "none"}'), 422)
    check_problem(await filled.ask("POST", "/api/v1/pauses", b'{"name": "contact-sync"}'), 422)


async def test_events_are_replayed_as_they_were_planned(filled: Served, db: Pool) -> None:
    body = {"worker": "contact-sync", "types": ["order.received"]}
    check_problem(await filled.ask("POST", "/api/v1/replays", json.dumps(body).encode()), 422)
    plan = await asked(filled, "POST", "/api/v1/replays", body | {"dry_run": True})
    orders = await db.fetchval("SELECT count(*) FROM event_journal WHERE type = 'order.received'")
    assert (plan["id"], plan["count"], sum(plan["ended"].values())) == (None, orders, orders)
    await db.execute(
        "UPDATE event_journal SET type = 'order.received' WHERE seq = (SELECT max(seq) FROM event_journal)"
    )
    run = await asked(filled, "POST", "/api/v1/replays", body | {"upto": plan["upto"]}, 202)

    async def ended() -> bool:
        return (await asked(filled, "GET", f"/api/v1/replays/{run['id']}"))["finished_at"] is not None

    await until(ended)
    told = await asked(filled, "GET", f"/api/v1/replays/{run['id']}")
    assert told["total"] == told["published"] <= orders
    assert (told["by"], told["filter"]["types"]) == ("api", ["order.received"])
    check_problem(await filled.ask("POST", "/api/v1/replays", b'{"worker": "nobody", "dry_run": true}'), 422)

"""`/api/v1/content-orders` on a real Postgres: an order is ready once, and whoever wants to hear of it is told once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import orjson

from adapters.postgres.pool import Pool
from tests.integration.api.conftest import Served

PATH = "/api/v1/content-orders"
META_CHAT = "meta:106:972505550142"


async def an_order(db: Pool, *, user: str | None = None, phone: str | None = "+972505550142") -> UUID:
    """An order out of a conversation with a number of Meta."""
    id = uuid4()
    await db.execute(
        "INSERT INTO conversations (chat, system, channel, phone, language) VALUES ($1, 'meta', 'whatsapp', $2, 'nl')"
        " ON CONFLICT DO NOTHING",
        META_CHAT,
        phone,
    )
    await db.execute(
        "INSERT INTO content_orders (id, user_id, params_json, chat, phone, provider, event_id)"
        """ VALUES ($1, $2, '{"platform": "blog"}', $3, $4, 'meta', 'e')""",
        id,
        user,
        META_CHAT,
        phone,
    )
    return id


async def opted(db: Pool, user: str, wants: bool) -> None:
    """The user has said whether they want notices."""
    insert = "INSERT INTO user_bucket_mapping (user_id, bucket_name, notify_on_ready) VALUES ($1, $1, $2)"
    await db.execute(insert, user, wants)


async def made_ready(served: Served, id: UUID) -> dict[str, Any]:
    """What is answered."""
    answer = await served.ask("POST", f"{PATH}/{id}/ready")
    assert answer.status == 200, answer.body
    return dict(orjson.loads(answer.body))


async def test_an_order_that_is_made_ready_by_many_at_once_is_told_once(served: Served, db: Pool) -> None:
    id = await an_order(db, user="u1")
    await opted(db, "u1", True)
    answers = await asyncio.gather(*(made_ready(served, id) for _ in range(20)))
    assert all(one == answers[0] for one in answers)
    assert (answers[0]["notified"], answers[0]["why"]) == (True, None)
    (row,) = await db.fetch("SELECT id::text, purpose, provider, phone, content ->> 'body' AS body FROM messages")
    assert (row["id"], row["purpose"], row["provider"]) == (answers[0]["message_id"], "notice:ready", "meta")
    assert row["phone"] == "+972505550142"
    assert str(id) in row["body"]
    assert row["body"].startswith("✅ Je content"), "in the language of its person"
    shown = orjson.loads((await served.ask("GET", f"{PATH}/{id}", who="reader")).body)
    assert shown["notice"] == {"message_id": row["id"], "status": "queued", "why": None}
    assert shown["params"] == {"platform": "blog"}


async def test_who_has_not_asked_for_notices_gets_none_also_later(served: Served, db: Pool) -> None:
    for user in ("u1", None):
        id = await an_order(db, user=user)
        first = await made_ready(served, id)
        assert (first["notified"], first["message_id"]) == (False, None)
        assert "notify_on_ready" in first["why"]
        await opted(db, user or "account_meta", True)
        assert await made_ready(served, id) == first
    assert await db.fetchval("SELECT count(*) FROM messages") == 0


async def test_people_without_a_mapping_go_by_their_account(served: Served, db: Pool) -> None:
    await opted(db, "account_meta", True)
    assert (await made_ready(served, await an_order(db)))["notified"]


async def test_who_cannot_be_answered_is_told_nothing_and_the_answer_says_why(served: Served, db: Pool) -> None:
    await opted(db, "u1", True)
    answer = await made_ready(served, await an_order(db, user="u1", phone=None))
    assert (answer["notified"], "phone" in answer["why"]) == (False, True)


async def test_an_order_that_is_not_there_is_a_problem(served: Served) -> None:
    for method, path in (("GET", ""), ("POST", "/ready")):
        for id in (uuid4(), "x"):
            assert (await served.ask(method, f"{PATH}/{id}{path}")).status == 404
    reader = await served.ask("POST", f"{PATH}/{uuid4()}/ready", who="reader")
    assert reader.status == 403

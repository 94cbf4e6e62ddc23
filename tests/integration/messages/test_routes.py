"""Messages with a route, on a real Postgres: who takes them when they are asked for, and what a move of a row needs."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

import pytest
from pydantic import SecretStr

from adapters.postgres import credentials, messages, moves
from adapters.postgres.moves import Account, Standing
from adapters.postgres.pool import Pool
from daemon.bus.worker import utc_now
from daemon.messages.content import to_json
from daemon.operator import sending
from daemon.operator.sending import NotSendable
from daemon.sandbox.twilio import ACCOUNT_SID
from daemon.sandbox.twilio_webhooks import NUMBER
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
from schemas.messages import Text

PHONE: Final = "+972505550142"
META: Final = Account("meta", "default")
TWILIO: Final = Account("twilio", "default")
TEXT: Final = {"to": PHONE, "text": "hello"}
CHOICES: Final = {"to": PHONE, "choices": {"text": "Which day?", "items": [{"title": "Mon", "value": "1"}]}}
SETTINGS: Final = Settings(
    twilio_account_sid=ACCOUNT_SID,
    twilio_auth_token=SecretStr("t" * 32),
    twilio_whatsapp_number=NUMBER,
    whapi_token=SecretStr("w" * 20),
    messages_default_provider="meta",
    messages_fallback_providers=("Twilio", "whapi", "meta"),
)


async def asked(db: Pool, settings: Settings = SETTINGS, **given: Any) -> UUID:
    message = MessageIn.model_validate({**TEXT, **given})
    return (await sending.send(db, settings, message, purpose="test", key=None, now=utc_now())).id


@pytest.mark.parametrize(
    ("given", "route", "by"),
    [
        (TEXT, ["meta", "twilio", "whapi"], "twilio"),
        (CHOICES, ["meta", "twilio", "whapi"], "whapi"),
        (TEXT | {"provider": "whapi"}, [], "whapi"),
        (TEXT | {"provider": "whapi", "fallback": ["meta"]}, ["whapi", "meta"], "whapi"),
        (CHOICES | {"provider": "twilio", "fallback": ["cgb", "whapi"]}, ["twilio", "cgb", "whapi"], "whapi"),
        (TEXT | {"fallback": ["cgb/haifa", "twilio/haifa"]}, ["meta", "cgb/haifa", "twilio/haifa"], "twilio/haifa"),
        (TEXT | {"account": "haifa", "fallback": ["whapi"]}, ["meta/haifa", "whapi"], "whapi"),
        (TEXT | {"provider": "twilio", "fallback": ["twilio/default"]}, [], "twilio"),
    ],
)
async def test_the_first_of_the_route_that_has_an_account_and_carries_it_takes_the_message(
    db: Pool, given: dict[str, Any], route: list[str], by: str
) -> None:
    async with db.acquire() as conn:
        await credentials.put(conn, "twilio", "haifa", b"sealed", "key", "test")
    shown = await sending.show(db, await asked(db, **{"text": None, **given}))
    provider, _, account = by.partition("/")
    assert (shown["provider"], shown["account"]) == (provider, account or "default")
    assert (shown["route"], shown["moves"], shown["status"]) == (route, [], "queued")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (TEXT | {"fallback": []}, "provider meta is not configured"),
        (TEXT | {"provider": "meta"}, "provider meta is not configured"),
        (TEXT | {"fallback": ["cgb"]}, "provider meta is not configured"),
        (CHOICES | {"provider": "twilio", "fallback": ["cgb"]}, "Twilio carries"),
        (TEXT | {"to": "12"}, "no usable phone"),
    ],
)
async def test_where_none_takes_it_it_is_refused_as_by_the_one_that_it_asks_for(
    db: Pool, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(NotSendable, match=says):
        await asked(db, **{"text": None, **given})
    assert await db.fetchval("SELECT count(*) FROM messages") == 0


async def routed(db: Pool) -> UUID:
    """A message by Meta, which may go by Twilio."""
    id = await asked(db, provider="whapi", fallback=["twilio"])
    await db.execute("UPDATE messages SET provider = 'meta', route = ARRAY['meta', 'twilio'] WHERE id = $1", id)
    return id


async def moved(db: Pool, id: UUID, source: Account = META, target: Account = TWILIO) -> bool:
    said = to_json(Text("hello"))
    return await moves.move(db, id, source, target, content=said, category=None, why="meta is paused by an operator")


async def test_of_claims_and_moves_at_once_one_succeeds_and_the_row_says_which(db: Pool) -> None:
    for _ in range(20):
        id = await routed(db)
        tries = [moved(db, id), messages.claim(db, id, by=META), moved(db, id), messages.claim(db, id, by=META)]
        results = await asyncio.gather(*tries)
        row = await db.fetchrow(
            "SELECT provider, attempts, jsonb_array_length(moves) AS moves FROM messages WHERE id = $1", id
        )
        assert row is not None
        assert sum(map(bool, results)) == 1
        assert tuple(row) in (("twilio", 0, 1), ("meta", 1, None))


async def test_what_was_attempted_canceled_or_moved_already_is_not_moved(db: Pool) -> None:
    tried, canceled, away = [await routed(db) for _ in range(3)]
    assert await messages.claim(db, tried, by=META) == 1
    assert not await moved(db, tried)
    await messages.unclaim(db, tried, 1, "nothing was sent")
    assert await messages.cancel(db, canceled)
    assert await moved(db, away)
    assert [await moved(db, id) for id in (tried, canceled, away)] == [False] * 3
    assert await messages.claim(db, away, by=META) is None
    assert await messages.claim(db, away, by=TWILIO) == 1
    (move,) = (await sending.show(db, away))["moves"]
    assert (move["from"], move["to"], move["why"]) == ("meta", "twilio", "meta is paused by an operator")


async def test_how_a_message_would_stand_elsewhere(db: Pool) -> None:
    id = await routed(db)

    async def standing(category: str | None = None) -> Standing | None:
        return await moves.standing(db, id, TWILIO, line=PHONE, systems=("twilio",), category=category)

    assert await standing() == Standing(None, False, False)
    await db.execute("INSERT INTO customer_windows VALUES ($1, 'meta', now()), ($1, 'twilio', now())", PHONE)
    await db.execute(
        "INSERT INTO opt_outs (line, scope, opted_out, at, source) VALUES ($1, 'marketing', true, now(), 'm')", PHONE
    )
    found = await standing()
    assert found is not None
    assert (found.written_at is not None, found.opted_out) == (True, False)
    found = await standing("marketing")
    assert found is not None
    assert found.opted_out
    await messages.claim(db, id)
    assert await standing() is None
    await messages.unclaim(db, id, 1, "nothing was sent")
    assert await standing() is None

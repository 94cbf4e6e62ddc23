"""Documents of one shape: a list prints an array, a show one object, which says what the list says under the same
names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from adapters.postgres.bus import burials, journal
from adapters.postgres.bus.burials import DeadLetter
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import refusals
from adapters.postgres.operator.refusals import RefusedRequest
from adapters.postgres.pool import Pool
from daemon.cli.main import commands
from schemas.envelope import Event, event_id
from tests.support.toy import NOON

EVENT = Event(
    id=event_id("orders", "IL-1"),
    type="order.received",
    source="orders",
    subject="+972505550001",
    time=NOON,
    data=b'{"order": {"id": "IL-1"}, "form": {"client": "nobody"}}',
)
REFUSED = RefusedRequest(
    source="orders",
    reason="no_identity",
    status=400,
    remote=None,
    headers="{}",
    body_bytes=2,
    body_sha256=None,
    suppressed=0,
    at=NOON,
    body=b"{}",
)


@pytest.fixture
async def env(redis: Redis, redis_url: str, database_url: str, db: Pool) -> dict[str, str]:
    """Settings of a verb on stores that hold one of everything."""
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(EVENT, "")])
        await burials.bury(conn, "contact-sync", [DeadLetter(EVENT, "Malformed", "no", 2)])
    await refusals.insert(db, [REFUSED])
    await db.execute(
        "INSERT INTO orders (order_id, cgb_sync_status, ordered_at, raw_body, webhook_received_at)"
        " VALUES ('IL-1', 'pending', $1, '{}', $1)",
        NOON,
    )
    return {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}


async def said(env: dict[str, str], *argv: str) -> Any:
    answer = await asyncio.to_thread(CliRunner().invoke, commands(argv[0]), [*argv, "--json"], env=env)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.output)


@pytest.mark.parametrize(
    ("verb", "name", "masked"),
    [("events", "IL-1", {"key"}), ("orders", "IL-1", set()), ("refused", "1", set())],
)
async def test_a_list_is_an_array_of_what_a_show_says_more_of(
    verb: str, name: str, masked: set[str], env: dict[str, str]
) -> None:
    listed, shown = await said(env, verb, "list"), await said(env, verb, "show", name)
    assert isinstance(listed, list)
    assert len(listed) == 1
    assert isinstance(shown, dict)
    assert listed[0].keys() < shown.keys()
    assert {key for key, value in listed[0].items() if shown[key] != value} == masked


async def test_a_letter_is_one_object_with_the_names_of_its_group(env: dict[str, str]) -> None:
    (group,) = await said(env, "dead-letters", "list")
    shown = await said(env, "dead-letters", "show", str(group["ids"][0]))
    assert {name: shown[name] for name in ("worker", "error_class", "error_text")} == {
        name: group[name] for name in ("worker", "error_class", "error_text")
    }


async def test_data_are_json_in_the_document_and_an_event_has_the_same_names_everywhere(env: dict[str, str]) -> None:
    letter, event = await said(env, "dead-letters", "show", "IL-1"), await said(env, "events", "show", "1")
    assert letter["data"] == event["data"] == json.loads(EVENT.data)
    for name in ("type", "source", "key", "time", "order_id"):
        assert letter[name] == event[name], name
    assert letter["event_id"] == event["id"]
    (of_event,) = event["dead_letters"]
    assert of_event.items() <= letter.items()


async def test_every_list_is_an_array(env: dict[str, str]) -> None:
    for verb in ("events", "orders", "refused", "dead-letters", "workers"):
        assert isinstance(await said(env, verb, "list"), list), verb

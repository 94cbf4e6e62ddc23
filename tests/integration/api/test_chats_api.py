"""Reactions, marks that a message was read, and texts in parts, by the API on real stores against a simulator of Meta:
what is asked for, what is refused and why, and by which account it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.channel import FAILURES_TO_OPEN
from adapters.postgres import messages, windows
from adapters.postgres.bus import outbox, pauses
from adapters.postgres.messages import Ended
from adapters.postgres.pool import Pool
from adapters.postgres.windows import Written
from adapters.redis.streams import Streams, stream_key
from daemon.api.routes import routes_of
from daemon.messages.scheduling import MOST
from daemon.operator import credentials
from daemon.operator.parts import MOST_PARTS
from daemon.operator.reading import outside_of
from daemon.records.wiring import open_pulls, open_records
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.whapi import WhapiSandbox
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.envelope import from_fields
from tests.support.listening import Answer, Rig, opener

ADMIN, READER = "admin-token-0123456789", "readonly-token-0123456789"
PHONE, OTHER = "+972505550142", "+972505550143"
THEIRS: Final = "wamid.THEIRS"
PATH: Final = "/api/v1/messages"


@dataclass
class World:
    """The API of a daemon with a number of Meta, and a channel of Whapi."""

    rig: Rig
    meta: MetaSandbox
    whapi: WhapiSandbox
    in_force: InForce

    @property
    def settings(self) -> Settings:
        return self.in_force.settings

    @property
    def db(self) -> Pool:
        return self.rig.db

    async def ask(self, path: str, body: Any = None, *, token: str = ADMIN, **headers: str) -> Answer:
        proof = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.rig.ask("POST", path, None if body is None else orjson.dumps(body), **proof)

    async def send(self, body: dict[str, Any], **headers: str) -> Answer:
        return await self.ask(PATH, {"to": PHONE, **body}, **headers)

    async def react(self, message: object, emoji: str | None = "👍", **members: Any) -> Answer:
        return await self.send({"reaction": {"message_id": str(message), "emoji": emoji}, **members})

    async def read(self, id: object, query: str = "", *, token: str = ADMIN) -> Answer:
        return await self.ask(f"{PATH}/{id}/read{query}", token=token)

    async def written(
        self, provider_id: str | None = THEIRS, *, system: str = "meta", phone: str | None = PHONE, **members: Any
    ) -> UUID:
        """A message that the person of *phone* has written."""
        id = uuid4()
        if provider_id is not None and phone is not None:
            self.meta.chats.note(provider_id, phone.removeprefix("+"), theirs=True)
            self.whapi.messages.heard.add(provider_id)
        one = Written(system, phone, phone, datetime.now(UTC), "text", {}, provider_id, str(id), True)
        async with self.db.acquire() as conn, conn.transaction():
            await windows.record(conn, [one._replace(**members)])
        return id

    async def sent(self, provider_id: str | None, **members: Any) -> UUID:
        """A message of ours that the provider has taken, as *provider_id*."""
        id = UUID((await self.send({"text": "hello", **members})).json["message_id"])
        async with self.db.acquire() as conn, conn.transaction():
            await messages.end(conn, [Ended(id=id, status="sent", at=datetime.now(UTC), provider_id=provider_id)])
        return id

    async def row(self, answer: Answer) -> Any:
        """The message that was asked for."""
        assert answer.status == 202, answer.body
        found = "SELECT kind, provider, account, content FROM messages WHERE id = $1"
        row = await self.db.fetchrow(found, UUID(answer.json["message_id"]))
        assert row is not None
        return row["kind"], row["provider"], row["account"], orjson.loads(row["content"])


@pytest.fixture
async def world(redis: Redis, db: Pool) -> AsyncIterator[World]:
    async with MetaSandbox() as meta, WhapiSandbox() as whapi:
        settings = Settings(
            database_url=SecretStr("postgresql://db.example/f"),
            ferryman_admin_token=SecretStr(ADMIN),
            ferryman_readonly_token=SecretStr(READER),
            ferryman_secret_key=(SecretStr(Fernet.generate_key().decode()),),
            meta_graph_url=meta.url,
            meta_phone_number_id=meta.number_id,
            meta_access_token=SecretStr(meta.token),
            whapi_api_url=whapi.url,
            whapi_token=SecretStr(whapi.token),
            cgb_api_key=SecretStr("c" * 20),
            twilio_account_sid="AC" + "0" * 32,
            twilio_auth_token=SecretStr("t" * 32),
            twilio_whatsapp_number="+15550001234",
            messages_default_provider="cgb",
        )
        async with outside_of(db, settings, redis) as outside:
            in_force = InForce(settings)
            records = open_records(outside)
            routes = routes_of(in_force, db, Streams(redis, 4), outside, "", records, open_pulls(outside, records))
            async with opener(redis, db)(more=routes) as rig:
                yield World(rig, meta, whapi, in_force)


# reactions


@pytest.mark.parametrize("emoji", ["👍", "", None])
async def test_a_reaction_goes_to_its_message_by_either_id_and_by_its_provider(world: World, emoji: str | None) -> None:
    theirs = await world.written()
    wanted = ("reaction", "meta", "default", {"message_id": THEIRS, "emoji": emoji or ""})
    assert await world.row(await world.react(theirs, emoji)) == wanted
    assert await world.row(await world.react(THEIRS, emoji)) == wanted
    assert await world.row(await world.react(THEIRS, emoji, provider="meta", account="default")) == wanted
    ours = await world.sent("Psq-OUT01", provider="whapi")
    wanted = ("reaction", "whapi", "default", {"message_id": "Psq-OUT01", "emoji": emoji or ""})
    assert await world.row(await world.react(ours, emoji)) == wanted


async def test_a_reaction_that_has_no_message_is_refused_before_it_is_queued(world: World) -> None:
    theirs = await world.written()
    cases = [
        (await world.react(uuid4()), "no message with this id"),
        (await world.react("wamid.unknown"), "no message with this id"),
        (await world.react(await world.written("wamid.2", phone=OTHER)), "another person's"),
        (await world.react("wamid.2"), "another person's"),
        (await world.react(await world.written("wamid.3", phone=None)), "another person's"),
        (await world.react(theirs, provider="whapi"), "went by meta"),
        (await world.react(await world.sent(None, provider="meta")), "given no id"),
        (await world.react(await world.written("77", system="chatwoot")), "Chatwoot has no call for reactions"),
        (await world.react(await world.written("m-1", system="cgb")), "CGB has no call for reactions"),
        (await world.react(await world.written("SM1", system="twilio")), "Twilio has no call for reactions"),
        (await world.react(await world.written("wamid.4", kind="reaction")), "a reaction itself"),
        (await world.react(await world.sent("wamid.5", provider="meta"), account="other"), "account"),
        (await world.react(theirs, "👍👍"), "one emoji"),
        (await world.react(theirs, "yes"), "one emoji"),
        (await world.react("wamid with blanks"), "reaction.message_id"),
        (await world.send({"reaction": {"message_id": THEIRS}}), "reaction.emoji"),
        (await world.react(theirs, text="hello"), "exactly one of"),
    ]
    assert [says for answer, says in cases if answer.status != 422 or says not in answer.json["detail"]] == []
    assert not any("555" in answer.json["detail"] for answer, _ in cases)
    assert await world.db.fetchval("SELECT count(*) FROM messages WHERE kind = 'reaction' AND direction = 'out'") == 0


async def test_a_message_that_is_too_old_for_meta_takes_no_reaction(world: World) -> None:
    for days, status in ((29, 202), (31, 422)):
        at = datetime.now(UTC) - timedelta(days=days)
        assert (await world.react(await world.written(f"wamid.{days}", at=at))).status == status
    old = await world.written("Psq-old1", system="whapi", at=datetime.now(UTC) - timedelta(days=400))
    assert (await world.react(old)).status == 202


# what was read


async def test_a_message_is_marked_as_read_once_and_answered_alike(world: World) -> None:
    id = await world.written()
    answers = await asyncio.gather(*(world.read(id) for _ in range(3)))
    answers.append(await world.read(id))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    asked = len(world.meta.read)
    assert set(world.meta.read) == {THEIRS}
    assert (await world.read(id)).json == answers[0].json | {"id": str(id), "provider": "meta", "account": "default"}
    assert len(world.meta.read) == asked
    assert (await world.read(id, token=READER)).status == 403
    assert await world.db.fetchval("SELECT status FROM messages WHERE id = $1", id) == "received"


async def test_whapi_marks_by_its_own_call(world: World) -> None:
    assert (await world.read(await world.written("Psq-IN01", system="whapi"))).status == 200
    assert world.whapi.messages.read == ["Psq-IN01"]


async def test_what_cannot_be_marked_says_why(world: World) -> None:
    cases = [
        (await world.read(uuid4()), 404, "no message"),
        (await world.read("x"), 404, "UUID"),
        (await world.read(await world.written(), "?acount=second"), 400, "acount"),
        (await world.read(await world.sent("wamid.out", provider="meta")), 409, "of ours"),
        (await world.read(await world.written("SM1", system="twilio")), 409, "twilio"),
        (await world.read(await world.written("77", system="chatwoot")), 409, "chatwoot"),
        (await world.read(await world.written(None)), 409, "no id"),
        (await world.read(await world.written("wamid.2"), "?account=second"), 409, "not configured"),
        (await world.read(await world.written("wamid.3", our_number="999")), 409, "no account"),
    ]
    assert [
        (status, says) for one, status, says in cases if one.status != status or says not in one.json["detail"]
    ] == []
    unknown = await world.written("wamid.unknown")
    world.meta.chats.said.clear()
    refused = await world.read(unknown)
    assert (refused.status, "131009" in refused.json["detail"]) == (409, True)
    assert world.meta.read == []


async def test_a_provider_that_does_not_answer_is_told_and_asked_again(world: World) -> None:
    id = await world.written()
    faults: list[tuple[dict[str, Any], int]] = [
        ({"kind": "html", "status": 502}, 502),
        ({"kind": "reset"}, 502),
        ({"kind": "limited", "retry_after": "1"}, 503),
    ]
    for fault, status in faults:
        world.meta.faults.add(**fault, times=1)
        answer = await world.read(id)
        assert (answer.status, "Retry-After" in answer.headers) == (status, status == 503), answer.body
    assert (await world.read(id)).status == 200


async def test_a_breaker_and_a_pause_hold_for_marks_as_for_messages(world: World) -> None:
    id = await world.written()
    await pauses.pause(world.db, "meta")
    paused = await world.read(id)
    assert (paused.status, "ferryman resume meta" in paused.json["detail"]) == (503, True)
    assert int(paused.headers["Retry-After"]) > 0
    assert world.meta.ledger.entries == []
    await pauses.resume(world.db, "meta")
    world.meta.faults.add("html", status=502, times=None)
    answers = [(await world.read(id)).status for _ in range(FAILURES_TO_OPEN + 1)]
    assert answers == [502] * FAILURES_TO_OPEN + [503]


async def test_each_number_marks_and_reacts_by_its_own_account(world: World) -> None:
    async with MetaSandbox(token="EAASecondSecond", number_id="2060002") as second:
        one = credentials.given("meta", "second", second.account())
        await credentials.store(world.db, world.settings, one, "tests")
        first, other = [await world.written(f"wamid.{n}", our_number=n) for n in (world.meta.number_id, "2060002")]
        second.chats.note("wamid.2060002", PHONE.removeprefix("+"), theirs=True)
        accounts = [(await world.read(id)).json["account"] for id in (first, other)]
        assert (accounts, len(world.meta.read), second.read) == (["default", "second"], 1, ["wamid.2060002"])
        assert (await world.row(await world.react(other)))[2] == "second"
        assert (await world.row(await world.react(first)))[2] == "default"


async def test_where_whapi_does_not_tell_the_channel_the_account_is_to_be_named(world: World) -> None:
    for name in ("a", "b"):
        one = credentials.given("whapi", name, {"token": world.whapi.token})
        await credentials.store(world.db, world.settings, one, "tests")
    id = await world.written("Psq-IN01", system="whapi")
    assert (await world.read(id)).json["account"] == "default"
    world.in_force.settings = world.settings.model_copy(update={"whapi_token": None})
    other = await world.written("Psq-IN02", system="whapi")
    asked = await world.read(other)
    assert (asked.status, "a, b" in asked.json["detail"]) == (409, True)


# texts in parts


def long_text(parts: int, provider_takes: int = 4096) -> str:
    return "\n\n".join(f"{n} " + "w" * (provider_takes - 10) for n in range(parts))


async def bodies(world: World, ids: list[str]) -> list[str]:
    rows = await world.db.fetch("SELECT id, content FROM messages")
    found = {str(row["id"]): orjson.loads(row["content"])["body"] for row in rows}
    return [found[id] for id in ids]


async def test_a_long_text_goes_as_messages_in_their_order_where_that_is_asked_for(world: World) -> None:
    text = long_text(3)
    answer = await world.send({"text": text, "split": True, "provider": "meta"})
    ids = answer.json["message_ids"]
    assert (answer.status, answer.json["message_id"], len(set(ids))) == (202, ids[0], 3)
    assert await bodies(world, ids) == text.split("\n\n")
    entries: list[Any] = []
    for partition in range(world.rig.streams.partitions):
        found: Any = await world.rig.redis.xrange(stream_key("messages", partition))
        entries += found
    assert [from_fields(fields).json()["message_id"] for _, fields in entries] == ids
    listed = await world.db.fetch("SELECT id FROM messages ORDER BY created_at")
    assert [str(row["id"]) for row in listed] == ids


async def test_a_text_that_fits_is_one_message_and_split_goes_with_texts_alone(world: World) -> None:
    answer = await world.send({"text": " hello ", "split": True, "provider": "meta"})
    assert answer.json["message_ids"] == [answer.json["message_id"]]
    assert await bodies(world, answer.json["message_ids"]) == [" hello "]
    refused = await world.send({"media": {"url": "https://example.com/a.pdf", "type": "document"}, "split": True})
    assert (refused.status, "split" in refused.json["detail"]) == (422, True)


async def test_without_split_the_refusal_names_it(world: World) -> None:
    for text, provider in ((long_text(2), "meta"), ("word " * 400, "twilio")):
        refused = await world.send({"text": text, "provider": provider})
        assert (refused.status, "split" in refused.json["detail"]) == (422, True)
    parts = (await world.send({"text": "word " * 400, "split": True, "provider": "twilio"})).json["message_ids"]
    assert [len(body) for body in await bodies(world, parts)] == [1599, 399]
    await world.db.execute("DELETE FROM messages")
    assert await world.db.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_key_stands_for_all_parts(world: World) -> None:
    body = {"text": long_text(3), "split": True, "provider": "meta"}
    answers = await asyncio.gather(*(world.send(body, Idempotency_Key="k1") for _ in range(8)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert len(answers[0].json["message_ids"]) == 3
    assert await world.db.fetchval("SELECT count(*) FROM messages") == 3
    assert (await world.send(body | {"split": False, "text": "x"}, Idempotency_Key="k1")).status == 409


async def test_all_parts_are_stored_or_none(world: World) -> None:
    await world.db.execute("ALTER TABLE messages ADD CONSTRAINT few CHECK (content ->> 'body' NOT LIKE '2 %')")
    try:
        answer = await world.send({"text": long_text(3), "split": True, "provider": "meta"}, Idempotency_Key="k1")
    finally:
        await world.db.execute("ALTER TABLE messages DROP CONSTRAINT few")
    assert answer.status == 500
    assert await world.db.fetchval("SELECT count(*) FROM messages") == 0
    assert await world.db.fetchval("SELECT count(*) FROM outbox") == 0
    again = await world.send({"text": long_text(3), "split": True, "provider": "meta"}, Idempotency_Key="k1")
    assert len(again.json["message_ids"]) == 3


async def test_a_text_of_too_many_parts_is_refused(world: World) -> None:
    text = "\n\n".join(["w" * 1000] * (MOST_PARTS + 1))
    refused = await world.send({"text": text, "split": True, "provider": "twilio"})
    assert (refused.status, f"at most {MOST_PARTS}" in refused.json["detail"]) == (422, True)


async def test_parts_that_are_scheduled_are_released_in_their_order(world: World) -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = await world.send({"text": long_text(5), "split": True, "provider": "meta", "not_before": at})
    assert await outbox.left(world.db, older_than_s=-1, limit=10) == []
    await world.db.execute("UPDATE messages SET not_before = not_before - interval '2 hours'")
    async with world.db.acquire() as conn, conn.transaction():
        released = await messages.release(conn, MOST)
    assert [str(one.id) for one in released] == answer.json["message_ids"]

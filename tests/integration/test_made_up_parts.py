"""What it takes to add a thing: one made-up worker, sender, number checker, object store, rule file and two sources,
each in one piece of code, registered by one entry, and served by the whole daemon without a change elsewhere."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from pydantic import BaseModel, ConfigDict, SecretStr
from redis.asyncio import Redis

from adapters.gate import Gate
from adapters.http import Reply
from adapters.ports import Answer, NoIdentity, Secrets, Source, Webhook
from adapters.postgres.pool import Connection, Pool
from adapters.redis.limits import RateLimiter
from adapters.registry import SOURCES
from daemon.app import assembled
from daemon.bus.outcome import Done, Outcome, Row, Turn
from daemon.bus.worker import Domain, Outside, Worker
from daemon.rules.files import RuleFile, load_all
from daemon.settings.model import Settings
from daemon.stores.located import Addresses
from daemon.telemetry.declared import Declared
from daemon.workers import WORKERS, rule_files
from schemas.envelope import Event, event_id
from schemas.errors import Malformed, Refused
from tests.support.until import until

KEY: Final = "made-up.0123456789abcdef"
PUBLIC_URL: Final = "https://ferryman.example"


# a source whose senders post forms, sign their own address, and want 204


def decode_form(body: bytes) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=True))
    except ValueError as exc:
        raise Malformed("the body is no form") from exc


def signature(url: str, body: bytes) -> str:
    return hmac.digest(KEY.encode(), url.encode() + body, "sha256").hex()


def verify_form(request: Webhook, secrets: Secrets) -> bool:
    given = request.headers.get("X-Made-Up-Signature", "")
    return hmac.compare_digest(given.encode(errors="replace"), signature(request.url, request.body).encode())


def parse_form(request: Webhook, form: Mapping[str, str], now: datetime) -> list[Event]:
    if not form.get("MessageSid"):
        raise NoIdentity("the form has no MessageSid")
    return [
        Event(
            id=event_id("made-up", form["MessageSid"]),
            type="message.received",
            source="made-up",
            subject=form.get("From", "unknown"),
            time=now,
            data=orjson.dumps(form),
        )
    ]


FORM: Final = Source(
    name="made-up",
    path="/webhooks/made-up",
    secrets=("orders_api_key",),
    verify=verify_form,
    decode=decode_form,
    parse=parse_form,
    keeps_body=False,
    answer=lambda ids: Answer(204),
    advice="sign the address and the form with the shared key",
)


# a source that proves by a GET that its address is ours


def challenge(query: Mapping[str, str], secrets: Secrets) -> Answer | None:
    if query.get("hub.mode") == "break":
        raise RuntimeError("a fault of the source")
    if query.get("hub.verify_token") not in secrets.get("orders_api_key", ()):
        return None
    return Answer(200, query.get("hub.challenge", "").encode())


CHALLENGED: Final = Source(
    name="challenging",
    path="/webhooks/challenging",
    secrets=("orders_api_key",),
    verify=lambda request, secrets: False,
    parse=lambda request, doc, now: [],
    advice="send hub.verify_token",
    challenge=challenge,
)


# a worker of a domain of its own, which calls a sender and a number checker and keeps what it did in a store


@dataclass(frozen=True)
class MadeUpSender:
    gate: Gate
    url: str

    async def send(self, to: str, text: str) -> str:
        return await self.gate.request("POST", f"{self.url}/send", _answered, json={"to": to, "text": text})


@dataclass(frozen=True)
class MadeUpChecker:
    gate: Gate
    url: str

    async def has_whatsapp(self, phone: str) -> bool:
        return await self.gate.request("GET", f"{self.url}/check", _answered, params={"phone": phone}) == "yes"


def _answered(reply: Reply) -> str:
    if reply.status != 200:
        raise Refused(f"made-up: HTTP {reply.status}")
    return reply.body.decode()


@dataclass
class MadeUpStore:
    kept: dict[str, bytes] = field(default_factory=dict)

    async def put(self, path: str, data: bytes) -> None:
        self.kept[path] = data


class MadeUpRules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ending: str


MADE_UP_FILE: Final = RuleFile("made-up.toml", MadeUpRules)


@dataclass(frozen=True)
class MadeUpDeps:
    rules: MadeUpRules
    sender: MadeUpSender
    checker: MadeUpChecker
    store: MadeUpStore
    count: Any


STORE: Final = MadeUpStore()


@asynccontextmanager
async def opened(outside: Outside) -> AsyncIterator[MadeUpDeps]:
    limiter = RateLimiter(outside.redis, per_minute=6000)
    url = outside.settings.cgb_api_url

    def gate(channel: str) -> Gate:
        return Gate(
            session=outside.session,
            channel=outside.channels[channel],
            limiter=limiter,
            scope=channel,
            system=channel,
            timeout_s=5,
        )

    yield MadeUpDeps(
        rules=outside.rules(MADE_UP_FILE),
        sender=MadeUpSender(gate("made-up-sender"), url),
        checker=MadeUpChecker(gate("made-up-checker"), url),
        store=STORE,
        count=lambda: outside.metrics.inc("made_up_sent"),
    )


async def handle(event: Event, deps: MadeUpDeps, turn: Turn) -> Outcome:
    form = event.json()
    if not await deps.checker.has_whatsapp(form["From"]):
        return Done(skipped="no whatsapp")
    sent = await deps.sender.send(form["From"], form["Body"] + deps.rules.ending)
    await deps.store.put(event.id, sent.encode())
    deps.count()
    return Done(rows=((event.id, sent),))


async def record(conn: Connection, rows: Sequence[Row]) -> None:
    await conn.executemany("INSERT INTO made_up (event_id, sent) VALUES ($1, $2)", cast("Sequence[Any]", rows))


MADE_UP: Final = Worker(
    name="made-up",
    reads=("messages",),
    types=frozenset({"message.received"}),
    domain=Domain(
        name="made-up",
        opened=opened,
        metrics=(Declared("made_up_sent", "counter", "Made-up sends."),),
        rules=(MADE_UP_FILE,),
    ),
    handle=handle,
    record=record,
    channels=("made-up-sender", "made-up-checker"),
)


@asynccontextmanager
async def outside_system() -> AsyncIterator[tuple[str, list[Any]]]:
    """A made-up provider on loopback."""
    sent: list[Any] = []

    async def check(request: web.Request) -> web.Response:
        return web.Response(text="yes" if request.query["phone"].endswith("1") else "no")

    async def send(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return web.Response(text=f"sent-{len(sent)}")

    app = web.Application()
    app.router.add_get("/check", check)
    app.router.add_post("/send", send)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), sent


@pytest.fixture
async def daemon_url(
    redis: Redis, redis_url: str, database_url: str, db: Pool, tmp_path: Path
) -> AsyncIterator[tuple[str, list[Any]]]:
    await db.execute("CREATE TABLE made_up (event_id text PRIMARY KEY, sent text NOT NULL)")
    STORE.kept.clear()
    async with outside_system() as (provider, sent):
        settings = Settings(
            ferryman_port=0,
            ferryman_public_url=PUBLIC_URL,
            cgb_api_url=provider,
            orders_api_key=(SecretStr(KEY),),
            ferryman_lease_seconds=2,
        )
        addresses = Addresses(redis_url, database_url, private=False)
        workers, sources = (*WORKERS, MADE_UP), (*SOURCES, FORM, CHALLENGED)
        (tmp_path / "made-up.toml").write_text('ending = "!"')
        rules = load_all(tmp_path, rule_files(workers))
        async with assembled(settings, addresses, workers=workers, sources=sources, rules=rules) as daemon:
            stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
            running = asyncio.create_task(daemon.run(stop, port.set_result))
            try:
                yield f"http://127.0.0.1:{await asyncio.wait_for(port, 20)}", sent
            finally:
                stop.set()
                await running


async def test_a_made_up_one_of_each_is_served_by_the_whole_daemon(daemon_url: tuple[str, list[Any]], db: Pool) -> None:
    url, sent = daemon_url
    async with ClientSession() as session:

        async def post(form: str, *, signed_for: str = f"{PUBLIC_URL}/webhooks/made-up?tenant=1") -> tuple[int, bytes]:
            headers = {"X-Made-Up-Signature": signature(signed_for, form.encode())}
            async with session.post(f"{url}/webhooks/made-up?tenant=1", data=form, headers=headers) as answer:
                return answer.status, await answer.read()

        first = "MessageSid=SM1&From=%2B447700900001&Body=hello"
        assert await post(first) == (204, b"")
        assert await post(first) == (204, b"")
        assert await post("MessageSid=SM2&From=%2B447700900002&Body=hello") == (204, b"")
        assert (await post(first, signed_for="https://elsewhere.example/"))[0] == 401
        assert (await post("nothing"))[0] == 400
        assert (await post("From=%2B447700900001"))[0] == 400

        async def ended() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 2 FROM inbox WHERE worker = 'made-up'"))

        await until(ended)
        assert sent == [{"to": "+447700900001", "text": "hello!"}]
        assert list(STORE.kept.values()) == [b"sent-1"]
        assert await db.fetchval("SELECT array_agg(sent) FROM made_up") == ["sent-1"]
        rows = await db.fetch("SELECT outcome, reason FROM inbox WHERE worker = 'made-up' ORDER BY outcome")
        assert [tuple(row) for row in rows] == [("done", None), ("skipped", "no whatsapp")]

        async with session.get(f"{url}/metrics") as answer:
            page = await answer.text()
        assert "made_up_sent 1" in page
        assert 'ferryman_webhooks_total{outcome="accepted",source="made-up"} 3' in page
        assert 'ferryman_events_total{outcome="done",worker="made-up"} 1' in page
        assert 'ferryman_breaker_open{provider="made-up-sender"} 0' in page
        async with session.get(f"{url}/readyz") as answer:
            assert "made-up" in (await answer.json())["leases"]


async def test_a_challenge_is_answered_where_its_token_is_ours(daemon_url: tuple[str, list[Any]]) -> None:
    url, _ = daemon_url
    async with ClientSession() as session:
        for token, expected in ((KEY, (200, "4711")), ("another", (403, None)), ("", (403, None))):
            query = {"hub.mode": "subscribe", "hub.challenge": "4711", "hub.verify_token": token}
            async with session.get(f"{url}/webhooks/challenging", params=query) as answer:
                assert answer.status == expected[0]
                if expected[1] is not None:
                    assert await answer.text() == expected[1]
        async with session.get(f"{url}/webhooks/challenging", params={"hub.mode": "break"}) as answer:
            assert answer.status == 500
            assert answer.content_type == "application/problem+json"
        async with session.get(f"{url}/webhooks/made-up") as answer:
            assert answer.status == 405

"""A hundred calls of each provider that fail in each way: none is made twice, and what is in doubt is settled where the
provider lets it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import pytest

from adapters import channel
from adapters.postgres.deliveries import Told
from adapters.postgres.pool import Pool
from daemon.bus import consumer
from daemon.messages import delivery_status
from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.sandbox.twilio import ACCOUNT_SID, TwilioSandbox
from daemon.sandbox.twilio_webhooks import NUMBER
from daemon.sandbox.whapi import WhapiSandbox
from daemon.settings.model import Settings
from schemas.messages import Text
from tests.support.message_worker import MessageWorker, message_worker
from tests.support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COUNT: Final = 100
PHONES: Final = [f"+97250555{n:04d}" for n in range(COUNT)]
PROVIDERS: Final = ("meta", "twilio", "whapi", "cgb", "chatwoot")
SENDING: Final = {
    "meta": "/messages$",
    "twilio": "/Messages.json$",
    "whapi": "/messages/",
    "cgb": "/send",
    "chatwoot": "/messages$",
}
"""Provider -> the path of the call that sends."""

LISTED: Final = frozenset({"twilio", "whapi", "chatwoot"})
"""Whose lists tell what was taken."""

Sandbox: TypeAlias = MetaSandbox | TwilioSandbox | WhapiSandbox | CgbSandbox | ChatwootSandbox


@dataclass(frozen=True, slots=True)
class World:
    """A provider, the worker that sends by it, and a message for each of COUNT people who have just written."""

    provider: str
    sandbox: Sandbox
    worker: MessageWorker
    db: Pool

    @property
    def phones(self) -> list[str]:
        return PHONES

    async def ask(self) -> None:
        await self.db.execute(
            "INSERT INTO customer_windows SELECT line, system, now() FROM unnest($1::text[]) line,"
            " unnest(ARRAY['meta', 'twilio', 'cgb']) system",
            self.phones,
        )
        await self.worker.ask(self.provider, self.phones, lambda n: Text(f"your parcel {n} is at the desk"))

    async def statuses(self) -> dict[str, int]:
        rows = await self.db.fetch("SELECT status, count(*) AS n FROM messages GROUP BY status")
        return {row["status"]: row["n"] for row in rows}

    async def run_to_the_end(self, within_s: float = 200) -> None:
        async with self.worker.working():
            await until(self.worker.settled, "the end of every event", within_s=within_s)

    def sends(self) -> Counter[str]:
        """Person -> how many messages the provider has taken for them."""
        entries = self.sandbox.ledger.entries
        return Counter(one.contact for one in entries if one.performed and one.action in ("send", "flow"))

    async def settle(self) -> None:
        """What comes later: the statuses of Meta, and a look into the lists of the others."""
        if isinstance(self.sandbox, MetaSandbox):
            told = [
                Told(
                    system="meta",
                    provider_id=sent.id,
                    our_id=UUID(sent.our_id),
                    phone=None,
                    status="sent",
                    at=datetime.now(UTC),
                    event_id=sent.id,
                )
                for sent in self.sandbox.sent
            ]
            async with self.db.acquire() as conn, conn.transaction():
                await delivery_status.record(conn, told)
        for _ in range(COUNT // 20):  # as many as one round looks for
            await self.db.execute(
                "UPDATE messages SET claimed_at = claimed_at - interval '31 seconds'"
                " WHERE status = 'uncertain' AND looked_at IS NULL AND claimed_at > now() - interval '31 seconds'"
            )
            await self.worker.duties()


def settings_of(provider: str, sandbox: Sandbox | None, url: str = "") -> Settings:
    at = {"messages_default_provider": provider, "cgb_rate_per_minute": 100_000, "whapi_rate_per_minute": 100_000}
    made = sandbox
    match provider:
        case "meta":
            named: dict[str, Any] = {"meta_phone_number_id": PHONE_NUMBER_ID}
            named |= {"meta_graph_url": getattr(made, "url", url), "meta_access_token": getattr(made, "token", "t")}
        case "twilio":
            named = {"twilio_account_sid": ACCOUNT_SID, "twilio_whatsapp_number": NUMBER}
            named |= {"twilio_api_url": getattr(made, "url", url), "twilio_auth_token": getattr(made, "token", "t")}
        case "whapi":
            named = {"whapi_api_url": getattr(made, "url", url), "whapi_token": getattr(made, "token", "t")}
        case "chatwoot":
            named = {"chatwoot_account_id": ACCOUNT_ID, "chatwoot_whatsapp_inbox_id": INBOX_ID}
            named |= {"chatwoot_base_url": getattr(made, "url", url)}
            named |= {"chatwoot_api_access_token": getattr(made, "token", "t")}
        case _:
            named = {"cgb_api_url": getattr(made, "url", url), "cgb_api_key": getattr(made, "token", "t")}
    return Settings(**at, **named)


def sandbox_of(provider: str, port: int = 0) -> Sandbox:
    match provider:
        case "meta":
            return MetaSandbox(port=port)
        case "twilio":
            return TwilioSandbox(port=port)
        case "whapi":
            return WhapiSandbox(port=port)
        case "chatwoot":
            chatwoot = ChatwootSandbox(port=port)
            for phone in PHONES:
                chatwoot.account.receive(phone, "hello")
            return chatwoot
    cgb = CgbSandbox("live", port=port)
    cgb.switches.limit = None
    return cgb


@asynccontextmanager
async def world_of(provider: str, redis_url: str, db: Pool) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        sandbox = sandbox_of(provider)
        await stack.enter_async_context(sandbox)
        settings = settings_of(provider, sandbox)
        worker = await stack.enter_async_context(message_worker(redis_url, db, settings))
        yield World(provider, sandbox, worker, db)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker that opens lets one call after the other find out whether the provider is back, without a wait."""
    monkeypatch.setattr(channel, "PROBE_S", 0.02)
    monkeypatch.setattr(consumer, "PROBE_LOOK_S", 0.01)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "fault",
    [{"kind": "html", "status": 500}, {"kind": "reset"}, {"kind": "cut"}, {"kind": "short"}],
    ids=lambda fault: str(fault["kind"]),
)
async def test_a_call_that_was_taken_and_answered_badly_is_made_once(
    redis: object, redis_url: str, db: Pool, provider: str, fault: dict[str, Any]
) -> None:
    async with world_of(provider, redis_url, db) as world:
        world.sandbox.faults.add(**fault, method="POST", path=SENDING[provider], performed=True)
        await world.ask()
        await world.run_to_the_end()
        assert await world.statuses() == {"uncertain": COUNT}
        assert world.sends() == {phone[1:]: 1 for phone in world.phones}
        world.sandbox.faults.clear()
        await world.settle()
        settled = provider == "meta" or provider in LISTED
        assert await world.statuses() == {"sent" if settled else "uncertain": COUNT}
        await world.run_to_the_end()
        assert max(world.sends().values()) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_was_not_taken_stays_in_doubt_and_is_not_sent_by_itself(
    redis: object, redis_url: str, db: Pool, provider: str
) -> None:
    async with world_of(provider, redis_url, db) as world:
        world.sandbox.faults.add("reset", method="POST", path=SENDING[provider], performed=False)
        await world.ask()
        await world.run_to_the_end()
        world.sandbox.faults.clear()
        await world.settle()
        assert await world.statuses() == {"uncertain": COUNT}
        assert world.sends() == {}
        looked = await db.fetchval("SELECT count(*) FROM messages WHERE evidence ->> 'found' = 'false'")
        assert looked == (COUNT if provider in LISTED else 0)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_call_that_found_nobody_is_made_once_when_somebody_is_there(
    redis: object, redis_url: str, db: Pool, provider: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    sandbox = sandbox_of(provider, port)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sandbox)
        settings = settings_of(provider, sandbox)
    sandbox = sandbox_of(provider, port)
    async with message_worker(redis_url, db, settings) as worker:
        world = World(provider, sandbox, worker, db)
        await world.ask()
        async with worker.working():
            await until(lambda: _is_away(worker, provider), "the provider's absence is noticed")
            async with sandbox:
                await until(worker.settled, "the end of every event", within_s=200)
        assert await world.statuses() == {"sent": COUNT}
        assert world.sends() == {phone[1:]: 1 for phone in world.phones}


def _is_away(worker: MessageWorker, provider: str) -> bool:
    return not worker.outside.channels[provider].closed


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_call_that_comes_too_soon_is_made_once_in_its_time(
    redis: object, redis_url: str, db: Pool, provider: str
) -> None:
    async with world_of(provider, redis_url, db) as world:
        world.sandbox.faults.add(
            "limited", times=COUNT, retry_after="1", method="POST", path=SENDING[provider], performed=False
        )
        await world.ask()
        await world.run_to_the_end(within_s=500)  # Chatwoot is asked three things for each message, one a second
        assert await world.statuses() == {"sent": COUNT}
        assert world.sends() == {phone[1:]: 1 for phone in world.phones}

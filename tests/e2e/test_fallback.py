"""Messages that may go by another provider, through real processes: once each, and what was attempted stays."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.ledger import Ledger
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.sandbox.twilio import ACCOUNT_SID, TwilioSandbox
from daemon.sandbox.twilio_webhooks import NUMBER
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.until import until

TOKEN: Final = "e2e-admin-token-0123456789"


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


class World:
    """Both providers, and the settings of a process that sends by Meta and, where that is down, by Twilio."""

    def __init__(self, db: Pool, stores: dict[str, str], meta: MetaSandbox, twilio: TwilioSandbox, home: Path) -> None:
        self.db, self.meta, self.twilio, self.home = db, meta, twilio, home
        self.settings: dict[str, Any] = stores | {
            "META_GRAPH_URL": meta.url,
            "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
            "META_ACCESS_TOKEN": meta.token,
            "TWILIO_API_URL": twilio.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": twilio.token,
            "TWILIO_WHATSAPP_NUMBER": NUMBER,
            "MESSAGES_DEFAULT_PROVIDER": "meta",
            "MESSAGES_FALLBACK_PROVIDERS": "twilio",
            "FERRYMAN_LEASE_SECONDS": 2,
        }

    async def send(self, here: Running, n: int, **given: Any) -> str:
        """Free text to a person who has written to both numbers; the message's id."""
        await self.db.execute(
            "INSERT INTO customer_windows SELECT $1, system, now() FROM unnest(ARRAY['meta', 'twilio']) system"
            " ON CONFLICT DO NOTHING",
            phone(n),
        )
        headers, body = {"Authorization": f"Bearer {TOKEN}"}, {"to": phone(n), "text": "hello", **given}
        async with here.session.post(f"{here.url}/api/v1/messages", json=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["message_id"])

    async def shown(self, here: Running, id: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with here.session.get(f"{here.url}/api/v1/messages/{id}", headers=headers) as answer:
            document: dict[str, Any] = await answer.json()
            return document

    async def verb(self, *argv: str) -> str:
        code, out, err = await ferryman(*argv, cwd=self.home, env=environment(**self.settings))
        assert code == 0, err
        return out

    async def reach(self, wanted: dict[tuple[str, str], int]) -> None:
        """Wait until the messages stand so: (provider, status) -> how many."""

        async def so() -> bool:
            found = await self.db.fetch("SELECT provider, status FROM messages WHERE direction = 'out'")
            return Counter((row["provider"], row["status"]) for row in found) == wanted

        await until(so, f"messages that stand as {wanted}", within_s=60)

    def taken(self) -> tuple[Counter[str], Counter[str]]:
        """Person -> how many messages Meta, and Twilio, have taken."""
        return _taken(self.meta.ledger), _taken(self.twilio.ledger)


def _taken(ledger: Ledger) -> Counter[str]:
    return Counter(entry.contact for entry in ledger.entries if entry.action == "send" and entry.performed)


def people(numbers: range) -> dict[str, int]:
    return {phone(n)[1:]: 1 for n in numbers}


@pytest.fixture
async def world(stores: dict[str, str], db: Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with MetaSandbox() as meta, TwilioSandbox() as twilio:
        yield World(db, stores, meta, twilio, tmp_path)


async def test_with_a_revoked_token_new_messages_go_by_the_other_provider_and_the_attempted_one_waits(
    world: World,
) -> None:
    world.meta.faults.add("bad_token")
    async with running(world.home, **world.settings) as here:
        first = await world.send(here, 0)
        await until(lambda: world.meta.ledger.entries, "the call that finds the token revoked")
        await world.reach({("meta", "queued"): 1})
        others = [await world.send(here, n) for n in range(1, 8)]
        bound = await world.send(here, 8, provider="meta")
        await world.reach({("meta", "queued"): 2, ("twilio", "sent"): 7})
        shown = await world.shown(here, others[0])
        assert (shown["route"], shown["attempts"], shown["error"]) == (["meta", "twilio"], 1, None)
        (move,) = shown["moves"]
        assert (move["from"], move["to"], "refuses our account" in move["why"]) == ("meta", "twilio", True)
        assert "where the default one is down" in await world.verb("status")
        world.meta.faults.clear()
        await world.verb("resume", "meta")
        await world.reach({("meta", "sent"): 2, ("twilio", "sent"): 7})
        for id in (first, bound):
            assert (await world.shown(here, id))["moves"] == []
        await world.verb("audit")
    assert world.taken() == ({**people(range(1)), **people(range(8, 9))}, people(range(1, 8)))


async def test_with_both_paused_it_waits_and_goes_out_once_by_the_first_that_is_resumed(world: World) -> None:
    async with running(world.home, **world.settings) as here:
        for provider in ("meta", "twilio"):
            await world.verb("pause", provider)
        await until(lambda: _paused(here), "the pause in the process")
        for n in range(5):
            await world.send(here, n)
        await until(
            lambda: world.db.fetchval("SELECT count(*) = 5 FROM messages WHERE error LIKE 'waits: %'"), "all wait"
        )
        await world.verb("resume", "meta")
        await world.reach({("meta", "sent"): 5})
        await world.verb("pause", "meta")
        await world.verb("resume", "twilio")
        await until(lambda: _paused(here, "meta"), "the pause of one")
        out = await world.verb("send", "text", phone(0), "hello", "--fallback", "twilio", "--wait", "--yes")
        assert "is sent" in out
        await world.reach({("meta", "sent"): 5, ("twilio", "sent"): 1})
    assert world.taken() == (people(range(5)), people(range(1)))


async def _paused(here: Running, *names: str) -> bool:
    """Whether the process calls none of these providers by now."""
    wanted = names or ("meta", "twilio")
    async with here.session.get(f"{here.health_url}/metrics") as page:
        text = await page.text()
    open_ones = ("meta", "twilio")
    return all((f'ferryman_breaker_open{{provider="{one}"}} 1' in text) is (one in wanted) for one in open_ones)


@pytest.mark.parametrize("seconds", [0.5, pytest.param(0.0, marks=pytest.mark.slow)])
async def test_a_process_that_is_killed_while_messages_go_over_sends_none_twice(world: World, seconds: float) -> None:
    world.meta.faults.add("bad_token")
    world.twilio.faults.add("slow", seconds=seconds)
    count = 30
    async with running(world.home, **world.settings) as here:
        await world.send(here, count)
        await until(lambda: world.meta.ledger.entries, "the call that finds the token revoked")
        for n in range(count):
            await world.send(here, n)
        await until(lambda: world.twilio.ledger.entries, "the first message that goes over")
        await here.stop(signal.SIGKILL)
    world.meta.faults.clear()
    async with running(world.home, **world.settings):

        async def ended() -> bool:
            rows = await world.db.fetch("SELECT status FROM messages")
            return {row["status"] for row in rows} <= {"sent", "uncertain"}

        await until(ended, "the end of every message", within_s=60)
    meta, twilio = world.taken()
    assert set((meta + twilio).values()) == {1}
    moved = await world.db.fetchval("SELECT count(*) FROM messages WHERE moves IS NOT NULL")
    assert (moved > 0, len(twilio) <= moved) == (True, True), "the first one may have been cut off before it was taken"

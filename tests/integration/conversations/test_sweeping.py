"""The sweep by the clock: where there is one, what it counts, and that a paused Chatwoot is asked nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres.pool import Pool
from daemon.accounts import CHATWOOT, lacking
from daemon.bus.worker import Outside, utc_now
from daemon.conversations.sweeping import METRICS, duties
from daemon.operator import credentials
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID
from daemon.settings.model import Settings
from daemon.stores.credentials import Credentials
from daemon.telemetry.metrics import Metrics
from tests.support.chatwoot_told import asked

KEY: Final = SecretStr("cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=")
SECRET: Final = (SecretStr("whs_demo_7Q2m0123456789"),)


class Rig:
    """A process with Chatwoot's account."""

    def __init__(self, outside: Outside, chatwoot: ChatwootSandbox) -> None:
        self.outside = outside
        self.chatwoot = chatwoot
        (self.duty,) = duties(outside)

    def shown(self, name: str) -> float:
        lines = self.outside.metrics.render()[0].decode().splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(line.split()[1])


@pytest.fixture
async def rig(db: Pool, redis: Redis) -> AsyncIterator[Rig]:
    async with ChatwootSandbox() as chatwoot, open_session() as session:
        settings = Settings(
            chatwoot_base_url=chatwoot.url,
            chatwoot_api_access_token=chatwoot.token,
            chatwoot_account_id=ACCOUNT_ID,
            chatwoot_webhook_secret=SECRET,
        )
        outside = Outside(
            settings=settings,
            secret=lambda name: chatwoot.token,
            pool=db,
            redis=redis,
            session=session,
            channels=Channels([]),
            metrics=Metrics(METRICS),
            now=utc_now,
        )
        yield Rig(outside, chatwoot)


async def test_what_is_found_is_counted(rig: Rig) -> None:
    await rig.duty.act()
    assert (rig.shown("ferryman_sweep_found"), rig.shown("ferryman_swept_messages_total")) == (0, 0)
    rig.chatwoot.account.receive("+972505550001", "hello")
    await rig.outside.pool.execute("UPDATE sweeps SET began_at = began_at - interval '1 hour', ended_at = NULL")
    await rig.duty.act()
    assert (rig.shown("ferryman_sweep_found"), rig.shown("ferryman_swept_messages_total")) == (1, 1)
    assert rig.shown("ferryman_sweep_age_seconds") < 60
    assert rig.shown('ferryman_sweeps_total{outcome="done"}') == 2


async def test_a_failure_is_counted_and_the_next_turn_waits(rig: Rig) -> None:
    rig.chatwoot.faults.add("error", status=500)
    await rig.duty.act()
    before = asked(rig.chatwoot)
    await rig.duty.act()
    assert rig.shown('ferryman_sweeps_total{outcome="failed"}') == 1
    assert asked(rig.chatwoot) == before
    assert await rig.outside.pool.fetchval("SELECT error FROM sweeps") == "http-500"


async def test_a_paused_chatwoot_is_asked_nothing(rig: Rig) -> None:
    rig.outside.channels["chatwoot"].paused = True
    await rig.duty.act()
    assert asked(rig.chatwoot) == []


async def test_without_an_account_nothing_is_swept(rig: Rig) -> None:
    settings = rig.outside.settings.model_copy(update={"chatwoot_account_id": None})
    assert lacking(settings, CHATWOOT) == ["CHATWOOT_ACCOUNT_ID"]
    assert duties(replace(rig.outside, settings=settings)) == ()


@pytest.mark.parametrize(
    ("unsigned", "stored", "swept"), [((), False, False), (("chatwoot",), False, True), ((), True, True)]
)
async def test_while_no_webhooks_are_taken_nothing_is_swept(
    rig: Rig, unsigned: tuple[str, ...], stored: bool, swept: bool
) -> None:
    """A secret may be stored while the process runs."""
    changes = {"chatwoot_webhook_secret": (), "ferryman_allow_unsigned": unsigned, "ferryman_secret_key": (KEY,)}
    settings = rig.outside.settings.model_copy(update=changes | {"database_url": SecretStr("postgresql://x/f")})
    held = Credentials(rig.outside.pool, lambda: [KEY.get_secret_value()], tells=False)
    (duty,) = duties(replace(rig.outside, settings=settings, credentials=held))
    await duty.act()
    assert (asked(rig.chatwoot) != []) == (unsigned != ())
    if stored:
        one = credentials.given("chatwoot", "webhook", {"webhook_secret": "s" * 24})
        await credentials.store(rig.outside.pool, settings, one, "tests")
    await held.load()
    await duty.act()
    assert (asked(rig.chatwoot) != []) == swept

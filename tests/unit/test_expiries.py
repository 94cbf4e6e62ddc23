"""How long it takes until a certificate or a token ends, as far as it is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.certificate import valid_until
from adapters.channel import Channels
from daemon.bus.worker import Outside
from daemon.expiries import METRICS, duties
from daemon.sandbox.meta import MetaSandbox
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from tests.support.https import https
from tests.support.page import samples

NOW = datetime(2031, 3, 1, 12, tzinfo=UTC)
NOBODY: Any = None


@asynccontextmanager
async def looking(**settings: Any) -> AsyncIterator[Any]:
    """A function that has every duty look once and returns what is told, and the channels."""
    metrics, channels = Metrics(METRICS), Channels(["meta"])
    async with ClientSession() as session:
        outside = Outside(
            settings=Settings(**settings),
            secret=lambda name: settings[name],
            pool=NOBODY,
            redis=NOBODY,
            session=session,
            channels=channels,
            metrics=metrics,
            now=lambda: NOW,
        )
        every = duties(outside)

        async def look() -> dict[str, float]:
            for duty in every:
                await duty.act()
            return {name.split('"')[1]: value for name, value in samples(metrics).items()}

        yield look, channels


def of(meta: MetaSandbox) -> dict[str, Any]:
    return {"meta_graph_url": meta.url, "meta_phone_number_id": meta.number_id, "meta_access_token": meta.token}


@pytest.mark.parametrize(("left", "told"), [(timedelta(days=7), 7 * 86_400), (timedelta(hours=-1), 0)])
async def test_the_certificate_of_our_own_address_is_told_also_when_it_has_ended(
    tmp_path: Path, left: timedelta, told: float
) -> None:
    async with https(tmp_path, NOW + left) as url, looking(ferryman_public_url=url) as (look, _):
        assert (await look())["certificate"] == told


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9", "https://127.0.0.1:9"])
async def test_an_address_without_a_certificate_that_can_be_seen_is_not_known(url: str | None) -> None:
    async with looking(ferryman_public_url=url) as (look, _):
        assert await look() == {"certificate": -1, "meta_token": -1}


async def test_a_server_that_is_away_for_a_moment_does_not_make_its_certificate_unknown(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(https(tmp_path, NOW + timedelta(days=7)))
        async with looking(ferryman_public_url=url) as (look, _):
            assert (await look())["certificate"] == 7 * 86_400
            await stack.aclose()
            with pytest.raises(ConnectionRefusedError):
                await valid_until("127.0.0.1", int(url.rpartition(":")[2]))
            assert (await look())["certificate"] == 7 * 86_400


async def test_the_end_of_the_token_is_asked_of_meta() -> None:
    async with MetaSandbox() as meta, looking(**of(meta)) as (look, _):
        meta.switches.token_ends = int((NOW + timedelta(days=3)).timestamp())
        assert (await look())["meta_token"] == 3 * 86_400


@pytest.mark.parametrize("token_ends", [0, None, 10**18])
async def test_a_token_without_an_end_or_that_may_not_ask_is_not_known(token_ends: int | None) -> None:
    async with MetaSandbox() as meta, looking(**of(meta)) as (look, _):
        meta.switches.token_ends = token_ends
        assert (await look())["meta_token"] == -1


async def test_meta_is_not_asked_while_an_operator_has_paused_it() -> None:
    async with MetaSandbox() as meta, looking(**of(meta)) as (look, channels):
        channels["meta"].paused = True
        await look()
        assert meta.token_looks == 0
        channels["meta"].paused = False
        await look()
        assert meta.token_looks == 1

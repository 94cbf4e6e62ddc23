"""The records as a command writes them: beside daemons that may run, by the same rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from adapters.channel import Channels
from adapters.http import open_session
from adapters.redis import streams
from daemon.bus.worker import Outside, utc_now
from daemon.records.pushing.service import Records
from daemon.records.wiring import METRICS, open_records
from daemon.rules.files import load_all
from daemon.settings.in_force import InForce
from daemon.telemetry.metrics import Metrics
from daemon.workers import rule_files

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings
    from daemon.stores.located import Addresses

TIMEOUT_S: Final = 5.0


@asynccontextmanager
async def records_of(settings: Settings, addresses: Addresses, pool: Pool) -> AsyncIterator[Records]:
    """The records of the installation. What they tell of a change is published by a daemon's sweeper, within seconds.
    Raises: WrongRules."""
    rules = load_all(settings.ferryman_rules_dir, rule_files())
    redis = streams.client(addresses.redis_url, timeout_s=TIMEOUT_S)
    try:
        async with open_session() as session:
            yield open_records(
                Outside(
                    settings=settings,
                    secret=InForce(settings).secret,
                    pool=pool,
                    redis=redis,
                    session=session,
                    channels=Channels([]),
                    metrics=Metrics(METRICS, workers=[], sources=[], providers=[]),
                    now=utc_now,
                    rules=rules,
                )
            )
    finally:
        await redis.aclose()

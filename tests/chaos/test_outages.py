"""Stores and a provider that fail under load on two real processes."""

from __future__ import annotations

import pytest

from daemon.stores.embedded.servers import Servers
from tests.chaos.outages import OUTAGES, run_outage
from tests.chaos.provider import BACK_S, run_provider_trouble

pytestmark = pytest.mark.slow

SECONDS = {"replies-lost": 2.0, "postgres-stopped": 3.0, "postgres-frozen": 3.0, "backends-terminated": 3.0}


@pytest.mark.parametrize("outage", sorted(OUTAGES))
async def test_every_accepted_order_has_its_effect_once_and_in_order(own: Servers, outage: str) -> None:
    """Promise: every 2xx is effected once and in its person's order, whatever a store does meanwhile."""
    print("seed 1")
    verdict = await run_outage(own, outage, seed=1, seconds=SECONDS.get(outage, 2.0))
    assert verdict.good, verdict.details()


async def test_a_provider_away_buries_nothing_and_is_served_at_full_speed_when_it_is_back(own: Servers) -> None:
    """Promise: an outage of CGB or a storm of 429 costs time alone; full speed within 30 s of its end."""
    print("seed 1")
    done = await run_provider_trouble(own, seconds=4, seed=1, each=6)
    assert done.verdict.good, done.verdict.details()
    assert len(done.recovered_s) == 2
    assert max(done.recovered_s) <= BACK_S

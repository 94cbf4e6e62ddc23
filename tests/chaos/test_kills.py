"""kill -9, SIGSTOP and SIGTERM of real processes under load, at random moments and at named points."""

from __future__ import annotations

import pytest

from daemon.stores.embedded.servers import Servers
from tests.chaos.crashing import POINTS
from tests.chaos.kills import kill_under_load
from tests.chaos.points import crash_at, poisoned
from tests.chaos.restarts import restart_under_load
from tests.chaos.sleeper import sleep_past_the_leases

pytestmark = pytest.mark.slow


async def test_kills_at_random_moments_lose_double_and_invert_nothing(own: Servers) -> None:
    """Promise: an accepted order has its effect once and in its person's order, whenever a process is killed."""
    print("seed 1")
    killed = await kill_under_load(own, events=300, keys=40, kills=4, seed=1)
    assert killed.verdict.good, killed.verdict.details()


@pytest.mark.parametrize("point", sorted(POINTS.keys() - {"before-commit"}))
async def test_a_kill_at_a_named_point_has_every_effect_once(own: Servers, point: str) -> None:
    """Promise: there is no moment at which a kill -9 loses or repeats an effect."""
    print("seed 1")
    verdict = await crash_at(own, point, seed=1)
    assert verdict.good, verdict.details()


@pytest.mark.parametrize("point", [None, "before-commit", "before-the-handlers-write"])
async def test_a_process_that_sleeps_past_its_leases_writes_nothing_under_its_old_epochs(
    own: Servers, point: str | None
) -> None:
    """Promise: SIGSTOP for three lease times, SIGCONT: the other process has done the work, and nothing is done
    again."""
    print("seed 1")
    slept = await sleep_past_the_leases(own, seed=1, each=4, point=point)
    assert slept.verdict.good, slept.verdict.details()
    assert slept.ended_meanwhile > 0
    assert slept.stale == []


async def test_restarts_under_load_end_in_time_and_burn_no_attempt(own: Servers) -> None:
    """Promise: SIGTERM under load: exit code 0 within the drain limit, nothing lost or doubled, no attempt burned."""
    print("seed 1")
    restarted = await restart_under_load(own, restarts=5, seed=1)
    assert restarted.verdict.good, restarted.verdict.details()
    assert restarted.codes == [0] * 5
    assert restarted.attempts == 0
    assert restarted.longest_s <= restarted.limit_s


async def test_an_event_that_kills_the_process_is_buried_and_the_others_are_done(own: Servers) -> None:
    """Promise: after FERRYMAN_POISON_DELIVERIES deliveries without an outcome an event is a dead letter."""
    print("seed 1")
    verdict, deaths = await poisoned(own, seed=1)
    assert verdict.good, verdict.details()
    assert 1 < deaths <= 5

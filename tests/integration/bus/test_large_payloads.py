"""Large payloads go over the bus as references, whichever part publishes them, and handlers see them whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from adapters.postgres.bus import journal, outbox, payloads
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator.replay import ReplayFilter
from adapters.postgres.pool import connect
from daemon.bus.outcome import Done, Outcome, Turn
from daemon.bus.upkeep import publish_left
from daemon.operator.replay import make_plan, perform, publish_missing
from schemas.envelope import Event
from tests.support.bus import Bench
from tests.support.toy import TOPIC, Spy, effect, make_event
from tests.support.until import until

LARGE: Final = make_event("key-1", 1, filler="x" * (payloads.LARGE_BYTES + 1))
SMALL: Final = make_event("key-1", 2)


async def whole(event: Event, deps: object, turn: Turn) -> Outcome:
    """A handler whose effect notes the length of the data."""
    return Done(rows=(effect(event, str(len(event.data))),))


async def sweep(bench: Bench) -> None:
    async with bench.pool.acquire() as conn:
        await outbox.emit(conn, [LARGE, SMALL])
    await publish_left(bench.pool, bench.bus, older_than_s=0)


async def journaled(bench: Bench) -> None:
    async with bench.pool.acquire() as conn:
        await journal.append(conn, [Journaled(LARGE, ""), Journaled(SMALL, "")])


async def replay(bench: Bench) -> None:
    await journaled(bench)
    worker = bench.worker()
    plan = await make_plan(bench.pool, worker, ReplayFilter())
    assert await perform(bench.pool, bench.bus, worker, plan, lambda done, of: None) == 2


async def missing(bench: Bench) -> None:
    await journaled(bench)
    assert await publish_missing(bench.pool, bench.bus, 30) == 2


@pytest.mark.parametrize("publish", [sweep, replay, missing])
async def test_a_large_payload_goes_as_a_reference_and_arrives_whole(
    bench: Bench, publish: Callable[[Bench], Awaitable[None]]
) -> None:
    await publish(bench)
    found = {fields["id"]: fields for _, fields in await bench.entries(TOPIC)}
    assert (found[LARGE.id]["data"], bool(found[LARGE.id]["dataref"])) == ("", True)
    assert "dataref" not in found[SMALL.id]
    handler = Spy(whole)
    async with bench.running(bench.worker(handler)):
        await until(bench.settled)
    assert [(e.n, e.note) for e in await bench.effects()] == [(1, str(len(LARGE.data))), (2, str(len(SMALL.data)))]


async def test_what_is_on_its_way_again_outlives_the_day_on_which_it_came_first(bench: Bench) -> None:
    (first,) = await payloads.store(bench.pool, [LARGE])
    await bench.pool.execute("UPDATE payloads SET created_at = now() - interval '40 days'")
    again, same, other = await payloads.store(bench.pool, [LARGE, LARGE, LARGE._replace(id="another")])
    assert first.dataref == again.dataref == same.dataref == other.dataref
    assert await bench.has("payloads", 2)
    assert await bench.has("payloads WHERE created_at > now() - interval '1 minute'", 2)


async def test_with_postgres_away_it_goes_whole(database_url: str) -> None:
    async with connect(database_url, size=1) as gone:
        pass
    assert await payloads.set_aside(gone, [SMALL, LARGE]) == [SMALL, LARGE]

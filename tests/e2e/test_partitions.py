"""`ferryman partitions` beside real processes: refused while one lives or something waits, and nothing lost after."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import partitions
from adapters.postgres.operator import repartition
from adapters.postgres.pool import Pool
from daemon.operator.partitions import read_layout
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import RUNNING, Running, ended, environment, ferryman, free_port, running, synced
from tests.support.until import until

PEOPLE: Final = 12

Order = dict[str, Any]


def pairs_of(seed: int) -> list[tuple[Order, Order]]:
    """The older and the newer order of PEOPLE people."""
    rng = random.Random(seed)
    return [orders.same_person_twice(rng, 100 * seed + 2 * n) for n in range(PEOPLE)]


class Verb:
    """`ferryman partitions`, run with the settings of the test."""

    def __init__(self, cwd: Path, settings: Mapping[str, Any]) -> None:
        self.cwd, self.settings = cwd, settings

    async def __call__(self, *argv: str, code: int = 0, partitions: int) -> str:
        """Standard output; for a failure the one line of standard error."""
        env = environment(**dict(self.settings) | {"FERRYMAN_PARTITIONS": partitions})
        got, out, err = await ferryman("partitions", *argv, cwd=self.cwd, env=env)
        assert got == code, out + err
        assert err.count("\n") == (1 if code else 0)
        return out + err

    async def dying(self, at: str, number: int, by: str = "SIGKILL") -> asyncio.subprocess.Process:
        """A change from 16 partitions to *number* that meets its death at *at*."""
        env = environment(**dict(self.settings) | {"DIE_AT": at, "DIE_BY": by, "FERRYMAN_PARTITIONS": 16})
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.dying_verb", "partitions", str(number), "--move", "--yes"),
            cwd=self.cwd,
            env=env,
        )


async def post_all(here: Running, bodies: Sequence[Order]) -> None:
    for body in bodies:
        assert (await here.post(body))[0] == 202


async def drained(db: Pool, redis: Redis, number: int, names: Sequence[str] = ("journal", "contact-sync")) -> None:
    """Wait until nothing waits for these workers and the outbox is empty."""

    async def nothing_waits() -> bool:
        async with db.acquire() as conn:
            layout = await read_layout(conn, redis, number)
        return layout.outbox == 0 and not any(layout.waits(worker) for worker in RUNNING if worker.name in names)

    await until(nothing_waits, "a drained bus")


async def in_order_and_balanced(verb: Verb, db: Pool, pairs: Sequence[tuple[Order, Order]]) -> None:
    """Every order has ended once, the older one of a person first."""
    code, out, _ = await ferryman("audit", "--json", cwd=verb.cwd, env=environment(**verb.settings))
    assert code == 0, out
    sums = json.loads(out)["workers"]["contact-sync"]
    assert (sums["accepted"], sums["done"]) == (2 * len(pairs), 2 * len(pairs))
    rows = await db.fetch(
        "SELECT j.data::jsonb #>> '{order,id}' AS id FROM inbox i JOIN event_journal j ON j.id = i.event_id"
        " WHERE i.worker = 'contact-sync' ORDER BY i.at"
    )
    place = {row["id"]: n for n, row in enumerate(rows)}
    assert len(rows) == len(place) == 2 * len(pairs)
    assert all(place[older["order"]["id"]] < place[newer["order"]["id"]] for older, newer in pairs)


async def test_from_16_to_4_to_32_with_orders_before_and_after(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    verb, pairs, sent = Verb(tmp_path, settings), pairs_of(1) + pairs_of(2), 0
    batches = [
        [older for older, _ in pairs[:PEOPLE]],
        [newer for _, newer in pairs[:PEOPLE]] + [older for older, _ in pairs[PEOPLE:]],
        [newer for _, newer in pairs[PEOPLE:]],
    ]
    for number, following, batch in zip((16, 4, 32), (4, 32, 3), batches, strict=True):
        async with running(tmp_path, **settings, FERRYMAN_PARTITIONS=number) as here:
            await post_all(here, batch)
            sent += len(batch)
            await synced(db, sent)
            await drained(db, redis, number)
            text = await verb(str(following), "--yes", code=1, partitions=number)
            assert "runs: stop every process" in text
            assert f"partitions {number}, processes 1" in await verb(partitions=number)
            assert await here.stop() == 0
            assert not any("redis.lost_data" in line for line in here.lines)
        question = f"change the partitions from {number} to {following}"
        assert f"would {question}, drop" in await verb(str(following), "--dry-run", partitions=number)
        assert f"this would {question}" in await verb(str(following), code=1, partitions=number)
        assert await partitions.number(db) == number
        text = await verb(str(following), "--yes", partitions=number)
        assert f"set FERRYMAN_PARTITIONS={following} for every process" in text
        assert [key async for key in redis.scan_iter("ferryman:*:orders")] == []
    await in_order_and_balanced(verb, db, pairs)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}
    env = environment(**settings, FERRYMAN_PORT=free_port(), FERRYMAN_PARTITIONS=16)
    code, _, err = await ferryman("run", cwd=tmp_path, env=env)
    assert (code, "`ferryman partitions 16`" in err) == (1, True)


async def test_a_process_that_is_given_no_number_takes_that_of_the_database(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    async with running(tmp_path, **settings, FERRYMAN_PARTITIONS=5) as here:
        assert await here.stop() == 0
    async with running(tmp_path, **settings) as here:

        async def all_owned() -> bool:
            leases = (await here.ready())["leases"]
            return all(len(leases[worker]) == 5 for worker in ("contact-sync", "journal"))

        await until(all_owned, "an owner of all five partitions")
        assert await here.stop() == 0
    verb = Verb(tmp_path, settings)
    env = environment(**settings)
    code, out, _ = await ferryman("partitions", cwd=verb.cwd, env=env)
    assert (code, "partitions 5," in out, "FERRYMAN_PARTITIONS" in out) == (0, True, False)
    _, out, _ = await ferryman("doctor", cwd=verb.cwd, env=env)
    assert "FERRYMAN_PARTITIONS" not in out


@pytest.mark.parametrize("at", ["after:change", "after:forget", pytest.param("before:change", marks=pytest.mark.slow)])
async def test_what_waits_for_a_worker_that_is_off_is_carried_over_also_when_the_verb_is_killed(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis, at: str
) -> None:
    off = {name: value for name, value in settings.items() if name != "CGB_API_KEY"}
    verb, pairs = Verb(tmp_path, off), pairs_of(3)
    async with running(tmp_path, **off) as here:
        await post_all(here, [older for older, _ in pairs])
        await drained(db, redis, 16, ["journal"])
        assert await here.stop() == 0
    text = await verb("5", "--yes", code=1, partitions=16)
    assert "12 events wait for contact-sync (CGB_API_KEY is not set): let a daemon work them off, or carry" in text
    process = await verb.dying(at, 5)
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    if at == "before:change":
        assert await partitions.number(db) == 16
        assert "12 waiting events are in the outbox" in await verb("5", "--move", "--yes", partitions=16)
    assert await partitions.number(db) == 5
    assert (await repartition.behind(db))[1] == 12
    async with running(tmp_path, **settings, FERRYMAN_PARTITIONS=5) as here:
        await post_all(here, [newer for _, newer in pairs])
        await ended(db, 2 * PEOPLE)
        await drained(db, redis, 5)
        assert await here.stop() == 0
        assert not any("redis.lost_data" in line for line in here.lines)
    assert await repartition.old_streams(db) is None
    await in_order_and_balanced(verb, db, pairs)
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def test_a_process_that_starts_during_a_change_waits_for_it_or_refuses(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, redis: Redis
) -> None:
    async with running(tmp_path, **settings) as here:
        await post_all(here, [older for older, _ in pairs_of(4)])
        await synced(db, PEOPLE)
        await drained(db, redis, 16)
        assert await here.stop() == 0
    verb = Verb(tmp_path, settings)
    process = await verb.dying("after:change", 5, by="SIGSTOP")

    async def changed() -> bool:
        return await partitions.number(db) == 5

    await until(changed, "the new number")
    env = environment(**settings, FERRYMAN_PORT=free_port(), FERRYMAN_PARTITIONS=5)
    code, _, err = await ferryman("run", cwd=tmp_path, env=env)
    assert (code, "the partitions are being changed" in err) == (1, True)
    starting = asyncio.create_task(ferryman("run", cwd=tmp_path, env=env | {"FERRYMAN_PARTITIONS": "16"}))
    await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGCONT)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    code, _, err = await starting
    assert (code, "set up with 5 partitions" in err) == (1, True)
    assert await repartition.old_streams(db) is None

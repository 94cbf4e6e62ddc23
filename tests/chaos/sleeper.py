"""SIGSTOP of an owner for three lease times under load, then SIGCONT."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daemon.stores.embedded.servers import Servers
from schemas.partitions import partition_of
from tests.chaos.lab import TTL_S, Lab, open_lab
from tests.chaos.load import sending
from tests.chaos.oracle import Verdict
from tests.chaos.points import CRASHING
from tests.support.until import until

PARTITIONS: Final = 16

# Which process takes an epoch and which writes an end: each gives its number with its connections.
_WATCH: Final = """
CREATE TABLE chaos_takes (worker text, partition int, epoch bigint, process text, at timestamptz);
CREATE TABLE chaos_ends (worker text, event_id text, process text, at timestamptz);
CREATE FUNCTION chaos_take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO chaos_takes
  VALUES (new.worker, new.partition, new.epoch, current_setting('chaos.process', true), clock_timestamp());
  RETURN new;
END $$;
CREATE FUNCTION chaos_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO chaos_ends VALUES (new.worker, new.event_id, current_setting('chaos.process', true), clock_timestamp());
  RETURN new;
END $$;
CREATE TRIGGER chaos_take AFTER INSERT OR UPDATE ON leases FOR EACH ROW EXECUTE FUNCTION chaos_take();
CREATE TRIGGER chaos_end AFTER INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION chaos_end();
"""


@dataclass
class Overslept:
    """*ended_meanwhile*: events that the other process ended; *stale*: what was written under an old epoch."""

    verdict: Verdict
    ended_meanwhile: int
    ends: dict[str, int]
    stale: list[str]


async def sleep_past_the_leases(servers: Servers, *, seed: int, each: int = 6, point: str | None = None) -> Overslept:
    """Two processes under load; one of them sleeps past its leases, with work in hand, and wakes up under load.

    *point*: of `crashing`; the process falls asleep when it reaches it for the second time. None: at any moment.
    """
    async with open_lab(servers, latency_s=0.02) as lab:
        await lab.db.execute(_WATCH)
        settings = {"CHAOS_POINT": point, "CHAOS_NTH": 2, "CHAOS_SIGNAL": "SIGSTOP"} if point is not None else {}
        await asyncio.gather(
            lab.fleet.start(0, module=CRASHING, DATABASE_URL=_known(lab, 0), **settings),
            lab.fleet.start(1, DATABASE_URL=_known(lab, 1)),
        )
        load = lab.load(seed, people=40, each=each)
        third = load.total // 3
        async with sending(load):
            load.release(third)

            async def some_ended() -> bool:
                return await lab.ended() >= third / 4

            async def asleep() -> bool:
                return _state(lab.fleet.running[0].process.pid) == "T"

            await (until(asleep, "a sleeper") if point is not None else until(some_ended, "some work done by both"))
            sleeper = lab.fleet.running.pop(0)  # the load posts nothing to it meanwhile
            sleeper.process.send_signal(signal.SIGSTOP)
            try:
                before = await lab.ended()
                load.release(third)
                await asyncio.sleep(3 * TTL_S)  # how long it sleeps
                meanwhile = await lab.ended() - before
            finally:
                sleeper.process.send_signal(signal.SIGCONT)
                lab.fleet.running[0] = sleeper
        verdict = await lab.verdict()
        ends = await lab.db.fetch("SELECT process, count(*) AS n FROM chaos_ends GROUP BY process")
        found = Overslept(verdict, meanwhile, {str(row["process"]): row["n"] for row in ends}, await _stale(lab))
        for number in (0, 1):
            assert await lab.fleet.end(number) == 0
        return found


def _state(pid: int) -> str:
    """The state of the process, as the kernel names it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _known(lab: Lab, number: int) -> str:
    return f"{lab.fleet.settings['DATABASE_URL']}&options=-c%20chaos.process%3D{number}"


async def _stale(lab: Lab) -> list[str]:
    """The ends that were written by another process than the one that held the epoch.

    A process that takes an epoch waits for the transactions that write under the one before, so the last take before an
    end is the one in force.
    """
    ends: list[Any] = await lab.db.fetch(
        "SELECT e.worker, e.event_id, e.process, e.at, j.subject"
        " FROM chaos_ends e JOIN event_journal j ON j.id = e.event_id ORDER BY e.at"
    )
    takes = await lab.db.fetch("SELECT worker, partition, process, at FROM chaos_takes ORDER BY at DESC")
    assert ends
    assert takes
    stale = []
    for end in ends:
        partition = partition_of(end["subject"], PARTITIONS)
        holder = next(
            t["process"]
            for t in takes
            if (t["worker"], t["partition"]) == (end["worker"], partition) and t["at"] < end["at"]
        )
        if holder != end["process"]:
            stale.append(f"{end['worker']} {end['event_id']} by {end['process']}, held by {holder}")
    return stale

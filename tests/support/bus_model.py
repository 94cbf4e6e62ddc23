"""What must become of events, as a small model: for each key the events in the order of acceptance, and the replays."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from daemon.operator.audit import audit_workers
from schemas.envelope import Event, event_id
from tests.support.bus import Bench
from tests.support.bus_processes import ATTEMPTS, EMITTING, JOURNAL, PLANS, Bus
from tests.support.toy import TOY, TYPE

ENDS: Final = dict.fromkeys(PLANS, "done") | {"skip": "skipped", "refused": "dead", "fails always": "dead"}
"""How an event with such a plan ends."""


class Model:
    """*accepted*: key -> its events in the order of their first acceptance. *events*: all of them.

    *runs*: replay id -> what it delivers; the first delivery is the replay "". *other_bodies*: ids that came with
    another body. *ended*: (id, replay id) that no process may handle any more. *last_of*: generation of owners -> the
    last effect written before it lost everything to the next one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.accepted: dict[str, list[Event]] = {key: [] for key in keys}
        self.runs: dict[str, dict[str, list[Event]]] = {"": self.accepted}
        self.events: list[Event] = []
        self.other_bodies: set[str] = set()
        self.ended: set[tuple[str, str]] = set()
        self.last_of: dict[int, int] = {}

    def accept(self, event: Event) -> None:
        self.accepted[event.subject].append(event)
        self.events.append(event)

    def replay(self, run_id: str) -> None:
        """Everything was delivered once more, as *run_id*."""
        assert run_id not in self.runs
        self.runs[run_id] = {key: list(events) for key, events in self.accepted.items()}

    async def check(self, bench: Bench, bus: Bus, *, again: Sequence[Event]) -> None:
        await self._check_ends(bench, bus)
        await self._check_effects(bench)
        await self._check_journal(bus)
        assert list(again) == [], "handled after its end"
        assert await bench.has("outbox", 0)
        assert not any((await bench.attempts()).values()), "attempts of what has ended"
        flagged = await bench.pool.fetch("SELECT DISTINCT event_id FROM event_conflicts")
        assert {row["event_id"] for row in flagged} == self.other_bodies
        audit = await audit_workers(bench.pool)
        assert audit.balanced, audit.document()
        assert audit.workers[TOY].accepted == len(self.events)
        assert [sums.open for sums in audit.workers.values()] == [0, 0]

    async def _check_ends(self, bench: Bench, bus: Bus) -> None:
        """Every event has ended once for every run, and as its plan says."""
        wanted = {
            (e.id, run): ENDS[e.json()["plan"]] for run, keys in self.runs.items() for es in keys.values() for e in es
        }
        assert await bus.ends(TOY) == Counter((*identity, outcome) for identity, outcome in wanted.items())
        self.ended.update(wanted)
        dead = Counter(identity for identity, outcome in wanted.items() if outcome == "dead")
        rows = await bench.pool.fetch("SELECT event_id, replay_id, attempts, error_class FROM dead_letters")
        assert Counter((row["event_id"], row["replay_id"]) for row in rows) == dead
        assert {(row["error_class"], row["attempts"]) for row in rows} <= {("Refused", 1), ("Transient", ATTEMPTS)}

    async def _check_effects(self, bench: Bench) -> None:
        """Effects are there once, in the order of acceptance, and none was written under a lease that was gone."""
        found: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for row in await bench.pool.fetch("SELECT * FROM effects ORDER BY seq"):
            generation, _, run = row["note"].partition("|")
            found.setdefault((run, row["subject"]), []).append((row["event_id"], row["n"]))
            assert row["seq"] <= self.last_of.get(int(generation), sys.maxsize), "written without a lease"
        wanted = {
            (run, key): [(event.id, event.json()["n"]) for event in effective]
            for run, keys in self.runs.items()
            for key, events in keys.items()
            if (effective := [event for event in events if ENDS[event.json()["plan"]] == "done"])
        }
        assert found == wanted

    async def _check_journal(self, bus: Bus) -> None:
        """What came in and what was emitted is in the journal once, with the ids that follow, and in order."""
        assert await bus.journaled(TYPE) == {key: [e.id for e in es] for key, es in self.accepted.items() if es}
        emitted = await bus.journaled("contact.synced")
        everything = [event.id for event in self.events]
        for run, keys in self.runs.items():
            for key, events in keys.items():
                causes = [event for event in events if event.json()["plan"] in EMITTING]
                made = [event_id("ferryman", cause.id, run, "contact.synced", "0") for cause in causes]
                assert [one for one in emitted.get(key, []) if one in made] == made, f"emitted for {key} by run {run!r}"
                everything += made
        assert await bus.ends(JOURNAL) == Counter((i, "", "done") for i in everything)

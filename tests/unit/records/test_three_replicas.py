"""Two edges and their hub, with phones at each: random writes, cuts, lost and late requests, kills and wrong clocks.

The stores are in memory, and so is the network; what decides is the real thing. A kill is an exchange that is cut off:
each commit is one step here, and a replica loses what it has not committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest

from schemas.records.operation import Key, Verb
from tests.support.deciding import models
from tests.support.replica_checks import Checks, Own
from tests.support.replica_phones import Phone
from tests.support.replica_servers import Clock, Edge, Push, Server, World

RUNS: Final = 200
STEPS: Final = 110
HOT: Final[list[Key]] = [("Lead", f"lead_{n}") for n in range(3)]
RARE: Final[list[Key]] = [("Lead", f"lead_{n}") for n in range(3, 12)]
DAY: Final = 86_400


@dataclass
class Run:
    """One run, whose every choice comes from its *seed*."""

    seed: int
    faults: frozenset[str] = frozenset()
    late: list[Push] = field(default_factory=list)
    values: int = 0
    operations: int = 0

    def __post_init__(self) -> None:
        self.random = random = Random(self.seed)
        rules = models(random.choice(["update-wins", "delete-wins", "manual"]))
        self.world = world = World(rules, self.faults)

        def clock() -> Clock:
            return Clock(world, timedelta(seconds=random.choice([-DAY, 0, 0, DAY, random.randint(-DAY, DAY)])))

        self.hub = Server(world, "hub", clock())
        self.edges = [Edge(world, name, clock(), hub=self.hub) for name in ("north", "south")]
        at = [self.hub, *self.edges, *self.edges]
        self.phones = [Phone(world, f"phone{n}", clock(), server) for n, server in enumerate(at)]
        self.replicas: list[Phone | Edge] = [*self.phones, *self.edges]
        self.cut = {one.name: False for one in self.replicas}
        self.checks = Checks(self.hub, self.edges, self.phones)

    def go(self) -> Run:
        """Raises: Broken."""
        for _ in range(STEPS):
            self.step()
            self.checks.after_step()
        self.heal()
        self.checks.after_step()
        self.checks.at_the_end()
        return self

    def step(self) -> None:
        random = self.random
        self.world.time += timedelta(milliseconds=random.choice([0, 1, 40, 60_000, 3_600_000]))
        replica = random.choice([*self.replicas, *self.phones])
        chosen = random.random()
        if chosen < 0.04:
            self.cut[replica.name] = not self.cut[replica.name]
        elif chosen < 0.08 and self.late:
            self.late.pop(random.randrange(len(self.late))).deliver()
        elif chosen < 0.55 and isinstance(replica, Phone):
            self.write(replica)
        elif chosen < 0.78:
            self.push(replica)
        else:
            self.pull(replica)

    def write(self, phone: Phone) -> None:
        random = self.random
        key = random.choice(HOT if random.random() < 0.85 else RARE)
        saw = phone.visible(key)
        verb: Verb = "CREATE" if saw is None else "DELETE" if random.random() < 0.08 else "UPDATE"
        data = {} if verb == "DELETE" else self.data(saw)
        if verb == "CREATE":
            data = {"name": f"name{self.new()}", "owner_id": "team", **data}
        self.operations += 1
        op_id = UUID(int=self.seed * 1000 + self.operations)
        self.checks.wrote(phone, Own(op_id, key, verb, data), saw)
        phone.write(op_id, verb, key, data)

    def data(self, saw: dict[str, Any] | None) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in self.random.sample(["stage", "city", "theirs", "ours", "amount", "most", "tags"], 2):
            if name == "tags":
                members = list((saw or {}).get("tags", ()))
                if members and self.random.random() < 0.3:
                    members.remove(self.random.choice(members))
                made[name] = sorted([*members, f"tag{self.new()}"])
            elif name in ("most", "amount"):
                made[name] = self.new() * 7919 % 100_003
            else:
                made[name] = f"{name}{self.new()}"
        return made

    def new(self) -> int:
        self.values += 1
        return self.values

    def push(self, replica: Phone | Edge) -> None:
        """It goes well; or the request comes late; or its answer is lost, and it may come again."""
        if self.cut[replica.name] or (asked := replica.request(self.random.randint(1, 4))) is None:
            return
        fate = self.random.random()
        if fate < 0.15:
            self.late.append(asked)
            return
        answers = asked.deliver()
        if fate < 0.4:
            self.late += [asked] if fate < 0.25 else []
            return
        replica.settle(asked, answers)

    def pull(self, replica: Phone | Edge) -> None:
        server = replica.server if isinstance(replica, Phone) else self.hub
        if not self.cut[replica.name]:
            changes, cursor = server.pull(replica.cursor, self.random.randint(1, 2))
            if self.random.random() < 0.85:
                replica.take(changes, cursor)

    def heal(self) -> None:
        """Every link holds, and nothing is lost any more."""
        while self.late:
            self.late.pop().deliver()
        for _ in range(12):
            self.world.time += timedelta(seconds=1)
            for replica in (*self.replicas, *reversed(self.replicas)):
                asked = replica.request(50)
                if asked is not None:
                    replica.settle(asked, asked.deliver())
                server = replica.server if isinstance(replica, Phone) else self.hub
                replica.take(*server.pull(replica.cursor, 1000))


@pytest.mark.parametrize("part", range(4))
def test_replicas_agree_and_nothing_is_lost_on_the_way(part: int) -> None:
    operations = conflicts = 0
    for seed in range(part, RUNS, 4):
        try:
            run = Run(seed).go()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken
        operations += run.operations
        conflicts += sum(len(server.conflicts) for server in (run.hub, *run.edges))
    assert operations > RUNS / 4 * 20
    assert conflicts > RUNS / 4 * 2, "they have hardly met"


FAULTS: Final = (
    "forwards what lost",
    "drops the overlay",
    "no foreign stamps",
    "no ledger",
    "no tombstones",
    "cursor jumps",
    "pulls without overlay",
    "knows what is hidden",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_mistake_is_noticed(fault: str) -> None:
    """A test of the checks: what they would not notice, they do not prove."""
    for seed in range(RUNS):
        try:
            Run(seed, frozenset({fault})).go()
        except AssertionError:
            return
    pytest.fail("nobody noticed")

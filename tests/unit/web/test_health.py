"""/readyz: what it says follows from the watchers, the intake and the leases."""

from __future__ import annotations

from typing import Any, cast

import pytest

from daemon.bus.intake import Intake
from daemon.bus.leases import Leases
from daemon.web.health import Readiness
from tests.support.bus import FixedLeases
from tests.support.services import unwatched


class Accepting:
    """An intake that accepts as told."""

    def __init__(self, accepting: str) -> None:
        self.accepting = accepting


def readiness(accepting: str, down: tuple[str, ...] = ()) -> Readiness:
    stores = unwatched()
    for watch in (stores.redis, stores.postgres):
        if watch.name in down:
            watch.noticed(OSError())
    leases: Leases = FixedLeases({3: 7, 1: 7})
    return Readiness(stores, cast("Intake", Accepting(accepting)), leases, ["contact-sync"])


@pytest.mark.parametrize(("accepting", "ready"), [("redis", True), ("spool", True), ("no", False)])
def test_a_process_is_ready_while_it_can_accept(accepting: str, ready: bool) -> None:
    document = readiness(accepting).ready()
    assert (document["ready"], document["accepting"]) == (ready, accepting)


@pytest.mark.parametrize("down", [(), ("redis",), ("postgres",), ("redis", "postgres")])
def test_each_store_is_as_its_watcher_says(down: tuple[str, ...]) -> None:
    document = readiness("redis", down).ready()
    assert {name for name in ("redis", "postgres") if document[name] == "down"} == set(down)
    assert {name for name in ("redis", "postgres") if document[name] == "up"} == {"redis", "postgres"} - set(down)


def test_the_partitions_that_may_be_read_are_listed_by_worker() -> None:
    assert readiness("redis").ready()["leases"] == {"contact-sync": [1, 3]}


def test_a_process_that_stops_is_not_ready() -> None:
    stopping = readiness("redis")
    stopping.stop()
    document: dict[str, Any] = stopping.ready()
    assert (document["ready"], document["accepting"], document["redis"]) == (False, "no", "up")

"""No address shuts out the others, and each connection is counted once."""

from __future__ import annotations

import random

import pytest

from daemon.telemetry.metrics import Metrics
from daemon.web.connections import FEW, MOST, MOST_OF_ONE, RESERVE, Connections, address_of
from daemon.web.metrics import METRICS


def taken(room: Connections, address: str, times: int) -> int:
    return sum(room.enter(address) for _ in range(times))


def test_one_address_has_its_share_and_others_come_in() -> None:
    metrics = Metrics(METRICS)
    room = Connections(metrics)
    assert taken(room, "a", 5000) == MOST_OF_ONE
    assert taken(room, "b", 10) == 10
    page = metrics.render()[0].decode()
    assert f'ferryman_connections_refused_total{{reason="share"}} {5000 - MOST_OF_ONE}' in page
    assert 'ferryman_connections_refused_total{reason="all"} 0' in page


def test_several_addresses_leave_a_reserve_for_those_that_have_few() -> None:
    room = Connections(Metrics(METRICS))
    assert taken(room, "a", 5000) + taken(room, "b", 5000) == MOST - RESERVE
    assert taken(room, "health", 10) == FEW
    assert sum(taken(room, str(n), 10) for n in range(1000)) == RESERVE - FEW  # and not more than there is room for


def test_what_leaves_makes_room() -> None:
    rng, room = random.Random(7), Connections(Metrics(METRICS))
    inside: list[str] = []
    for _ in range(20_000):
        if inside and rng.random() < 0.4:
            room.leave(inside.pop(rng.randrange(len(inside))))
        elif room.enter(address := rng.choice("abcdef")):
            inside.append(address)
        assert len(inside) <= MOST
    for address in inside:
        room.leave(address)
    assert taken(room, "a", 5000) == MOST_OF_ONE


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 5, 0, 0), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.7", 5, 0, 0), "::ffff:192.0.2.7"),
        (("fe80::1%eth0", 5, 0, 3), "fe80::/64"),
        (("odd", 5), "odd"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_host_has_one_address_whatever_it_calls_itself(peer: object, address: str) -> None:
    assert address_of(peer) == address

"""The memory of recent events: what was published comes back as it was and in order, for a while and up to a size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.redis import recent
from adapters.redis.recent import KEPT_S, Batch, Recent
from schemas.envelope import Event, to_fields
from tests.support.toy import make_event

batches = st.lists(
    st.lists(st.builds(make_event, st.text("ab+1", min_size=1), st.integers(0, 9)), min_size=1, max_size=4), max_size=4
)


class Clock:
    """Monotonic seconds that pass when told."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recent, "time", clock)
    return clock


def added(kept: Recent, *events: Event) -> Batch:
    return kept.add([to_fields(event) for event in events])


@given(batches)
def test_what_was_published_comes_back_as_it_was_and_in_its_order(published: list[list[Event]]) -> None:
    kept = Recent()
    for batch in published:
        added(kept, *batch)
    assert kept.events() == [event for batch in published for event in batch]


def test_what_is_older_than_the_time_kept_is_gone(clock: Clock) -> None:
    kept, old, new = Recent(), make_event("a", 1), make_event("a", 2)
    added(kept, old)
    clock.now += KEPT_S
    added(kept, new)
    assert kept.events() == [old, new]
    clock.now += 0.1
    assert kept.events() == [new]


def test_nothing_ages_while_held(clock: Clock) -> None:
    kept, old, new = Recent(), make_event("a", 1), make_event("a", 2)
    added(kept, old)
    kept.hold()
    clock.now += 10 * KEPT_S
    added(kept, new)
    assert kept.events() == [old, new]
    kept.release()
    assert kept.events() == [new]


def test_the_oldest_go_first_when_it_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "KEPT_BYTES", 10_000)
    kept = Recent()
    events = [make_event("a", n)._replace(data=b"x" * 1000) for n in range(30)]
    for event in events:
        added(kept, event)
    left = kept.events()
    assert 5 < len(left) < 10
    assert left == events[-len(left) :]


def test_what_the_server_has_had_is_told_with_its_ids_the_newest_first_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Recent()
    events = [make_event("a", n) for n in range(6)]
    for n, failed in ((0, False), (2, True), (4, False)):
        batch = added(kept, *events[n : n + 2])
        if not failed:
            kept.is_there(batch, [b"%d-0" % n, b"%d-1" % n])
    assert kept.there() == [(events[4], b"4-0"), (events[5], b"4-1"), (events[0], b"0-0"), (events[1], b"0-1")]
    monkeypatch.setattr(recent, "COMPARED", 3)
    assert len(kept.there()) == 3
    kept.forget_ids()
    assert kept.there() == []
    assert kept.events() == events


def test_what_the_server_has_had_does_not_age_while_nothing_is_published(clock: Clock) -> None:
    """The server may have been away for long when it is looked at."""
    kept, event = Recent(), make_event("a", 1)
    kept.is_there(added(kept, event), [b"1-0"])
    clock.now += 10 * KEPT_S
    assert kept.events() == []
    assert kept.there() == [(event, b"1-0")]

"""The breaker of a provider: when it stops calls, what it lets through, when it closes again."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.channel import DOWN_PROBE_S, FAILURES_TO_OPEN, PROBE_S, Breaker
from adapters.damping import LINES_WITHIN_S, MOST_LINES
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    Malformed,
    Permanent,
    Refused,
    Transient,
    Uncertain,
)

AWAY: Final = Transient("connection refused")
LIMITED: Final = Transient("429", limited=True)
DOWN: Final = ChannelDown("the token was revoked", channel="test")


class Bed:
    """A breaker on a clock that stands still, and the calls that got through."""

    def __init__(self) -> None:
        self.now = 500.0
        self.breaker = Breaker("test", clock=lambda: self.now)
        self.calls = 0

    def closed(self) -> bool:
        """Whether calls go through freely."""
        return self.breaker.closed

    async def call(self, error: BaseException | None = None) -> str:
        async def provider() -> str:
            self.calls += 1
            if error is not None:
                raise error
            return "answer"

        return await self.breaker.call(provider)

    async def fail(self, error: BaseException, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(type(error)):
                await self.call(error)

    async def refused(self) -> bool:
        """Whether a call is stopped before it is made."""
        before = self.calls
        try:
            await self.call()
        except ChannelClosed:
            assert self.calls == before
            return True
        return False


@pytest.fixture
def bed() -> Bed:
    return Bed()


@pytest.mark.parametrize("error", [AWAY, Uncertain("no answer")], ids=["transient", "uncertain"])
async def test_it_opens_after_failures_in_a_row_and_then_nothing_is_called(bed: Bed, error: FerrymanError) -> None:
    await bed.fail(error, FAILURES_TO_OPEN - 1)
    assert bed.closed()
    await bed.fail(error)
    assert not bed.closed()
    assert await bed.refused()


async def test_an_answer_in_between_begins_the_row_anew(bed: Bed) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN - 1)
    assert await bed.call() == "answer"
    await bed.fail(AWAY, FAILURES_TO_OPEN - 1)
    assert bed.closed()


@pytest.mark.parametrize("error", [Refused("no"), Permanent("no"), Malformed("no")])
async def test_a_refusal_is_an_answer(bed: Bed, error: FerrymanError) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN - 1)
    assert bed.breaker.answered_at == float("-inf")
    await bed.fail(error)
    assert bed.breaker.answered_at == bed.now
    await bed.fail(AWAY, FAILURES_TO_OPEN - 1)
    assert bed.closed()


async def test_a_refusal_of_the_probe_closes_it(bed: Bed) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN)
    bed.now += PROBE_S
    await bed.fail(Refused("no"))
    assert bed.closed()


async def test_a_rate_refusal_is_neither_a_failure_nor_an_answer(bed: Bed) -> None:
    await bed.fail(LIMITED, FAILURES_TO_OPEN * 3)
    assert bed.closed()
    assert bed.breaker.answered_at == float("-inf")
    await bed.fail(AWAY, FAILURES_TO_OPEN - 1)
    await bed.fail(LIMITED)
    await bed.fail(AWAY)
    assert not bed.closed()  # the row went on through it
    bed.now += PROBE_S
    await bed.fail(LIMITED)
    assert not bed.closed()


async def test_what_was_not_sent_is_neither_a_failure_nor_an_answer(bed: Bed) -> None:
    await bed.fail(LeaseLost("run out"), FAILURES_TO_OPEN * 3)
    assert bed.closed()
    assert bed.breaker.answered_at == float("-inf")
    await bed.fail(AWAY, FAILURES_TO_OPEN)
    bed.now += PROBE_S
    await bed.fail(LeaseLost("run out"))
    assert not bed.closed()


async def test_one_probe_at_a_time(bed: Bed) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN)
    bed.now += PROBE_S
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slow() -> str:
        return await answer

    probe = asyncio.create_task(bed.breaker.call(slow))
    await asyncio.sleep(0)
    bed.now += 10 * PROBE_S
    assert not bed.breaker.may_probe
    assert await bed.refused()
    answer.set_result("back")
    assert await probe == "back"
    assert bed.closed()
    assert not await bed.refused()


async def test_it_is_probed_at_most_every_five_seconds(bed: Bed) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN)
    began, bed.calls, probes = bed.now, 0, []
    while bed.now < began + 60:
        if bed.breaker.may_probe:
            await bed.fail(AWAY)
            probes.append(bed.now)
        assert await bed.refused()
        bed.now += 0.25
    assert bed.calls == len(probes) == 11
    assert probes[0] >= began + PROBE_S
    assert all(b - a >= PROBE_S for a, b in pairwise(probes))


async def test_a_probe_that_succeeds_closes_it_and_the_row_begins_anew(bed: Bed) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN)
    bed.now += PROBE_S
    assert await bed.call() == "answer"
    assert bed.closed()
    assert bed.breaker.answered_at == bed.now
    await bed.fail(AWAY, FAILURES_TO_OPEN - 1)
    assert bed.closed()


@pytest.mark.parametrize("error", [RuntimeError("fault"), asyncio.CancelledError()], ids=["fault", "cancelled"])
async def test_a_probe_that_ends_oddly_does_not_block_the_next(bed: Bed, error: BaseException) -> None:
    await bed.fail(AWAY, FAILURES_TO_OPEN)
    bed.now += PROBE_S
    await bed.fail(error)
    assert not bed.closed()
    bed.now += PROBE_S
    assert await bed.call() == "answer"


async def test_a_channel_that_is_down_is_closed_at_once_logged_once_and_probed_every_thirty_seconds(bed: Bed) -> None:
    with capture_logs() as lines:
        await bed.fail(DOWN)
        assert not bed.closed()
        began, bed.calls, probes = bed.now, 0, []
        while bed.now < began + 5 * DOWN_PROBE_S:
            if bed.breaker.may_probe:
                await bed.fail(DOWN)
                probes.append(bed.now)
            assert await bed.refused()
            bed.now += 1
        assert bed.calls == len(probes) == 4
        assert probes[0] >= began + DOWN_PROBE_S
        assert all(b - a >= DOWN_PROBE_S for a, b in pairwise(probes))
    assert [line["event"] for line in lines] == ["provider.down"]


async def test_the_return_of_a_channel_is_logged_and_its_next_outage_too(bed: Bed) -> None:
    with capture_logs() as lines:
        await bed.fail(DOWN)
        bed.now += DOWN_PROBE_S
        assert await bed.call() == "answer"
        assert bed.closed()
        await bed.fail(DOWN)
    assert [line["event"] for line in lines] == ["provider.down", "provider.back", "provider.down"]


async def test_a_state_that_changes_all_the_time_is_told_a_few_times_and_then_once_a_while(bed: Bed) -> None:
    bed.breaker = Breaker("test", clock=lambda: bed.now)
    with capture_logs() as lines:
        for _ in range(200):  # in six seconds
            await bed.fail(Refused("no"))
            bed.breaker._next_probe = 0.0  # as if every call were the probe
            await bed.fail(DOWN)
            bed.breaker._next_probe = 0.0
            bed.now += 0.03
        assert len(lines) == MOST_LINES
        bed.now += LINES_WITHIN_S
        assert await bed.call() == "answer"
    late = [line for line in lines if line["event"] == "provider.changed"]
    assert [(line["open"], line["changes"]) for line in late] == [(True, 400 - 1 - MOST_LINES)]
    assert lines[-1]["event"] == "provider.back"


@given(st.lists(st.sampled_from(["ok", "away", "limited", "refused"]), max_size=60))
async def test_it_is_open_exactly_when_the_last_answers_say_so(answers: list[str]) -> None:
    bed, row = Bed(), 0
    errors: dict[str, FerrymanError | None] = {"ok": None, "away": AWAY, "limited": LIMITED, "refused": Refused("no")}
    for answer in answers:
        bed.now += DOWN_PROBE_S  # a probe is always due
        error = errors[answer]
        if error is None:
            await bed.call()
        else:
            await bed.fail(error)
        row = {"away": row + 1, "limited": row}.get(answer, 0)
        assert bed.closed() == (row < FAILURES_TO_OPEN)


async def test_an_account_that_was_at_fault_is_asked_at_once_when_its_key_has_changed() -> None:
    bed = Bed()
    await bed.fail(DOWN)
    assert await bed.refused()
    bed.breaker.probe_now()
    assert await bed.call() == "answer"
    assert bed.closed()


async def test_no_more_than_one_call_finds_out_whether_the_new_key_is_taken() -> None:
    bed = Bed()
    await bed.fail(DOWN)
    bed.breaker.probe_now()
    await bed.fail(DOWN)
    assert await bed.refused()

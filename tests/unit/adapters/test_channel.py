"""The breakers of one channel together: reading that works must not hide that writing does not."""

from __future__ import annotations

from typing import Literal

import pytest

from adapters.channel import DOWN_PROBE_S, FAILURES_TO_OPEN, PROBE_S, UNPROBED_S, Channel, ChannelState
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, Transient


class Bed:
    def __init__(self) -> None:
        self.now = 100.0
        self.channel = Channel("test", clock=lambda: self.now)

    async def call(self, kind: Literal["read", "write"], error: FerrymanError | None = None) -> None:
        async def make() -> None:
            if error is not None:
                raise error

        await self.channel.call(kind, make)

    def is_shut(self) -> bool:
        return self.channel.shut


async def test_an_outage_of_writes_alone_is_seen_although_reads_go_on() -> None:
    bed = Bed()
    for _ in range(FAILURES_TO_OPEN):
        await bed.call("read")
        with pytest.raises(Transient) as failed:
            await bed.call("write", Transient("502"))
        assert (failed.value.channel, failed.value.operation) == ("test", "write")
        assert not bed.channel.answered_since(float("-inf"), failed.value)
    assert not bed.channel.closed
    await bed.call("read")
    with pytest.raises(ChannelClosed):
        await bed.call("write")
    bed.now += PROBE_S
    assert bed.channel.may_probe
    await bed.call("write")
    assert bed.channel.closed


async def test_an_error_that_came_from_no_call_is_the_event_s_own() -> None:
    assert Bed().channel.answered_since(0.0, Transient("of the handler"))


async def test_a_paused_channel_is_not_called_and_not_probed() -> None:
    bed = Bed()
    bed.channel.paused = True
    kinds: tuple[Literal["read", "write"], ...] = ("read", "write")
    for kind in kinds:
        with pytest.raises(ChannelClosed):
            await bed.call(kind)
    assert not bed.channel.closed
    assert not bed.channel.may_probe
    assert bed.channel.shut
    bed.channel.paused = False
    await bed.call("read")
    assert bed.channel.closed


async def test_a_channel_is_shut_for_what_may_go_elsewhere_until_nobody_finds_out_whether_it_is_back() -> None:
    bed = Bed()
    with pytest.raises(ChannelDown):
        await bed.call("write", ChannelDown("401", channel="test"))
    assert bed.is_shut()
    bed.now += DOWN_PROBE_S
    assert (bed.channel.may_probe, bed.is_shut()) == (True, True), "who waits for it finds out"
    bed.now += UNPROBED_S
    assert not bed.is_shut(), "nobody waits for it"
    with pytest.raises(ChannelDown):
        await bed.call("write", ChannelDown("401", channel="test"))
    assert bed.is_shut()
    bed.now += DOWN_PROBE_S
    await bed.call("write")
    assert (bed.channel.closed, bed.is_shut()) == (True, False)


async def test_a_channel_is_shut_while_a_call_finds_out_for_however_long() -> None:
    bed = Bed()
    with pytest.raises(ChannelDown):
        await bed.call("write", ChannelDown("401", channel="test"))
    bed.now += DOWN_PROBE_S

    async def long() -> None:
        bed.now += DOWN_PROBE_S + UNPROBED_S
        assert bed.is_shut()

    await bed.channel.call("write", long)
    assert not bed.is_shut()


async def test_a_channel_tells_its_state_since_when_and_the_code_of_its_last_error() -> None:
    bed = Bed()
    assert bed.channel.state == ChannelState("unused")
    await bed.call("read")
    assert bed.channel.state == ChannelState("up")
    failure = Transient("CGB: HTTP 500")
    failure.code = "http-500"
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient):
            await bed.call("write", failure)
    bed.now += 2
    assert bed.channel.state == ChannelState("away", 2, "http-500", 2, PROBE_S - 2)
    assert bed.channel.why_closed == "test does not answer as it should (http-500)"
    bed.now += PROBE_S
    await bed.call("write")
    assert bed.channel.state == ChannelState("up", 0, "http-500", 2 + PROBE_S)
    assert bed.channel.why_closed == ""


async def test_of_reads_and_writes_the_state_that_stops_more_counts() -> None:
    bed = Bed()
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient):
            await bed.call("read", Transient("away"))
    with pytest.raises(ChannelDown):
        await bed.call("write", ChannelDown("401", channel="test"))
    assert (bed.channel.state.word, bed.channel.state.error) == ("refused", "channel-down")


async def test_what_the_system_asked_for_is_a_state_until_its_time_is_over() -> None:
    bed = Bed()
    bed.channel.heard(30)
    assert (bed.channel.state.word, bed.channel.why_closed) == ("asked", "test has asked us to wait")
    assert bed.channel.closed
    bed.now += 31
    assert bed.channel.state.word == "unused"


async def test_a_pause_of_the_operator_does_not_pass_off_an_earlier_change_as_its_beginning() -> None:
    bed = Bed()
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient):
            await bed.call("write", Transient("502"))
    bed.now += PROBE_S
    await bed.call("write")
    bed.now += 60
    assert (bed.channel.state.word, bed.channel.state.since_s) == ("up", 60)
    bed.channel.paused = True
    assert (bed.channel.state.word, bed.channel.state.since_s) == ("paused", None)
    bed.channel.paused = False
    bed.channel.heard(10)
    assert (bed.channel.state.word, bed.channel.state.since_s) == ("asked", None)

"""The breakers of one channel together: reading that works must not hide that writing does not."""

from __future__ import annotations

from typing import Literal

import pytest

from adapters.channel import FAILURES_TO_OPEN, PROBE_S, Channel
from schemas.errors import ChannelClosed, FerrymanError, Transient


class Bed:
    def __init__(self) -> None:
        self.now = 100.0
        self.channel = Channel("test", clock=lambda: self.now)

    async def call(self, kind: Literal["read", "write"], error: FerrymanError | None = None) -> None:
        async def make() -> None:
            if error is not None:
                raise error

        await self.channel.call(kind, make)


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
    bed.channel.paused = False
    await bed.call("read")
    assert bed.channel.closed

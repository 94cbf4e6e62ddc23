"""The directory behind its breakers: what makes no call is no sign of life."""

from __future__ import annotations

from typing import Any, cast

import pytest

from adapters.ports import ContactDirectory
from daemon.bus.breakers import FAILURES_TO_OPEN, PROBE_S, Provider
from daemon.bus.settle import BreakerOpen
from daemon.guarded import GuardedDirectory
from schemas.contacts import DirectoryContact
from schemas.errors import Transient
from schemas.phone import Phone

PHONE = Phone("+972505550142")


class Directory:
    """A directory that knows the names of its fields and cannot be reached."""

    def __init__(self) -> None:
        self.away = True
        self.at_hand = True
        self.calls: list[str] = []

    def asks(self, question: str) -> bool:
        return question == "field_names" and not self.at_hand

    async def field_names(self) -> frozenset[str]:
        if not self.at_hand:
            self._call("field_names")
        return frozenset({"Email"})

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        return None

    async def find(self, phone: Phone) -> DirectoryContact | None:
        self._call("find")
        return None

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.away:
            raise Transient("503")


class Guarded:
    """A guarded directory whose clock we turn."""

    def __init__(self) -> None:
        self.now = 100.0
        self.behind = Directory()
        self.provider = Provider("test", clock=lambda: self.now)
        self.directory = GuardedDirectory(cast("ContactDirectory", cast("Any", self.behind)), self.provider)

    async def look(self) -> DirectoryContact | None:
        """As a worker does: the names of the fields, then the contact."""
        self.now += 0.01
        await self.directory.field_names()
        self.now += 0.01
        found = await self.directory.find(PHONE)
        await self.directory.has_whatsapp(PHONE)
        return found


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


async def test_names_at_hand_do_not_hide_an_outage(guarded: Guarded) -> None:
    began = guarded.now
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient) as caught:
            await guarded.look()
        assert not guarded.provider.answered_since(began, caught.value)
    assert not guarded.provider.closed
    with pytest.raises(BreakerOpen):
        await guarded.look()
    assert guarded.behind.calls == ["find"] * FAILURES_TO_OPEN


async def test_names_at_hand_do_not_bring_a_provider_back(guarded: Guarded) -> None:
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient):
            await guarded.look()
    guarded.now += PROBE_S
    with pytest.raises(Transient):
        await guarded.look()
    assert not guarded.provider.closed
    guarded.behind.away = False
    guarded.now += PROBE_S
    assert await guarded.look() is None
    assert guarded.provider.closed


async def test_names_that_must_be_asked_for_are_asked_through_the_breaker(guarded: Guarded) -> None:
    guarded.behind.at_hand = False
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient):
            await guarded.look()
    assert not guarded.provider.closed
    with pytest.raises(BreakerOpen):
        await guarded.look()
    assert guarded.behind.calls == ["field_names"] * FAILURES_TO_OPEN

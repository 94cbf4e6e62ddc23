"""Answers what only this process knows: where an event stands in its lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from adapters.channel import Channels
from adapters.redis import questions
from adapters.redis.client import Redis
from adapters.redis.streams import StreamErrors
from daemon.bus.lane_view import LanePlace, place_of
from daemon.bus.lanes import Lanes

WAIT_S: Final = 2.0
"""How long one look for a question waits on the server."""

AWAY_S: Final = 1.0


class Holding(Protocol):
    """A consumer, as far as it is asked about."""

    lanes: Lanes

    @property
    def name(self) -> str:
        """The worker's name."""
        ...


class Answering:
    """*me*: the process's name in the table of leases. *redis*: a client whose connections may wait. *channels*: tell
    when one that is away is tried again."""

    def __init__(self, redis: Redis, me: str, consumers: Sequence[Holding], channels: Channels) -> None:
        self._channels = channels
        self._redis = redis
        self._me = me
        self._lanes = {consumer.name: consumer.lanes for consumer in consumers}

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until *stop*. While Redis is away there is nobody who could ask."""
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                look = asyncio.create_task(self._round())
                await asyncio.wait({look, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not look.done():
                    look.cancel()
                    await asyncio.wait({look})
                elif look.exception() is not None:
                    await self._survive(look.exception(), stopped)
        finally:
            stopped.cancel()

    async def _survive(self, error: BaseException | None, stopped: asyncio.Task[bool]) -> None:
        """A store that is away is waited for; another error is the program's."""
        if error is not None and not isinstance(error, StreamErrors):
            raise error
        await asyncio.wait({stopped}, timeout=AWAY_S)

    async def _round(self) -> None:
        question = await questions.next_question(self._redis, self._me, WAIT_S)
        if question is not None:
            await questions.answer(self._redis, question, self._answer(question.asked).document())

    def _answer(self, asked: Mapping[str, Any]) -> LanePlace:
        lanes = self._lanes.get(str(asked.get("worker")))
        if lanes is None:
            return LanePlace(state="absent")
        event = str(asked.get("event_id")), str(asked.get("replay_id", ""))
        place = place_of(lanes, event, str(asked.get("subject")), asyncio.get_running_loop().time())
        head = place if place.head is None else place.head
        if head.channel is None or (probe_s := self._channels[head.channel].state.probe_s) is None:
            return place
        probed = replace(head, next_at=datetime.now(UTC) + timedelta(seconds=probe_s))
        return probed if place.head is None else replace(place, head=probed)

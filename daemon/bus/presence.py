"""Says what this process is and does, in the table `members`, while it lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import orjson
import structlog

from adapters.channel import Channel, Channels
from adapters.postgres.bus import members
from adapters.postgres.pool import Pool
from daemon.bus.consumer import Consumer
from daemon.bus.worker import Clock, utc_now
from daemon.lifecycle import Periodic
from daemon.stores.health import store_away
from daemon.telemetry.failures import fields
from daemon.telemetry.report import ProviderReport, Report

LOOK_S: Final = 1.0
"""How soon a change is in the row, in seconds."""

TELL_S: Final = 5.0
"""How often the row is written without a change; well below members.LIVE_S, after which a process is taken for dead."""

FORGET_S: Final = 600.0
"""How often the rows of processes that died long ago are deleted."""

log = structlog.get_logger(__name__)


class Presence(Periodic):
    """Writes the process's row again and again. *me*: the process's name in the table of leases. *about*: what the
    settings make of the process. *credentials*: gives the stored accounts, and why one cannot be used. *listens*: where
    it takes webhooks, "" until it does."""

    def __init__(
        self,
        pool: Pool,
        me: str,
        about: Report,
        consumers: Sequence[Consumer],
        channels: Channels,
        now: Clock = utc_now,
        credentials: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__("presence", self._round, every_s=LOOK_S, skip=self._survive)
        self._pool = pool
        self._me = me
        self._consumers = consumers
        self._channels = channels
        self._now = now
        self._credentials = credentials
        at = now()
        self._self = replace(about, host=socket.gethostname(), pid=os.getpid(), started_at=at, settings_at=at)
        self.listens = ""
        self._told = b""
        self._told_at = self._forgot_at = float("-inf")
        self._failing = False

    def renew(self, about: Report) -> None:
        """The process has read its settings again, which make *about* of it."""
        before = self._self
        self._self = replace(
            about, host=before.host, pid=before.pid, started_at=before.started_at, settings_at=self._now()
        )
        self.wake()

    @property
    def report(self) -> Report:
        """What is said now."""
        waiting = [consumer.lanes.parked for consumer in self._consumers]
        providers = {
            channel.name: _provider(channel, sum(parked.get(channel.name, 0) for parked in waiting), self._now())
            for channel in self._channels.all()
        }
        return replace(self._self, listens=self.listens, providers=providers, credentials=self._credentials())

    async def leave(self) -> None:
        """Delete the row: the process ends."""
        with contextlib.suppress(Exception):  # then it is no longer believed after members.LIVE_S
            async with asyncio.timeout(LOOK_S):
                await members.leave(self._pool, self._me)

    async def _round(self) -> None:
        now = time.monotonic()
        report = orjson.dumps(self.report.document())
        if report == self._told and now - self._told_at < TELL_S:
            return
        await members.tell(self._pool, self._me, report.decode())
        self._told, self._told_at, self._failing = report, now, False
        if now - self._forgot_at >= FORGET_S:
            await members.forget_old(self._pool)
            self._forgot_at = now

    def _survive(self, exc: Exception) -> bool:
        """No error ends the process, which works without telling. One line a fault: an outage has the watcher's."""
        if not store_away(exc) and not self._failing:
            self._failing = True
            log.error("presence.not_told", **fields(exc))
        return True


def _provider(channel: Channel, waiting: int, now: datetime) -> ProviderReport:
    state = channel.state
    return ProviderReport(
        state=state.word,
        since=_before(now, state.since_s),
        error=state.error,
        error_at=_before(now, state.error_s),
        waiting=waiting,
        lacks=channel.lacks,
    )


def _before(now: datetime, seconds: float | None) -> datetime | None:
    """The time so many seconds ago, to the second."""
    return None if seconds is None else (now - timedelta(seconds=seconds)).replace(microsecond=0)

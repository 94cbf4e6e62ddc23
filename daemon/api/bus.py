"""`/api/v1/bus` and `/api/v1/settings`: who owns what and what waits; and what this process goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import guarded, json_answer
from daemon.operator import bus_state
from daemon.settings.in_force import InForce
from daemon.settings.load import shown
from schemas.api.bulk import SettingList, Shown


@dataclass(frozen=True, slots=True)
class BusApi:
    """The routes of the bus and of settings."""

    pool: Pool
    bus: Streams
    in_force: InForce
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get("/api/v1/bus", guarded(self.access, self._bus, write=False)),
            web.get("/api/v1/settings", guarded(self.access, self._settings, write=False)),
        ]

    @described("Partitions, leases, members and streams", gives=Shown)
    async def _bus(self, request: web.Request) -> web.Response:
        """By worker: who owns each partition, what it has not read, and what it has not finished."""
        return json_answer(await bus_state.document(self.pool, self.bus, self.in_force.settings.ferryman_partitions))

    @described("The settings in force, masked", gives=SettingList)
    async def _settings(self, request: web.Request) -> web.Response:
        rows = shown(self.in_force.settings)
        return json_answer({"data": [{"name": name, "value": value, "origin": origin} for name, value, origin in rows]})

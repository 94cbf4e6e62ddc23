"""`/api/v1/privacy`: what is kept about people: a map, one person's data, their end, and its proof. For admins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.operator.privacy import erasures
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, read
from daemon.api.tokens import actor_of
from daemon.bus.worker import Outside
from daemon.conversations.archive.wiring import open_store
from daemon.operator.privacy import exporting, verifying
from daemon.operator.privacy import map as privacy_map
from daemon.operator.privacy.erasing import Eraser, receipt_of
from daemon.operator.privacy.outside import Beyond, chatwoot_of
from daemon.operator.privacy.service import keep_receipt
from daemon.records.pushing.service import Records
from daemon.settings.in_force import InForce
from schemas.api.privacy import (
    ErasurePlan,
    ErasureReceipt,
    Erasures,
    FoundPlaces,
    PersonIn,
    PrivacyMap,
)

PATH: Final = "/api/v1/privacy"
ZIP: Final = "application/zip"
SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class PrivacyApi:
    """The routes of privacy."""

    pool: Pool
    bus: Streams
    in_force: InForce
    access: Access
    outside: Outside
    records: Records

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(f"{PATH}/map", guarded(self.access, self._map, write=True)),
            web.get(f"{PATH}/erasures", guarded(self.access, self._list, write=True)),
            web.post(f"{PATH}/export", guarded(self.access, self._export, write=True)),
            web.post(f"{PATH}/verify", guarded(self.access, self._verify, write=True)),
            web.post(f"{PATH}/plan", guarded(self.access, self._plan, write=True)),
            web.post(f"{PATH}/erase", guarded(self.access, self._erase, write=True)),
        ]

    @described("Show what is kept about people", gives=PrivacyMap)
    async def _map(self, request: web.Request) -> web.Response:
        return json_answer({"data": privacy_map.documents(self.in_force.settings)})

    @described("List the newest erasures", gives=Erasures)
    async def _list(self, request: web.Request) -> web.Response:
        """Numbers alone: they name nobody."""
        return json_answer({"data": [receipt_of(one) for one in await erasures.newest(self.pool, SHOWN)]})

    @described("Give all that is kept about a person", takes=PersonIn, gives=ZIP, problems=(404,))
    async def _export(self, request: web.Request) -> web.Response:
        """An archive of JSON lines by table, with an index and digests. Other people in it are masked."""
        asked = read(PersonIn, parse_object, await body_of(request))
        async with self._eraser(request) as one:
            made = await exporting.exported(self.pool, self.bus, one.beyond, asked.person, one.actor)
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="person.zip"'}
        return web.Response(body=made.body, content_type=ZIP, headers=headers)

    @described("Search for a person everywhere", takes=PersonIn, gives=FoundPlaces)
    async def _verify(self, request: web.Request) -> web.Response:
        """Every column, stream, key, object and log file of ours. It takes as long as reading all of them."""
        asked = read(PersonIn, parse_object, await body_of(request))
        found = await verifying.verify(self.pool, self.bus, self.in_force.settings, asked.person)
        return json_answer({"clean": not found, "data": [one._asdict() for one in found]})

    @described("Say what would be erased of a person", takes=PersonIn, gives=ErasurePlan, problems=(404,))
    async def _plan(self, request: web.Request) -> web.Response:
        asked = read(PersonIn, parse_object, await body_of(request))
        async with self._eraser(request) as one:
            return json_answer(await one.plan(asked.person))

    @described("Erase a person for good", takes=PersonIn, gives=ErasureReceipt, problems=(404, 409))
    async def _erase(self, request: web.Request) -> web.Response:
        """Everywhere; nothing that comes late brings them back, and an order that they place later begins anew. Where
        it is cut short, the same request goes on. It takes seconds, and minutes where much is kept."""
        asked = read(PersonIn, parse_object, await body_of(request))
        async with self._eraser(request) as one:
            receipt = await one.erase(asked.person)
        keep_receipt(self.in_force.settings, receipt)
        return json_answer(receipt)

    @asynccontextmanager
    async def _eraser(self, request: web.Request) -> AsyncIterator[Eraser]:
        async with open_store(self.outside) as archive:
            beyond = Beyond(archive=archive, records=self.records, chatwoot=chatwoot_of(self.outside))
            yield Eraser(
                pool=self.pool,
                bus=self.bus,
                settings=self.in_force.settings,
                beyond=beyond,
                actor=actor_of(request),
            )

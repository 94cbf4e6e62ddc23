"""`/api/v1/sync/conflicts`: values of records that met, looked at and decided."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.operator.record_conflicts import Wanted
from adapters.postgres.pool import Pool
from daemon.api.access import Access, Refused, principal_of
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, query_of, read
from daemon.operator import records_conflicts
from daemon.operator.records_conflicts import Changed, Decided, NotAllowed
from daemon.records.pushing.service import Records
from daemon.settings.in_force import InForce
from daemon.web.problems import problem
from schemas.api.sync_conflicts import SyncConflict, SyncConflictDecision, SyncConflictQuery, SyncConflicts
from schemas.records.operation import MOST_BYTES

PATH: Final = "/api/v1/sync/conflicts"
_NUMBER: Final = "the conflict's number"
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SyncConflictsApi:
    """The routes of conflicts."""

    pool: Pool
    in_force: InForce
    access: Access
    records: Records
    _deciding: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A decision holds a connection while the records take another one: one at a time, so that some are always left."""

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(PATH, guarded(self.access, self._list, write=False, records=True)),
            web.get(PATH + "/{id}", guarded(self.access, self._get, write=False, records=True)),
            web.post(PATH + "/{id}", guarded(self.access, self._post, write=True, records=True)),
        ]

    @described("List conflicts of records", query=SyncConflictQuery, gives=SyncConflicts)
    async def _list(self, request: web.Request) -> web.Response:
        """The newest first: of the records that the token reads, and of those that their own author no longer found."""
        asked = query_of(request, SyncConflictQuery)
        wanted = Wanted(asked.open, asked.model, asked.limit + 1, asked.after)
        found = await records_conflicts.listed(self.pool, principal_of(request), wanted)
        page = found[: asked.limit]
        return json_answer({"conflicts": page, "next": page[-1]["id"] if len(found) > len(page) else None})

    @described("Show a conflict of a record", named=_NUMBER, gives=SyncConflict)
    async def _get(self, request: web.Request) -> web.Response:
        found = await records_conflicts.shown(self.pool, principal_of(request), _id(request), self._upstream)
        return json_answer(found)

    @described(
        "Decide a conflict of a record", named=_NUMBER, takes=SyncConflictDecision, gives=SyncConflict, problems=(409,)
    )
    async def _post(self, request: web.Request) -> web.Response:
        """By an admin, or by the owner of the record. What is chosen is written as an operation, and reaches all
        replicas by their next pull. 409: `decided`, somebody has decided it before; `record-changed`, the record is
        not what it was: look at its member `record`, and send its `version` too."""
        id, principal = _id(request), principal_of(request)
        asked = read(SyncConflictDecision, parse_object, await body_of(request, MOST_BYTES))
        try:
            async with self._deciding:
                plan = await records_conflicts.plan(self.pool, principal, id, asked.take, asked.data, self._upstream)
                await records_conflicts.resolve(self.pool, self.records, plan, by=principal.name, version=asked.version)
        except NotAllowed as exc:
            raise Refused(problem(403, str(exc))) from None
        except Decided as exc:
            raise Refused(problem(409, str(exc), type="decided")) from None
        except Changed as exc:
            raise Refused(problem(409, str(exc), type="record-changed", members={"record": exc.record})) from None
        return json_answer(await records_conflicts.shown(self.pool, principal, id, self._upstream))

    @property
    def _upstream(self) -> str | None:
        return self.in_force.settings.sync_upstream_url


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MOST:
        return int(text)
    raise Refused(problem(404, "there is no conflict with this id: an id is a number"))

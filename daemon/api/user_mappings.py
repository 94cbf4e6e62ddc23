"""`/api/v1/user-mappings`: who a person is in the firm's own system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access, Refused
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, query_of, read
from daemon.operator import user_mappings
from daemon.settings.in_force import InForce
from daemon.web.problems import problem
from schemas.api.user_mappings import (
    MappingAdded,
    MappingIn,
    MappingList,
    MappingQuery,
    MappingRemoved,
    NotifyIn,
    NotifySet,
)

PATH: Final = "/api/v1/user-mappings"

_BY: Final = "api"
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class UserMappingsApi:
    """The routes of user mappings."""

    pool: Pool
    in_force: InForce
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, guarded(self.access, self._post, write=True)),
            web.get(PATH, guarded(self.access, self._list, write=False)),
            web.delete(PATH + "/{id}", guarded(self.access, self._delete, write=True)),
            web.put(PATH + "/{id}/notify", guarded(self.access, self._notify, write=True)),
        ]

    @described("Say who a person is", takes=MappingIn, gives=MappingAdded, status=201, also=(200,), problems=(409,))
    async def _post(self, request: web.Request) -> web.Response:
        """200 where such a mapping was there. What is archived of the person follows."""
        asked = read(MappingIn, parse_object, await body_of(request))
        contact, account = asked.chatwoot_contact_id, asked.chatwoot_account_id
        new = user_mappings.given(asked.user_id, asked.whatsapp_number, contact, account, asked.is_verified)
        prefix = self.in_force.settings.gcs_bucket_prefix
        document, made = await user_mappings.add(self.pool, new, _BY, prefix, asked.notify_on_ready)
        return json_answer(document, status=201 if made else 200)

    @described("List who people are", query=MappingQuery, gives=MappingList)
    async def _list(self, request: web.Request) -> web.Response:
        query = query_of(request, MappingQuery)
        found = await user_mappings.listed(self.pool, query.user_id, _after(query.cursor), query.limit)
        next = str(found[-1]["id"]) if len(found) == query.limit else None
        return json_answer({"mappings": found, "next": next})

    @described("Forget who a person is", named="the mapping's id", gives=MappingRemoved)
    async def _delete(self, request: web.Request) -> web.Response:
        """What is archived stays the user's."""
        id = _number(request.match_info["id"])
        if id is None:
            raise Refused(problem(404, "there is no mapping with this id: an id is a number"))
        await user_mappings.remove(self.pool, id, _BY)
        return json_answer({"id": id, "deleted": True})

    @described("Tell a user when something is ready, or not", named="the user's id", takes=NotifyIn, gives=NotifySet)
    async def _notify(self, request: web.Request) -> web.Response:
        asked = read(NotifyIn, parse_object, await body_of(request))
        user, prefix = request.match_info["id"], self.in_force.settings.gcs_bucket_prefix
        await user_mappings.set_notify(self.pool, user, asked.notify_on_ready, _BY, prefix)
        return json_answer({"user_id": user, "notify_on_ready": asked.notify_on_ready})


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    found = _number(cursor)
    if found is None:
        raise Refused(problem(400, "cursor must be what `next` said"))
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MOST else None

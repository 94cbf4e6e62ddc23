"""`/api/v1/templates`: what is known of them, and reading the providers' lists now."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from adapters.postgres.templates import Asked
from adapters.redis.streams import Streams
from daemon.api.access import Access, Refused
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, query_of, read
from daemon.operator import templates
from daemon.settings.in_force import InForce
from daemon.web.problems import problem
from schemas.api.queries import TemplateQuery
from schemas.api.template_answers import ListsRead, TemplatePage
from schemas.api.templates import SyncIn

PATH: Final = "/api/v1/templates"


@dataclass(frozen=True, slots=True)
class Api:
    """The routes of templates."""

    pool: Pool
    bus: Streams
    in_force: InForce
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.get(PATH, guarded(self.access, self._list, write=False)),
            web.post(f"{PATH}/sync", guarded(self.access, self._sync, write=True)),
        ]

    @described("List templates, with what each one takes", query=TemplateQuery, gives=TemplatePage)
    async def _list(self, request: web.Request) -> web.Response:
        query = query_of(request, TemplateQuery)
        wanted = query.model_dump(include={"provider", "status", "name", "limit"})
        found = await templates.listed(self.pool, after=_after(query.cursor), **wanted)
        return json_answer({"templates": found, "next": _cursor(found[-1]) if len(found) == query.limit else None})

    @described("Read the lists of the providers now", takes=SyncIn, optional=True, gives=ListsRead, problems=(502,))
    async def _sync(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        given = read(SyncIn, parse_object, body) if body.strip() else SyncIn()
        outcomes = await templates.read_lists(
            self.pool, self.in_force, self.bus.redis, given.provider, dry_run=given.dry_run
        )
        if failed := [one for one in outcomes if one.problem is not None]:
            done = ", ".join(one.provider for one in outcomes if one.problem is None) or "none"
            told = "; ".join(f"{one.provider}: {one.problem}" for one in failed)
            return problem(502, f"the list could not be read of {told}. Read and stored: {done}")
        return json_answer(templates.document(outcomes))


def _cursor(row: dict[str, Any]) -> str:
    """The cursor of the page after *row*."""
    place = [row["provider"], row["account"], row["name"], row["language"] or ""]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _after(text: str | None) -> Asked:
    """The template that its page comes after. Raises: Refused where the cursor *text* is not ours."""
    if text is None:
        return templates.FIRST
    try:
        place = orjson.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, binascii.Error):
        place = None
    texts = isinstance(place, list) and all(isinstance(part, str) and "\x00" not in part for part in place)
    if not texts or len(place) != len(Asked._fields):
        raise Refused(problem(400, "cursor must be what `next` said"))
    return Asked(*place)

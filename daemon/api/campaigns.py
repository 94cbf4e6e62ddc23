"""`/api/v1/campaigns`: make one, look, move it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, get_args

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access, Refused
from daemon.api.requests import (
    body_of,
    cursor_of,
    cursor_text,
    guarded,
    json_answer,
    key_of,
    limit_of,
    read,
)
from daemon.bus.worker import Clock
from daemon.operator import campaign_standing, campaigns
from daemon.operator.audience import BadRows
from daemon.operator.campaign_standing import STATUSES
from daemon.operator.campaigns import Verb
from daemon.settings.in_force import InForce
from daemon.web.problems import problem
from schemas.api.campaigns import CampaignIn

PATH: Final = "/api/v1/campaigns"
ONE: Final = PATH + "/{id}"

PAGE: Final = 50
MOST_ROWS: Final = 1000
MOST_BYTES: Final = 16 * 1024 * 1024
ACTOR: Final = "api"


@dataclass(frozen=True, slots=True)
class CampaignsApi:
    """The routes of campaigns. `{id}` is an id or a name."""

    pool: Pool
    in_force: InForce
    access: Access
    now: Clock

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        writes = {"write": True}
        return [
            web.post(PATH, guarded(self.access, self._post, **writes)),
            web.get(PATH, guarded(self.access, self._list, write=False)),
            web.get(ONE, guarded(self.access, self._get, write=False)),
            web.get(ONE + "/recipients", guarded(self.access, self._recipients, write=False)),
            *(
                web.post(f"{ONE}/{verb}", guarded(self.access, partial(self._move, verb), **writes))
                for verb in get_args(Verb)
            ),
        ]

    async def _post(self, request: web.Request) -> web.Response:
        given = read(CampaignIn, parse_object, await body_of(request, MOST_BYTES))
        key, settings = key_of(request), self.in_force.settings
        try:
            id, _ = await campaigns.create(self.pool, settings, given, actor=ACTOR, key=key, now=self.now())
        except BadRows as exc:
            return problem(422, str(exc), members={"rows": [one._asdict() for one in exc.rows]})
        made = await campaign_standing.show(self.pool, str(id))
        told = {name: made[name] for name in ("id", "name", "recipients", "duplicates")}
        return json_answer(told, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        limit = limit_of(request, PAGE, campaign_standing.MOST_LISTED)
        found = await campaign_standing.listed(self.pool, before=cursor_of(request), limit=limit)
        last = found[-1] if len(found) == limit else None
        after = None if last is None else cursor_text(last["created_at"], last["id"])
        return json_answer({"campaigns": found, "next": after})

    async def _get(self, request: web.Request) -> web.Response:
        return json_answer(await campaign_standing.show(self.pool, request.match_info["id"]))

    async def _move(self, verb: Verb, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        return json_answer(await campaigns.move(self.pool, self.in_force.settings, name, verb, ACTOR))

    async def _recipients(self, request: web.Request) -> web.Response:
        status, limit = request.query.get("status"), limit_of(request, PAGE, MOST_ROWS)
        if status is not None and status not in STATUSES:
            raise Refused(problem(400, f"status is none of {', '.join(STATUSES)}"))
        found = await campaign_standing.recipients(
            self.pool, request.match_info["id"], after=_line(request), status=status, limit=limit
        )
        after = str(found[-1]["line"]) if len(found) == limit else None
        return json_answer({"recipients": found, "next": after})


def _line(request: web.Request) -> int:
    """The line behind which its page begins. Raises: Refused where `cursor` is not ours."""
    text = request.query.get("cursor", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Refused(problem(400, "cursor must be what `next` said"))
    return int(text)

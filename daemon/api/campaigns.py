"""`/api/v1/campaigns`: make one, look, move it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import (
    Handler,
    body_of,
    cursor_text,
    guarded,
    json_answer,
    key_of,
    query_of,
    read,
    row_of,
)
from daemon.bus.worker import Clock
from daemon.operator import campaign_standing, campaigns
from daemon.operator.audience import BadRows
from daemon.operator.campaigns import Verb
from daemon.settings.in_force import InForce
from daemon.web.problems import problem
from schemas.api.campaign_answers import CampaignDetail, CampaignMade, CampaignPage, RecipientPage
from schemas.api.campaigns import CampaignIn
from schemas.api.queries import PageQuery, RecipientQuery

PATH: Final = "/api/v1/campaigns"
ONE: Final = PATH + "/{id}"

MOST_BYTES: Final = 16 * 1024 * 1024
ACTOR: Final = "api"

_NAMED: Final = "id or name"
_VERBS: Final[Mapping[Verb, tuple[str, Sequence[int]]]] = {
    "start": ("Start a campaign", (409, 422)),
    "pause": ("Pause a campaign: what is queued is taken back", (409,)),
    "resume": ("Let a campaign go on that was paused or stopped", (409, 422)),
    "stop": ("Stop a campaign: nobody else is written to", (409,)),
}
"""What each verb does, and the failures of its own."""


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
                web.post(f"{ONE}/{verb}", guarded(self.access, self._moving(verb, *told), **writes))
                for verb, told in _VERBS.items()
            ),
        ]

    @described("Make a campaign, as a draft", takes=CampaignIn, gives=CampaignMade, status=201, keyed=True)
    async def _post(self, request: web.Request) -> web.Response:
        """The body has at most 16 MiB. Rows that cannot be sent are in the member `rows` of the problem, each with its
        `line` and its `error`; then nothing is made."""
        given = read(CampaignIn, parse_object, await body_of(request, MOST_BYTES))
        key, settings = key_of(request), self.in_force.settings
        try:
            id, _ = await campaigns.create(self.pool, settings, given, actor=ACTOR, key=key, now=self.now())
        except BadRows as exc:
            return problem(422, str(exc), members={"rows": [one._asdict() for one in exc.rows]})
        made = await campaign_standing.show(self.pool, str(id))
        told = {name: made[name] for name in ("id", "name", "recipients", "duplicates")}
        return json_answer(told, status=201)

    @described("List campaigns, the newest first", query=PageQuery, gives=CampaignPage)
    async def _list(self, request: web.Request) -> web.Response:
        query = query_of(request, PageQuery)
        found = await campaign_standing.listed(self.pool, before=row_of(query.cursor), limit=query.limit)
        last = found[-1] if len(found) == query.limit else None
        after = None if last is None else cursor_text(last["created_at"], last["id"])
        return json_answer({"campaigns": found, "next": after})

    @described("How a campaign stands", named=_NAMED, gives=CampaignDetail)
    async def _get(self, request: web.Request) -> web.Response:
        return json_answer(await campaign_standing.show(self.pool, request.match_info["id"]))

    def _moving(self, verb: Verb, summary: str, problems: Sequence[int]) -> Handler:
        @described(summary, named=_NAMED, gives=CampaignDetail, problems=problems)
        async def move(request: web.Request) -> web.Response:
            name = request.match_info["id"]
            return json_answer(await campaigns.move(self.pool, self.in_force.settings, name, verb, ACTOR))

        return move

    @described("List the recipients of a campaign", named=_NAMED, query=RecipientQuery, gives=RecipientPage)
    async def _recipients(self, request: web.Request) -> web.Response:
        query, name = query_of(request, RecipientQuery), request.match_info["id"]
        found = await campaign_standing.recipients(
            self.pool, name, after=int(query.cursor or 0), status=query.status, limit=query.limit
        )
        after = str(found[-1]["line"]) if len(found) == query.limit else None
        return json_answer({"recipients": found, "next": after})

"""`/api/v1/tokens`: bearer tokens of people and of edges, made, listed, revoked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access, Refused, principal_of
from daemon.api.description import described
from daemon.api.requests import body_of, guarded, json_answer, read
from daemon.operator import tokens
from daemon.web.problems import problem
from schemas.api.tokens import AccessToken, AccessTokenIn, AccessTokenMade, AccessTokens

PATH: Final = "/api/v1/tokens"
_NUMBER: Final = "the token's number"
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TokensApi:
    """The routes of tokens."""

    pool: Pool
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, guarded(self.access, self._post, write=True)),
            web.get(PATH, guarded(self.access, self._list, write=True)),
            web.delete(PATH + "/{id}", guarded(self.access, self._delete, write=True)),
        ]

    @described("Make a token", takes=AccessTokenIn, gives=AccessTokenMade, status=201)
    async def _post(self, request: web.Request) -> web.Response:
        """For records and their sync. A user's token reads and writes what the user owns; that of an edge, what is of
        its owners or its branch; a user whose role is admin may do all."""
        asked = read(AccessTokenIn, parse_object, await body_of(request))
        one = tokens.wanted(
            user=asked.user,
            edge=asked.edge,
            owners=asked.owners,
            branch=asked.branch,
            role=asked.role,
            days=asked.expires_days,
        )
        made = await tokens.create(self.pool, one, actor_of(request))
        answer = json_answer(made, status=201)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @described("List the tokens, without themselves", gives=AccessTokens)
    async def _list(self, request: web.Request) -> web.Response:
        return json_answer({"tokens": await tokens.listed(self.pool)})

    @described("Revoke a token", named=_NUMBER, gives=AccessToken)
    async def _delete(self, request: web.Request) -> web.Response:
        """Every process refuses it within five seconds."""
        id = _id(request)
        await tokens.revoke(self.pool, id, actor_of(request))
        return json_answer(await tokens.shown(self.pool, id))


def actor_of(request: web.Request) -> str:
    """Who asks, for the audit log."""
    principal = principal_of(request)
    return "api" if principal.kind == "installation" else principal.key


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MOST:
        return int(text)
    raise Refused(problem(404, "there is no token with this id: an id is a number"))

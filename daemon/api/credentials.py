"""`/api/v1/credentials`: accounts at providers, stored, shown masked, deleted. And `/api/token`, where an older program
stores one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import Handler, body_of, guarded, json_answer, read
from daemon.operator import credentials
from daemon.operator.credentials import Given
from daemon.settings.in_force import InForce
from schemas.api.credential_answers import CredentialsDeleted, CredentialsList, CredentialsOut, TokenStored
from schemas.api.credentials import CredentialsIn, TokenIn

PATH: Final = "/api/v1/credentials"
TOKEN_PATH: Final = "/api/token"  # noqa: S105 - a path

_BY: Final = "api"


@dataclass(frozen=True, slots=True)
class CredentialsApi:
    """The routes of credentials."""

    pool: Pool
    in_force: InForce
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        one = PATH + "/{provider}/{account}"
        return [
            web.post(PATH, self._guarded(self._post, write=True)),
            web.get(PATH, self._guarded(self._list, write=False)),
            web.get(one, self._guarded(self._get, write=False)),
            web.delete(one, self._guarded(self._delete, write=True)),
            web.post(TOKEN_PATH, self._guarded(self._post_token, write=True)),
        ]

    def _guarded(self, handler: Handler, *, write: bool) -> Handler:
        return guarded(self.access, handler, write=write)

    @described("Store an account at a provider", takes=CredentialsIn, gives=CredentialsOut, status=201, also=(200,))
    async def _post(self, request: web.Request) -> web.Response:
        """200 where it takes the place of a former one."""
        asked = read(CredentialsIn, parse_object, await body_of(request))
        document, made = await self._store(credentials.given(asked.provider, asked.account, asked.secret))
        return json_answer(document, status=201 if made else 200)

    @described("Store the account `default`, in the shape of an older program", takes=TokenIn, gives=TokenStored)
    async def _post_token(self, request: web.Request) -> web.Response:
        asked = read(TokenIn, parse_object, await body_of(request))
        one = credentials.given_token(asked.token, asked.secret, asked.phone_number, asked.provider)
        document, _ = await self._store(one)
        return json_answer({"success": True, **document})

    async def _store(self, one: Given) -> tuple[dict[str, Any], bool]:
        return await credentials.store(self.pool, self.in_force.settings, one, _BY)

    @described("List the accounts, masked", gives=CredentialsList)
    async def _list(self, request: web.Request) -> web.Response:
        stored = await credentials.listed(self.pool, self.in_force.settings)
        by_settings = credentials.by_settings(self.in_force.settings, stored)
        return json_answer({"credentials": stored, "settings": by_settings})

    @described("Show an account, masked", gives=CredentialsOut)
    async def _get(self, request: web.Request) -> web.Response:
        return json_answer(await credentials.shown(self.pool, self.in_force.settings, *_named(request)))

    @described("Delete an account", gives=CredentialsDeleted)
    async def _delete(self, request: web.Request) -> web.Response:
        provider, account = _named(request)
        await credentials.delete(self.pool, provider, account, _BY)
        return json_answer({"provider": provider, "account": account, "deleted": True})


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info["provider"], request.match_info["account"]

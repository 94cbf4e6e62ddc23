"""Daemons of records as real processes: a hub, its edges, and lines between them that can be cut. Each has a database
of its own on the Postgres of the tests, a Valkey of its own, and a port that stays its own when it is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession

from adapters.postgres.pool import Pool, connect
from daemon.demo.offline_link import Link, linked
from daemon.stores.embedded.servers import embedded
from tests.support.daemons import Running, environment, ferryman, free_port, running
from tests.support.servers import migrated_database

__all__ = ["ADMIN", "Link", "Site", "linked", "site"]

ADMIN: Final = "records-admin-token-0123456789"
"""The admin token of every site: sees and writes all records."""

MODELS: Final = """
[models.Item]
strategy = "newest"
delete = "update-wins"

[models.Item.fields]
value = { type = "text", max = 200 }
other = { type = "text", max = 200 }
tags = { type = "set", strategy = "union" }
most = { type = "integer", strategy = "max" }
price = { type = "decimal", strategy = "manual" }
"""
"""The rules of a site, where the test has no others."""

_SETTINGS: Final = {
    "FERRYMAN_ADMIN_TOKEN": ADMIN,
    "FERRYMAN_LEASE_SECONDS": 2,
    "FERRYMAN_WORKERS": "journal",
    "FERRYMAN_PARTITIONS": 2,
    "SYNC_INTERVAL_MINUTES": 1,
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a site has answered. *body*: its JSON; None: it had none."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Site:
    """A daemon that can be started, killed (SIGKILL), frozen (SIGSTOP) and started again, on the same stores and port.

    *settings*: what it is started with; a change counts from the next start.
    """

    def __init__(self, cwd: Path, settings: dict[str, Any], session: ClientSession) -> None:
        self.cwd = cwd
        self.settings = settings
        self._session = session
        self.port = int(settings["FERRYMAN_PORT"])
        self._stack = AsyncExitStack()
        self._here: Running | None = None

    @property
    def url(self) -> str:
        """Where it listens, also while it does not run."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        """Where its database is."""
        return str(self.settings["DATABASE_URL"])

    @property
    def here(self) -> Running:
        """Its process, which runs."""
        assert self._here is not None, "it does not run"
        return self._here

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        assert self._here is None, "it runs"
        self._here = await self._stack.enter_async_context(running(self.cwd, **self.settings))

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """It runs, and is ended with the context in whatever state it is."""
        try:
            await self.start()
            yield
        finally:
            if self._here is not None:
                await self.kill()
            await self._stack.aclose()

    def beside(self) -> Site:
        """Another process of the same installation, on the same stores, which does not run yet."""
        return Site(self.cwd, self.settings | {"FERRYMAN_PORT": free_port()}, self._session)

    async def kill(self) -> None:
        """End it as a power failure does."""
        await self.here.stop(signal.SIGKILL)
        await self._ended()

    async def stop(self) -> None:
        """End it in order."""
        assert await self.here.stop() == 0, "\n".join(self.here.lines[-20:])
        await self._ended()

    async def _ended(self) -> None:
        self._here = None
        await self._stack.aclose()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still until the context ends: connections to it stay open, and nothing answers."""
        self.here.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.here.process.send_signal(signal.SIGCONT)

    async def verb(self, *argv: str) -> str:
        """What a verb of the command line prints, which succeeds."""
        code, out, err = await self.told(*argv)
        assert code == 0, (argv, code, out, err)
        return out

    async def told(self, *argv: str) -> tuple[int, str, str]:
        """Exit code, output and errors of a verb of the command line."""
        return await ferryman(*argv, cwd=self.cwd, env=environment(**self.settings))

    async def token(self, *argv: str) -> str:
        """A new token: *argv* as `tokens create` takes it, such as `--user alice`."""
        return str(json.loads(await self.verb("tokens", "create", *argv, "--json"))["token"])

    async def ask(self, method: str, path: str, body: Any = None, *, token: str = ADMIN, **headers: str) -> Told:
        """Ask its API. A header's name has `_` for `-`. Raises: ClientError where it does not answer."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        sent["Authorization"] = f"Bearer {token}"
        async with self._session.request(method, f"{self.url}{path}", json=body, headers=sent) as answer:
            text = await answer.text()
            return Told(answer.status, json.loads(text) if text else None, dict(answer.headers))

    async def push(self, *operations: Mapping[str, Any], token: str = ADMIN, **members: Any) -> list[dict[str, Any]]:
        """Push *operations*; the answer to each."""
        told = await self.ask("POST", "/api/v1/sync/push", {"operations": list(operations), **members}, token=token)
        assert told.status == 200, told
        results: list[dict[str, Any]] = told.body["results"]
        return results

    @asynccontextmanager
    async def looked_into(self) -> AsyncIterator[Pool]:
        """A pool on its database, also while it does not run."""
        async with connect(self.database_url, size=2) as pool:
            yield pool

    async def stats(self, token: str = ADMIN) -> dict[str, Any]:
        """Its document of /api/v1/sync/stats."""
        told = await self.ask("GET", "/api/v1/sync/stats", token=token)
        assert told.status == 200, told
        return dict(told.body)


@asynccontextmanager
async def site(
    place: Path, name: str, postgres_url: str, *, models: str = MODELS, **settings: object
) -> AsyncIterator[Site]:
    """A site that runs, ended with the context in whatever state it is. *place*: its folder *name* is made there.
    *models*: its `models.toml`. Its database is no copy of another one's, as servers know each other by what a
    migration makes."""
    cwd = place / name
    (cwd / "rules").mkdir(parents=True)
    (cwd / "rules" / "models.toml").write_text(models)
    async with (
        migrated_database(postgres_url) as database_url,
        embedded(cwd / "valkey", postgres=False, fsync=False) as servers,
        ClientSession() as session,
    ):
        stores = {"REDIS_URL": servers.redis_url, "DATABASE_URL": database_url, "FERRYMAN_PORT": free_port()}
        own = {"FERRYMAN_RULES_DIR": cwd / "rules"}
        one = Site(cwd, _SETTINGS | stores | own | settings, session)
        async with one.kept():
            yield one

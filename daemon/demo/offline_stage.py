"""What runs during the demonstration of offline work: the daemons of a head office and of its branch, each with servers
of its own, the phone of somebody at the branch, whose clock is a day fast, and the two lines between them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aiohttp import ClientSession
from pydantic import SecretStr

from adapters.http import open_session
from adapters.postgres.pool import Pool, connect
from adapters.records_client import RecordsClient
from daemon.app import assembled
from daemon.demo.offline_link import Link, linked
from daemon.demo.running import run
from daemon.operator import tokens
from daemon.records.models.rules import MODELS
from daemon.rules.files import Rules, load
from daemon.settings.model import Settings
from daemon.stores.located import Addresses, located_stores
from schemas.errors import FerrymanError

RULES: Final = Path(__file__).parent / "offline_rules"
BRANCH: Final = "haifa"
OTHER_BRANCH: Final = "eilat"
NOA: Final = "noa"
"""Works for the branch, with a phone."""

RON: Final = "ron"
"""Sits at the desk of the branch, and may change whatever is there."""

DANA: Final = "dana"
"""Sits in the head office, and may change whatever is there."""

OMER: Final = "omer"
"""Works for the other branch."""

PHONE: Final = "phone.sqlite"
"""The file of the phone, below the data of the demonstration."""

AHEAD: Final = timedelta(days=1)
"""How wrong the clock of the phone is."""

_MADE_BY: Final = "demo"


class Refused(FerrymanError):
    """A daemon has not done what the demonstration asked it for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A daemon. *token*: of who sits there. *admin*: of its operator."""

    name: str
    url: str
    token: str
    admin: str
    database_url: str
    pool: Pool
    session: ClientSession

    async def get(self, model: str, record_id: str) -> dict[str, Any] | None:
        """The record as the API shows it; None: there is none."""
        status, document = await self.ask("GET", _path(model, record_id), token=self.admin)
        return document if status == 200 else None

    async def change(self, verb: str, model: str, record_id: str, data: Mapping[str, Any]) -> None:
        """CREATE, UPDATE or DELETE a record, as who sits there does it. Raises: Refused."""
        path, headers = _path(model, record_id), {}
        if verb == "CREATE":
            headers["If-None-Match"] = "*"
        else:
            known = await self.get(model, record_id)
            headers["If-Match"] = f'"{known["version"] if known else 0}"'
        method = {"CREATE": "PUT", "UPDATE": "PATCH", "DELETE": "DELETE"}[verb]
        body = None if verb == "DELETE" else data
        status, document = await self.ask(method, path, body, **headers)
        if status not in (200, 201, 204):
            raise Refused(f"the {self.name} answered {status} to {verb} {model} {record_id}: {document.get('detail')}")

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Ask its API: the status, and the document; {} where it has none. Raises: as aiohttp."""
        sent = headers | {"Authorization": f"Bearer {token or self.token}"}
        async with self.session.request(method, f"{self.url}{path}", json=body, headers=sent) as answer:
            return answer.status, (await answer.json(content_type=None) or {}) if answer.status != 204 else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What runs. *line*: from the branch to the head office; *signal*: from the phone to the branch. *run*: how often
    the demonstration was held on these data, this time included."""

    run: int
    office: Place
    branch: Place
    phone: RecordsClient
    line: Link
    signal: Link


@asynccontextmanager
async def staged(data_dir: Path, number: int) -> AsyncIterator[Stage]:
    """All of it, until the context ends."""
    async with AsyncExitStack() as stack:
        rules, session = Rules({MODELS: load(RULES, MODELS)}), await stack.enter_async_context(open_session())
        above, below = _settings(data_dir / "head-office"), _settings(data_dir / "branch")
        at_office, at_branch = await _servers(stack, above, below)
        office = await _place(stack, session, "head office", DANA, above, at_office, rules)
        line = await stack.enter_async_context(linked(_port(office.url)))
        edge = await _token(office.pool, edge=BRANCH, branch=BRANCH)
        below = below.model_copy(update={"sync_upstream_url": line.url, "sync_upstream_token": SecretStr(edge)})
        branch = await _place(stack, session, "branch", RON, below, at_branch, rules)
        signal = await stack.enter_async_context(linked(_port(branch.url)))
        token = await _token(branch.pool, user=NOA, branch=BRANCH)
        phone = RecordsClient(data_dir / PHONE, signal.url, token, now=lambda: datetime.now(UTC) + AHEAD)
        await stack.enter_async_context(phone)
        yield Stage(run=number, office=office, branch=branch, phone=phone, line=line, signal=signal)


def _settings(data_dir: Path) -> Settings:
    """Of a daemon with the workers that records need."""
    return Settings(
        ferryman_data_dir=data_dir,
        ferryman_port=0,
        ferryman_admin_token=SecretStr(secrets.token_hex(16)),
        ferryman_workers=("journal", "record-sync"),
        ferryman_partitions=1,
    )


async def _servers(stack: AsyncExitStack, *settings: Settings) -> list[Addresses]:
    """The servers of each of *settings*, started side by side and, as *stack* ends, stopped so."""
    own = [AsyncExitStack() for _ in settings]

    async def stop() -> None:
        await asyncio.gather(*(one.aclose() for one in own))

    stack.push_async_callback(stop)
    try:
        async with asyncio.TaskGroup() as group:
            starting = [
                group.create_task(mine.enter_async_context(located_stores(one, make=True)))
                for mine, one in zip(own, settings, strict=True)
            ]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [one.result() for one in starting]


async def _place(
    stack: AsyncExitStack,
    session: ClientSession,
    name: str,
    who: str,
    settings: Settings,
    addresses: Addresses,
    rules: Rules,
) -> Place:
    """A daemon, until *stack* ends. *who*: sits there."""
    assert settings.ferryman_admin_token is not None
    daemon = await stack.enter_async_context(assembled(settings, addresses, rules=rules))
    url = await stack.enter_async_context(run(daemon))
    pool = await stack.enter_async_context(connect(addresses.database_url, size=2))
    return Place(
        name=name,
        url=url,
        token=await _token(pool, user=who, role="admin"),
        admin=settings.ferryman_admin_token.get_secret_value(),
        database_url=addresses.database_url,
        pool=pool,
        session=session,
    )


async def _token(pool: Pool, *, user: str | None = None, edge: str | None = None, **more: Any) -> str:
    made = await tokens.create(pool, tokens.wanted(user=user, edge=edge, **more), _MADE_BY)
    return str(made["token"])


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _path(model: str, record_id: str) -> str:
    return f"/api/v1/records/{quote(model)}/{quote(record_id)}"

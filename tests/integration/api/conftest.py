"""The whole API behind a real server, on the test's own stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api.routes import routes_of
from daemon.operator.reading import outside_of
from daemon.records.wiring import METRICS, open_pulls, open_records
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from tests.support.listening import Answer, Rig, opener
from tests.support.people_of_records import Person, person

TOKENS: Final = {"admin": "admin-token-0123456789", "reader": "readonly-token-0123456789"}


@dataclass(frozen=True)
class Served:
    """The API as a program sees it. *document*: what it says of itself. *pulls*: what its pulls are answered by."""

    rig: Rig
    document: dict[str, Any] = field(repr=False)
    pulls: Any = None

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        who: str = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask by the token of *who*."""
        proof = {"Authorization": f"Bearer {TOKENS[who]}"} if who in TOKENS else {}
        return await self.rig.ask(method, path, body, **proof, **(headers or {}))


@pytest.fixture
async def served(redis: Redis, db: Pool) -> AsyncIterator[Served]:
    """The API of a daemon that sends by Whapi, and by Meta where that is asked for."""
    settings = Settings(
        ferryman_admin_token=SecretStr(TOKENS["admin"]),
        ferryman_readonly_token=SecretStr(TOKENS["reader"]),
        ferryman_secret_key=(SecretStr(Fernet.generate_key().decode()),),
        whapi_token=SecretStr("w" * 20),
        meta_phone_number_id="106",
        meta_access_token=SecretStr("m" * 20),
        messages_default_provider="whapi",
    )
    async with outside_of(db, settings, redis) as outside:
        outside = replace(outside, metrics=Metrics(METRICS))
        records = open_records(outside)
        pulls = open_pulls(outside, records)
        routes = routes_of(InForce(settings), db, Streams(redis, 4), outside, "", records, pulls)
        async with opener(redis, db)(more=routes) as rig:
            answer = await rig.ask("GET", "/api/v1/openapi.json")
            yield Served(rig, orjson.loads(answer.body), pulls)


@pytest.fixture
async def alice(served: Served, db: Pool) -> Person:
    return await person(served, db)


@pytest.fixture
async def bob(served: Served, db: Pool) -> Person:
    return await person(served, db, "bob")

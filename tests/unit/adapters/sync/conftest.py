"""A client of records and a server for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.records_client import RecordsClient
from tests.support.records_server import TOKEN, RecordsServer, records_server


@pytest.fixture
async def server() -> AsyncIterator[RecordsServer]:
    async with records_server() as here:
        yield here


@pytest.fixture
async def client(server: RecordsServer, tmp_path: Path) -> AsyncIterator[RecordsClient]:
    async with RecordsClient(tmp_path / "phone.sqlite", server.url, TOKEN) as here:
        yield here


async def data_of(client: RecordsClient, record_id: str, model: str = "Lead") -> dict[str, Any] | None:
    found = await client.get(model, record_id)
    return None if found is None else dict(found)

"""A second database: of a hub beside its edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.postgres import pool
from tests.support.servers import fresh_database


@pytest.fixture
async def hub_db(postgres_url: str, template: str) -> AsyncIterator[pool.Pool]:
    """A pool on the database of a hub; `db` is its edge's."""
    async with fresh_database(postgres_url, template) as url, pool.connect(url, size=5) as connected:
        await connected.execute(
            "UPDATE sync_clock SET feed = gen_random_uuid()"
        )  # the template has given both one name
        yield connected

"""The archive on real stores: in files, and at Google's emulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.pool import Pool
from daemon.settings.model import Settings
from tests.support.archive_worker import ArchiveWorker, archive_worker
from tests.support.file_server import FileServer
from tests.support.object_stores import emulator


@pytest.fixture(scope="module")
def emulated() -> Iterator[str]:
    with emulator() as url:
        yield url


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer() as running:
        yield running


@pytest.fixture(params=["files", "gcs"])
def settings(request: pytest.FixtureRequest, emulated: str, tmp_path: Path, files: FileServer) -> Settings:
    own: dict[str, Any] = {"chatwoot_base_url": files.url, "ferryman_data_dir": tmp_path}
    return Settings(**own, storage_emulator_host=emulated if request.param == "gcs" else None)


@pytest.fixture
async def worker(redis_url: str, redis: object, db: Pool, settings: Settings) -> AsyncIterator[ArchiveWorker]:
    async with archive_worker(redis_url, db, settings) as made:
        yield made

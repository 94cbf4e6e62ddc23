"""What the verbs and routes about privacy work with: the streams, the archive, the records and the CRM beside the
database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from daemon.operator.privacy.erasing import Eraser
from daemon.operator.privacy.outside import open_beyond
from daemon.operator.replay import open_bus

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings


@asynccontextmanager
async def open_eraser(settings: Settings, pool: Pool, redis_url: str, actor: str) -> AsyncIterator[Eraser]:
    """What a command erases with, beside daemons that may run. Raises: ReplayError during a change of partitions;
    WrongRules."""
    async with (
        open_bus(pool, redis_url, settings.ferryman_partitions) as bus,
        open_beyond(settings, pool, bus) as beyond,
    ):
        yield Eraser(pool=pool, bus=bus, settings=settings, beyond=beyond, actor=actor)


def keep_receipt(settings: Settings, receipt: Mapping[str, Any]) -> Path:
    """Write a receipt down, readable by its owner alone; returns where. One that is there is written anew."""
    directory = settings.ferryman_data_dir / "erasures"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"erasure-{receipt['erasure']}.json"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(orjson.dumps(receipt, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n")
    return path

"""What a shell completes the values of options by: names that the program knows, and what a store that runs tells at
once. It never fails and starts no store: a shell that waits for a Tab is no place for an error."""

from __future__ import annotations

import asyncio
from typing import Final

from daemon.cli.context import read_settings
from daemon.stores.embedded.servers import in_use
from daemon.workers import WORKERS
from schemas.credentials import SECRETS

WITHIN_S: Final = 0.3
"""Longest wait for a store."""


def workers(incomplete: str) -> list[str]:
    """The names of the workers."""
    return _fitting([worker.name for worker in WORKERS], incomplete)


def providers(incomplete: str) -> list[str]:
    """The names of the providers."""
    return _fitting(list(SECRETS), incomplete)


def workers_and_providers(incomplete: str) -> list[str]:
    """Whatever can be paused."""
    return workers(incomplete) + providers(incomplete)


def error_classes(incomplete: str) -> list[str]:
    """The classes of the errors by which open dead letters ended."""
    try:
        from adapters.postgres.pool import within

        return _fitting(asyncio.run(within(WITHIN_S, _asked())), incomplete)
    except Exception:
        return []


async def _asked() -> list[str]:
    from adapters.postgres.operator.dead_letters import open_classes
    from adapters.postgres.pool import single_connection

    settings = read_settings()
    url = settings.database_url.get_secret_value() if settings.database_url else None
    if url is None and (running := in_use(settings.ferryman_data_dir)) is not None:
        url = running.database_url
    if url is None:
        return []
    async with single_connection(url) as conn:
        return await open_classes(conn)


def _fitting(names: list[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})

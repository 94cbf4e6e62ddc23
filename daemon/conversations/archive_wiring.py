"""What the archive needs of the outside, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.ports import ObjectStore
    from daemon.bus.worker import Outside


@asynccontextmanager
async def open_store(outside: Outside) -> AsyncIterator[ObjectStore]:
    """The store of this installation. `get` also finds an object that still waits in Postgres, and one that has gone to
    another bucket since: *bucket* and *path* of an `attachment.stored` event stay good. Raises as `ObjectStore`."""
    raise NotImplementedError
    yield

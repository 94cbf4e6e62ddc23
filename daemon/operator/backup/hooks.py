"""What is done with restored data before they are put in place: an erased person, for instance, is erased again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from adapters.postgres.pool import Pool
from daemon.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored installation that nobody uses yet. *settings*: with its data directory, which is a passing one.
    *former*: the data directory that it will be in, with what is there until then. *actor*: who restores."""

    settings: Settings
    pool: Pool
    redis_url: str
    former: Path
    actor: str


AfterRestore: TypeAlias = Callable[[Restored], Awaitable[None]]
"""Whatever one of them raises ends the restore, and nothing is replaced."""

AFTER_RESTORE: Final[tuple[AfterRestore, ...]] = ()
"""In this order, after the tables have this program's schema."""

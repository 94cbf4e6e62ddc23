"""What is done with restored data before they are put in place: an erased person is erased again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from adapters.postgres.pool import Pool
from daemon.operator.privacy import ledger
from daemon.operator.privacy.service import open_eraser
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


async def erase_again(restored: Restored) -> None:
    """Erase whom the ledgers name, that of the backup and the newer one of what is replaced, and keep both as one."""
    here = ledger.path_of(restored.settings)
    text = _lines(here)
    newer = [line for line in _lines(restored.former / ledger.NAME) if line not in text]
    if not text and not newer:
        return
    if newer:
        ledger.append(restored.settings, b"".join(line + b"\n" for line in newer))
    entries = ledger.read(b"\n".join([*text, *newer]))
    async with open_eraser(restored.settings, restored.pool, restored.redis_url, restored.actor) as eraser:
        await ledger.reapply(eraser, entries)


def _lines(path: Path) -> list[bytes]:
    try:
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return []


AFTER_RESTORE: Final[tuple[AfterRestore, ...]] = (erase_again,)
"""In this order, after the tables have this program's schema."""

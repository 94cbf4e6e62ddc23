"""The ledger of erasures: a file beside the database, so that a restored one is erased again.

Each line is an erasure as digests, and the encrypted secret that they were made under: it names nobody, and says
nothing without the installation's key. Whoever copies backups elsewhere copies this file with them, the newest one; a
restore reads the newest one, never that of the backup.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from adapters.postgres.operator.privacy import candidates, erasures
from daemon.operator.faults import Unusable
from daemon.stores import pepper

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from daemon.operator.privacy.erasing import Eraser
    from daemon.settings.model import Settings

NAME: Final = "erasures.jsonl"
"""In the data directory, readable by its owner alone."""


class Entry(NamedTuple):
    """An erasure of *at*. *marks*: kind and digest of each identity. *sealed*: the secret, encrypted."""

    at: datetime
    marks: Sequence[tuple[str, bytes]]
    sealed: str


def digest(document: Mapping[str, Any]) -> str:
    """The SHA-256 of a document, whatever the order of its members."""
    return sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)).hexdigest()


def path_of(settings: Settings) -> Path:
    """Where the ledger is."""
    return settings.ferryman_data_dir / NAME


async def note(pool: Pool, settings: Settings, number: int) -> None:
    """Write the erasure *number* down, as it is by now. It is on the disk then. Raises: Unusable."""
    append(settings, await _line(pool, number))


def append(settings: Settings, line: bytes = b"") -> None:
    """Write *line* down; without one, only make sure that the ledger can be written. Raises: Unusable."""
    path = path_of(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as exc:
        why = f"the ledger {path} cannot be written ({exc.strerror})"
        raise Unusable(f"{why}: set FERRYMAN_DATA_DIR to a directory that lasts") from None


async def _line(pool: Pool, number: int) -> bytes:
    one = await erasures.find(pool, number)
    assert one is not None
    marks = [[kind, mark.hex()] for mark, kind in await erasures.marks_of(pool, number)]
    sealed = await pepper.sealed(pool)
    return orjson.dumps({"erasure": number, "at": one.started_at, "marks": marks, "pepper": sealed}) + b"\n"


async def written(pool: Pool) -> bytes:
    """The ledger as the database has it, for a backup that is kept elsewhere."""
    every = await erasures.newest(pool, 2**31 - 1)
    return b"".join([await _line(pool, one.id) for one in reversed(every)])


def read(text: bytes) -> list[Entry]:
    """The erasures in a ledger, the newest state of each. A last line that was cut short does not count. Raises:
    Unusable."""
    found: dict[str, Entry] = {}
    lines = text.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = orjson.loads(line)
            marks = [(str(kind), bytes.fromhex(mark)) for kind, mark in one["marks"]]
            found[f"{one['at']} {one['erasure']}"] = Entry(datetime.fromisoformat(one["at"]), marks, str(one["pepper"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
            if number == len(lines):
                break
            raise Unusable(f"line {number} of the ledger of erasures cannot be read: take it from a copy") from exc
    return list(found.values())


async def reapply(eraser: Eraser, entries: Iterable[Entry], *, told: Callable[[int], None] = lambda done: None) -> int:
    """Erase again, in a database that was restored, whom *entries* say; returns how many had anything here. To be
    called before the restored installation opens. Those that the database knows to be erased by then are left alone:
    what it has of them came later, with a new order. Raises: NoKey, NotOpened; as `Eraser.go_on`."""
    pool, done = eraser.pool, 0
    for one in entries:
        secret = await pepper.known(pool, eraser.settings)
        if secret is None:
            secret = await pepper.put_back(pool, eraser.settings, one.sealed)
        marks = [mark for _, mark in one.marks]
        if set(marks) <= await erasures.done_since(pool, marks, one.at):
            continue
        done += await _again(eraser, secret, one)
        told(done)
    return done


async def _again(eraser: Eraser, secret: bytes, one: Entry) -> int:
    """Find the person of *one* by trying all identities of the database, and erase them."""
    from daemon.operator.privacy.finding import seed_of

    wanted = set(one.marks)
    seeds = [
        seed
        async for kind, value in candidates.every(eraser.pool)
        if (kind, pepper.digest_of(secret, kind, value)) in wanted
        for seed in seed_of(kind, value)
    ]
    await eraser.mark_again(one.marks, one.at, seeds)
    return int(bool(seeds))

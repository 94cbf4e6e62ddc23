"""Dumps of the embedded database, by PostgreSQL's own programs: pg_dump and pg_restore."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from daemon.stores.embedded.binaries import postgres_root
from daemon.stores.embedded.processes import EmbeddedError

CHUNK: Final = 1 << 20
_LOCK_WAIT_MS: Final = 60_000  # for a table that is being made or dropped, as a new day is
_MAJOR: Final = re.compile(r"\(PostgreSQL\) (\d+)")


async def major(*, system: bool) -> int:
    """The major version of pg_dump: an older one cannot read its dumps. Raises: EmbeddedError."""
    process = await _started("pg_dump", ["--version"], {}, system=system)
    out, _ = await process.communicate()
    found = _MAJOR.search(out.decode(errors="replace"))
    if found is None:
        raise EmbeddedError("pg_dump does not tell its version: install PostgreSQL's programs anew")
    return int(found[1])


async def dump(url: str, *, system: bool) -> AsyncIterator[bytes]:
    """The database at *url*, the address of an embedded server, as of one moment. Raises: EmbeddedError."""
    more = ["-Fc", "-Z", "gzip:1", "--no-owner", "--no-privileges", f"--lock-wait-timeout={_LOCK_WAIT_MS}"]
    process = await _on(url, "pg_dump", more, system=system)
    assert process.stdout is not None
    try:
        while chunk := await process.stdout.read(CHUNK):
            yield chunk
        await _ended(process, "pg_dump")
    finally:
        await _killed(process)


async def load(url: str, dumped: Iterable[bytes], *, system: bool) -> None:
    """Put what `dump` gave into the empty database at *url*, whole or not at all. Raises: EmbeddedError."""
    more = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    process = await _on(url, "pg_restore", more, system=system)
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # it says why it has ended
            for chunk in dumped:
                process.stdin.write(chunk)
                await process.stdin.drain()
        process.stdin.close()
        await _ended(process, "pg_restore")
    finally:
        await _killed(process)


async def _on(url: str, name: str, more: list[str], *, system: bool) -> asyncio.subprocess.Process:
    parts = urlsplit(url)
    place = {key: values[0] for key, values in parse_qs(parts.query).items()}
    where = [
        "-h",
        place["host"],
        "-p",
        place["port"],
        "-U",
        parts.username or "",
        "-d",
        parts.path[1:],
        "--no-password",
    ]
    # the password by the environment: a command line is for everybody to read
    return await _started(name, where + more, {"PGPASSWORD": parts.password or ""}, system=system)


async def _started(name: str, argv: list[str], secret: dict[str, str], *, system: bool) -> asyncio.subprocess.Process:
    program = _program(postgres_root(system=system), name)
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if key in os.environ}
    pipe: Any = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        str(program),
        *argv,
        env={"LC_ALL": "C", **kept, **secret},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        limit=4 * CHUNK,
    )


def _program(root: Path, name: str) -> Path:
    path = root / "bin" / name
    if not os.access(path, os.X_OK):
        raise EmbeddedError(f"there is no {name} in {root / 'bin'}: install PostgreSQL's client programs")
    return path


async def _ended(process: asyncio.subprocess.Process, name: str) -> None:
    """Raises: EmbeddedError, with what the program said last, where it has failed. What it says of rows, which may be a
    person's, comes after DETAIL and CONTEXT: that is left out."""
    assert process.stderr is not None
    said = (await process.stderr.read()).decode(errors="replace")
    if await process.wait() != 0:
        lines = [line for line in said.splitlines() if "rror" in line or "FATAL" in line or "ERROR" in line]
        why = (lines or [f"exit code {process.returncode}"])[0]
        raise EmbeddedError(f"{name} failed: {why[:300]}")


async def _killed(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()

"""PgBouncer itself, where it is installed (`.ci/run` tries to)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.daemons import free_port
from tests.support.servers import open_directory
from tests.support.until import until

_NOBODY: Final = 65534
"""The account that runs it where we are root: it refuses to run as root."""


def _program() -> str:
    """The path of the program. A test without it is skipped."""
    found = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


@asynccontextmanager
async def pgbouncer(database_url: str, mode: Literal["session", "transaction"]) -> AsyncIterator[str]:
    """The address of a PgBouncer before *database_url*, with its own defaults but for the *mode* and who may enter."""
    program, port = _program(), free_port()
    with open_directory() as directory:
        at = urlsplit(database_url)
        options = parse_qs(at.query)
        behind: dict[str, Any] = {
            "host": options.get("host", [at.hostname])[0],
            "port": at.port or options.get("port", [5432])[0],
            "user": at.username or options.get("user", ["postgres"])[0],
        }
        if at.password:
            behind["password"] = at.password
        config = directory / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = {' '.join(f'{name}={value}' for name, value in behind.items())}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )
        config.chmod(0o644)
        process = await _started(program, config)
        try:

            async def listens() -> bool:
                assert process.returncode is None, "pgbouncer has ended"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    return False
                writer.close()
                return True

            await until(listens, "a PgBouncer that listens")
            yield f"postgresql://{behind['user']}@127.0.0.1:{port}{at.path}"
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _started(program: str, config: Path) -> asyncio.subprocess.Process:
    account: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.DEVNULL)
    try:
        return await asyncio.create_subprocess_exec(program, str(config), **quiet, **account)
    except PermissionError:
        pytest.skip("pgbouncer is in a directory that its account cannot enter")

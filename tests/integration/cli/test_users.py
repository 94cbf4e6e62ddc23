"""`ferryman users`, as an operator types it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from adapters.postgres.pool import Pool
from daemon.operator import logins
from daemon.operator.logins import Browser
from daemon.operator.passwords import Passwords
from tests.support.daemons import environment, ferryman

PASSWORD = "correct horse battery"


async def test_operators_from_first_to_last(database_url: str, redis_url: str, db: Pool, tmp_path: Path) -> None:
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url, FERRYMAN_ADMIN_TOKEN="a" * 24)
    browser = Browser("203.0.113.7", "test")

    async def typed(*argv: str) -> tuple[int, str, str]:
        return await ferryman("users", *argv, cwd=tmp_path, env=env)

    async def piped(line: str, *argv: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemon", "users", *argv),
            cwd=tmp_path,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(line.encode())
        return process.returncode, out.decode(), err.decode()

    assert await typed("list") == (0, "there is no operator: `ferryman users add NAME --role admin`\n", "")
    would = "Noa would be added, with the role admin\n"
    assert await typed("add", "Noa", "--role", "admin", "--dry-run") == (0, would, "")
    code, _, err = await piped("short\n", "add", "Noa", "--role", "admin")
    assert (code, "12 to 200 characters" in err, "short" in err) == (2, True, False)
    assert await db.fetchval("SELECT count(*) FROM operators") == 0
    added = await piped(f"{PASSWORD}\r\nsecond line\n", "add", "Noa", "--role", "admin")
    assert added == (0, "Noa may log in, with the role admin\n", "")
    assert (await piped(f"{PASSWORD}\n", "add", "noa"))[0] == 1
    assert (await piped(f"{PASSWORD}\n", "add", "Dan"))[0] == 0
    token = await logins.log_in(db, Passwords(), "dan", PASSWORD, browser)

    assert await typed("role", "dan", "operate") == (0, "Dan has the role operate\n", "")
    assert not await logins.lives(db, token)
    code, _, err = await typed("role", "Noa", "read")
    assert (code, "only admin" in err) == (1, True)
    assert (await typed("role", "Eve", "read"))[0] == 1
    assert (await typed("role", "Dan", "boss"))[0] == 2
    assert (await piped(f"{PASSWORD} 2\n", "password", "Dan"))[0] == 0
    token = await logins.log_in(db, Passwords(), "dan", f"{PASSWORD} 2", browser)
    code, _, err = await typed("disable", "Dan")
    assert (code, "add --yes" in err) == (1, True)
    assert await typed("disable", "Dan", "--yes") == (0, "Dan is disabled\n", "")
    assert not await logins.lives(db, token)
    _, out, _ = await typed("list", "--json")
    assert [(one["name"], one["role"], one["state"]) for one in json.loads(out)] == [
        ("Dan", "operate", "disabled"),
        ("Noa", "admin", "active"),
    ]
    assert "password" not in out
    assert await typed("enable", "Dan") == (0, "Dan may log in again\n", "")
    _, out, _ = await typed("list")
    assert all(part in out for part in ("Noa", "never", "2 operators"))
    rows = await db.fetch("SELECT action, actor FROM audit_log WHERE action <> 'operator.login' ORDER BY id")
    done = ("added", "added", "role", "password", "disabled", "enabled")
    assert [row["action"] for row in rows] == [f"operator.{what}" for what in done]
    assert "unknown" not in {row["actor"] for row in rows}

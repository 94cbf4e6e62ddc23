"""`ferryman mappings`, as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

from adapters.postgres.pool import Pool
from tests.support.daemons import environment, ferryman


async def test_mappings_from_first_to_last(database_url: str, redis_url: str, db: Pool, tmp_path: Path) -> None:
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url, FERRYMAN_ADMIN_TOKEN="a" * 24)
    await db.execute("INSERT INTO meeting_notes (message_key, line, event_id) VALUES ('k', '+12025550143', 'e')")

    async def typed(*argv: str) -> tuple[int, str]:
        code, out, err = await ferryman("mappings", *argv, cwd=tmp_path, env=env)
        return code, out + err

    assert await typed("add", "u1", "--phone", "+1 202 555 0143", "--dry-run") == (0, "the mapping would be added\n")
    assert await typed("add", "u1", "--phone", "+1 202 555 0143") == (
        0, "mapping 1 is added; 1 archived message follows\n",
    )  # fmt: skip
    code, said = await typed("add", "u2", "--contact", "905")
    assert (code, "--contact and --account go together" in said) == (2, True)
    assert (await typed("add", "u2", "--phone", "0701740605"))[0] == 2
    assert await typed("notify", "u1", "on") == (0, "the user is told when something is ready\n")
    assert (await typed("notify", "nobody", "on"))[0] == 1
    _, listed = await typed("list", "--user", "u1", "--json")
    (one,) = json.loads(listed)
    assert (one["user_id"], one["whatsapp_number"], one["notify_on_ready"]) == ("u1", "+12025550143", True)
    assert "u1" in (await typed("list"))[1]
    code, said = await typed("remove", "1")
    assert (code, "add --yes" in said) == (1, True)
    assert await typed("remove", "1", "--yes") == (0, "mapping 1 is removed\n")
    assert (await typed("remove", "1", "--yes"))[0] == 1
    assert await db.fetchval("SELECT user_id FROM meeting_notes") == "u1"

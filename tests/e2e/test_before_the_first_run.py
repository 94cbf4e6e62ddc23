"""What verbs say of an installation that no daemon has run on yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.daemons import API_KEY, environment, ferryman


@pytest.mark.parametrize("verb", ["audit", "workers list"])
async def test_a_list_that_is_empty_yet_says_so(redis_url: str, database_url: str, tmp_path: Path, verb: str) -> None:
    env = environment(
        REDIS_URL=redis_url, DATABASE_URL=database_url, FERRYMAN_ADMIN_TOKEN="0" * 32, ORDERS_API_KEY=API_KEY
    )
    code, out, _ = await ferryman(*verb.split(), cwd=tmp_path, env=env)
    assert (code, "no daemon has run here yet" in out, "`ferryman run`" in out) == (0, True, True)
    assert len(out.splitlines()) == 1
    code, out, _ = await ferryman(*verb.split(), "--json", cwd=tmp_path, env=env)
    assert (code, json.loads(out)) == (0, {"workers": {}, "balanced": True} if verb == "audit" else [])

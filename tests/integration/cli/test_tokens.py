"""`ferryman tokens`, as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.postgres.pool import Pool
from daemon.api.stored_tokens import StoredTokens
from schemas.tokens import digest_of, is_token
from tests.support.daemons import environment, ferryman


async def test_tokens_from_first_to_last(database_url: str, redis_url: str, db: Pool, tmp_path: Path) -> None:
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url, FERRYMAN_ADMIN_TOKEN="a" * 24)

    async def typed(*argv: str) -> tuple[int, str, str]:
        return await ferryman("tokens", *argv, cwd=tmp_path, env=env)

    assert await typed("list") == (0, "no token is stored\n", "")
    would = "a token of the user u-1 with the role operate would be made\n"
    assert await typed("create", "--user", "u-1", "--dry-run") == (0, would, "")
    assert await db.fetchval("SELECT count(*) FROM tokens") == 0
    code, out, err = await typed("create", "--user", "u-1", "--expires", "30")
    token = out.strip()
    assert (code, is_token(token), "shown once" in err, token in err) == (0, True, True, False)
    assert await db.fetchval("SELECT digest FROM tokens") == digest_of(token)
    _, out, _ = await typed("create", "--edge", "e-1", "--owners", "u-1, u-2", "--role", "read", "--json")
    edge = json.loads(out)
    assert (edge["owners"], edge["role"], is_token(edge["token"])) == (["u-1", "u-2"], "read", True)
    _, out, _ = await typed("list", "--json")
    assert [(one["id"], one["state"], "token" in one) for one in json.loads(out)] == [
        (1, "active", False),
        (2, "active", False),
    ]
    _, out, _ = await typed("list")
    assert token not in out
    assert all(part in out for part in ("user u-1", "edge e-1", "u-1, u-2", token[-4:], "2 tokens"))
    await typed("create", "--user", "u-3", "--branch", "north")
    _, out, _ = await typed("list")
    assert "u-3; new ones: branch north" in out, "a person's branch shows no records of others"
    code, _, err = await typed("revoke", "1")
    assert (code, "add --yes" in err) == (1, True)
    assert await typed("revoke", "1", "--dry-run") == (0, "token 1 of the user u-1 would be revoked\n", "")
    assert await typed("revoke", "1", "--yes") == (0, "token 1 of the user u-1 is revoked\n", "")
    assert await typed("revoke", "1", "--yes") == (0, "token 1 of the user u-1 was revoked before\n", "")
    assert (await typed("revoke", "4", "--yes"))[0] == 1
    found = [await StoredTokens(db).find(one) for one in (token, edge["token"])]
    assert [one is not None and one.ended for one in found] == [True, False]
    actions = await db.fetch("SELECT action, subject FROM audit_log ORDER BY id")
    assert [tuple(row) for row in actions] == [
        ("token.created", "token:1"),
        ("token.created", "token:2"),
        ("token.created", "token:3"),
        ("token.revoked", "token:1"),
    ]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--user", "a", "--edge", "b"],
        ["--user", "a", "--owners", "b"],
        ["--edge", "a"],
        ["--edge", "a", "--owners", ","],
        ["--edge", "a", "--branch", "b", "--role", "admin"],
        ["--user", "a", "--role", "king"],
        ["--user", "a", "--expires", "0"],
        ["--user", "a" * 101],
    ],
)
async def test_what_is_no_token_is_a_usage_error(argv: list[str], tmp_path: Path) -> None:
    env = environment(FERRYMAN_ADMIN_TOKEN="a" * 24)
    code, out, err = await ferryman("tokens", "create", *argv, cwd=tmp_path, env=env)
    assert (code, out) == (2, ""), err
    assert list(tmp_path.iterdir()) == []

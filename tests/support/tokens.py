"""Stored tokens, made for tests."""

from __future__ import annotations

from typing import Any

from adapters.postgres.pool import Pool
from daemon.operator import tokens


async def made(db: Pool, **whose: Any) -> dict[str, Any]:
    """A token with what is known of it. *whose*: `user` or `edge`, and the rest, as `tokens.wanted` takes them."""
    return await tokens.create(db, tokens.wanted(**({"user": None, "edge": None} | whose)), "test")


async def bearer(db: Pool, **whose: Any) -> dict[str, str]:
    """The header of a token that is made."""
    return proof(await made(db, **whose))


def proof(token: dict[str, Any]) -> dict[str, str]:
    """The header of *token*."""
    return {"Authorization": f"Bearer {token['token']}"}

"""Query plans as EXPLAIN (FORMAT JSON) gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.postgres.pool import Pool

FEW: Final = 20
"""Rows of each kind that a plan is made for."""


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """*plan* and all that is below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def assert_reads_few(
    db: Pool, tables: Sequence[str], fills: Sequence[str], many: int, query: str, types: str, arguments: str, most: int
) -> None:
    """Assert that *query*, whose plan was made when the *tables* had few rows, reads fewer than *most* when there are
    *many*. *fills*: each makes the rows of one kind from a first number to a last one. *types*, *arguments*: of the
    query, "" for none."""
    prepared, given = (f"({types})", f"({arguments})") if types else ("", "")
    async with db.acquire() as conn:
        for table in tables:
            await conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        for fill in fills:
            await conn.execute(fill, 1, FEW)
        await conn.execute("SET plan_cache_mode = force_generic_plan")  # the server comes to it by itself
        await conn.execute(f"PREPARE asked {prepared} AS {query}")
        await conn.execute(f"EXECUTE asked {given}")
        for fill in fills:
            await conn.execute(fill, FEW + 1, many)
        told = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked {given}")
        assert await conn.fetchval("SELECT generic_plans FROM pg_prepared_statements WHERE name = 'asked'") > 0
    (plan,) = json.loads(told)
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"]))
    assert read < most, json.dumps(plan["Plan"], indent=1)

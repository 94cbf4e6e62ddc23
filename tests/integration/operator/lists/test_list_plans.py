"""Every page of every list, by each filter, reads few rows of many: of 100,000 orders, and of 1,000,000 events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pytest

from adapters.postgres.operator import event_list, listings
from adapters.postgres.operator.event_list import Wanted
from adapters.postgres.operator.keyset import Listing
from adapters.postgres.pool import Pool
from schemas.envelope import TYPES
from tests.support import list_rows as rows
from tests.support.plans import nodes

MANY: Final = 100_000
SOME: Final = 20_000
"""Of what there is less of: campaigns, templates, replays."""

LIMIT: Final = 51
MOST: Final = 1_000
"""Rows that a page may read, those included that it throws away."""

OLD: Final = datetime(2031, 1, 1, tzinfo=UTC)
RARE: Final[Mapping[str, Any]] = {
    "status": "failed",
    "branch": "th",
    "error": "nothing like it",
    "provider": "twilio",
    "direction": "in",
    "worker": "crm-labels",
    "error_class": "Refused",
    "state": "open",
    "fingerprint": "rare",
    "source": "meta",
    "reason": "too large",
    "campaign": UUID(rows.CAMPAIGN),
    "escalated": True,
    "not_escalated": True,
    "actor": "ops",
    "action": "person.revealed",
    "subject": "person:1",
    "since": OLD,
    "until": OLD,
}
"""Filter -> a value that few rows have."""

LISTS: Final[Mapping[str, tuple[Listing, Sequence[str], Mapping[str, Any]]]] = {
    "orders": (listings.ORDERS, [rows.ORDERS], {}),
    "messages": (listings.MESSAGES, [rows.MESSAGES], {"status": "uncertain"}),
    "uncertain": (listings.UNCERTAIN, [rows.MESSAGES], {}),
    "dead letters": (listings.DEAD_LETTERS, [rows.LETTERS], {}),
    "refused": (listings.REFUSED, [rows.REFUSED], {}),
    "campaigns": (listings.CAMPAIGNS, [rows.CAMPAIGNS], {"status": "paused"}),
    "recipients": (listings.RECIPIENTS, [rows.CAMPAIGNS, rows.RECIPIENTS], {}),
    "templates": (listings.TEMPLATES, [rows.TEMPLATES], {"status": "PAUSED"}),
    "conversations": (listings.CONVERSATIONS, [rows.CONVERSATIONS], {"status": "snoozed"}),
    "replays": (listings.REPLAYS, [rows.REPLAYS], {}),
    "syncs": (listings.SYNCS, [rows.SYNCS], {}),
    "audit log": (listings.AUDIT_LOG, [rows.AUDIT_LOG], {}),
    "people": (listings.PEOPLE, [rows.PEOPLE], {}),
}


def read_by(plan: Mapping[str, Any]) -> int:
    """The rows that the plan has read, also those that it threw away."""
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(sum(node.get(name, 0) * node["Actual Loops"] for node in nodes(plan) for name in names))


async def check(db: Pool, query: str, arguments: Sequence[Any], most: int, generic: bool) -> None:
    async with db.acquire() as conn, conn.transaction():
        mode = "force_generic_plan" if generic else "force_custom_plan"
        await conn.execute(f"SET LOCAL plan_cache_mode = {mode}")
        told = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
    (plan,) = json.loads(told)
    assert read_by(plan["Plan"]) < most, (query, json.dumps(plan["Plan"], indent=1))


@pytest.mark.parametrize("name", LISTS)
async def test_each_filter_reads_few_rows_of_many(db: Pool, name: str) -> None:
    listing, fills, own = LISTS[name]
    for fill in fills:
        many = MANY if name in ("orders", "messages") else SOME
        count = 1 if fill is rows.CAMPAIGNS and name == "recipients" else many
        await db.execute(fill, 1, count, timeout=60)
    await db.execute("ANALYZE")
    always = {"campaign": RARE["campaign"]} if "campaign" in listing.conditions else {}
    for filter in (None, *listing.conditions):
        wanted = always | ({} if filter is None else {filter: (own or RARE).get(filter, RARE[filter])})
        first = await db.fetchrow(listing.query(list(wanted), backwards=False, placed=False), 1, *wanted.values())
        keys = [] if first is None else [first[f"key_{n}"] for n in range(len(listing.keys))]
        for generic in (False, True):
            query = listing.query(list(wanted), backwards=False, placed=False)
            await check(db, query, [LIMIT, *wanted.values()], MOST, generic)
            for backwards in (False, True) if keys else ():
                query = listing.query(list(wanted), backwards=backwards, placed=True)
                await check(db, query, [LIMIT, *wanted.values(), *keys], MOST, generic)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("many", [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
async def test_events_are_read_by_each_filter_alone_and_together(db: Pool, many: int) -> None:
    for start in range(0, many, 50_000):
        await db.execute(rows.EVENTS, start + 1, start + 50_000, timeout=60)
        await db.execute(rows.ENDINGS, start + 1, start + 50_000, timeout=60)
    await db.execute("ANALYZE", timeout=60)
    middle = await db.fetchrow("SELECT time, seq FROM event_journal WHERE seq = $1", many // 2)
    assert middle is not None
    handles = [("contact-sync", "order.received")]
    every = sorted(TYPES)
    for types, more in (
        (every, {}),
        (["template.changed"], {}),
        (every, {"source": "whapi"}),
        (["order.received"], {"source": "whapi"}),
        (["order.received", "message.received"], {"source": "vizi"}),
        (every, {"since": OLD}),
        (every, {"until": OLD}),
    ):
        wanted = Wanted(types=types, handles=handles, **more)
        for place in ((), tuple(middle)):
            text, given = event_list.query(wanted, placed=bool(place), backwards=False)
            await check(db, text, [LIMIT, types, *given, *place], MOST, False)
    for outcome in ("open", "done", "skipped"):
        wanted = Wanted(types=["order.received"], handles=handles, outcome=outcome)
        text, given = event_list.query(wanted, placed=True, backwards=False)
        most = 20 * event_list.WINDOW
        await check(db, text, [event_list.WINDOW, wanted.types, *given, *middle], most, False)

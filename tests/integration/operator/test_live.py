"""`ferryman doctor --live` on a real database: what has come in by each source, and the exit code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import refusals
from adapters.postgres.operator.arrivals import Arrival, read_arrivals
from adapters.postgres.operator.refusals import RefusedRequest
from adapters.postgres.pool import Pool
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from schemas.envelope import Event, event_id
from tests.support.daemons import environment, ferryman


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as sandbox:
        yield sandbox


def event(n: int) -> Event:
    return Event(
        id=event_id("meta", str(n)),
        type="message.received",
        source="meta",
        subject="+972505550142",
        time=datetime.now(UTC),
        data=b"{}",
    )


def refused(reason: str, *, suppressed: int = 0, days_ago: float = 0) -> RefusedRequest:
    return RefusedRequest(
        source="meta",
        reason=reason,
        status=401,
        remote=None,
        headers="{}",
        body_bytes=2,
        body_sha256=None,
        suppressed=suppressed,
        at=datetime.now(UTC) - timedelta(days=days_ago),
    )


async def test_what_came_in_and_what_was_refused_is_counted_by_source(db: Pool) -> None:
    async with db.acquire() as conn:
        await journal.append(conn, [Journaled(event(n), "") for n in range(3)])
        rows = [refused("missing", days_ago=9), refused("missing", suppressed=4), refused("signature")]
        await refusals.insert(db, rows)
        found = await read_arrivals(conn, ["meta", "whapi"])
    assert found.whole
    came = found.of("meta")
    assert came.last is not None
    assert (came.events, came.refused, came.reason) == (3, 6, "signature")
    assert found.of("whapi") == Arrival()


async def test_the_exit_code_is_1_while_an_account_does_not_work(
    redis_url: str, database_url: str, tmp_path: Path, meta: MetaSandbox
) -> None:
    env = environment(
        REDIS_URL=redis_url,
        DATABASE_URL=database_url,
        FERRYMAN_ADMIN_TOKEN="0123456789abcdef" * 2,
        FERRYMAN_PORT=0,
        FERRYMAN_PUBLIC_URL="https://ferry.example.com",
        META_GRAPH_URL=meta.url,
        META_PHONE_NUMBER_ID=PHONE_NUMBER_ID,
        META_ACCESS_TOKEN=meta.token,
    )
    code, out, _ = await ferryman("doctor", "--live", "--json", cwd=tmp_path, env=env)
    told = json.loads(out)
    assert (code, told["ok"], told["providers"]["meta"]["works"]) == (0, True, True)
    (hook,) = [one for one in told["webhooks"] if one["source"] == "meta"]
    assert (hook["address"], hook["served"], hook["events"]) == ("https://ferry.example.com/webhooks/meta", False, 0)
    assert "META_APP_SECRET" in hook["why_not"]

    code, out, _ = await ferryman("doctor", "--live", cwd=tmp_path, env=env | {"META_ACCESS_TOKEN": "no"})
    assert code == 1
    assert "META_ACCESS_TOKEN: business.facebook.com" in out
    assert "meta: https://ferry.example.com/webhooks/meta\n" in out
    code, _, _ = await ferryman("doctor", cwd=tmp_path, env=env | {"META_ACCESS_TOKEN": "no"})
    assert code == 0

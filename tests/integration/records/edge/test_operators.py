"""What an operator sees of an edge and its upstream, and does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from pydantic import SecretStr

from adapters.postgres.pool import Pool
from adapters.postgres.records import pulled, queue
from daemon.bus.worker import utc_now
from daemon.operator import records, upstream
from daemon.operator.inspection import Inspection
from daemon.records.stats import duty, stats, today_began
from daemon.records.wiring import METRICS
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from tests.support.edges import Edge
from tests.support.offices import change, edge_of, hub_on, lead
from tests.support.plans import assert_reads_few
from tests.support.records import outside_of
from tests.support.tokens import made

NOBODY = "fmt_" + "x" * 43


def settings_of(url: str, token: str = NOBODY) -> Settings:
    return Settings(sync_upstream_url=url, sync_upstream_token=SecretStr(token))


def said(seen: upstream.Seen | None, settings: Settings) -> list[str]:
    """What the doctor says, each with its level."""
    inspection = Inspection(version="1", settings=settings, now=utc_now(), upstream=seen)
    return [f"{one.level} {one.text}" for one in upstream.check(inspection)]


async def test_without_the_pump_only_an_operator_syncs(db: Pool, hub_db: Pool) -> None:
    async with hub_on(hub_db) as hub:
        token = (await made(hub_db, edge="office", owners=["alice"]))["token"]
        settings = settings_of(hub.url, token)
        async with edge_of(db, hub.url, token, pump=False) as edge:
            await edge.push("alice", lead("l1"), lead("l2"))
            await hub.push("alice", lead("l3"))
            assert (await stats(db, settings, utc_now()))["pending"] == 2
            done = await records.sync_now(db, settings)
            document = records.round_document(done, 0)
            assert {name: document[name] for name in ("synced", "failed", "online", "error")} == {
                "synced": 2,
                "failed": 0,
                "online": True,
                "error": None,
            }
            assert set(await edge.rows()) == set(await hub.rows()) == {"l1", "l2", "l3"}
            told = await stats(db, settings, utc_now())
            assert (told["pending"], told["synced_today"], told["records"], told["online"]) == (0, 2, 3, True)
            assert told["last_sync"] is not None
            served = await stats(hub_db, Settings(), utc_now())
            assert (served["pending"], served["synced_today"], served["online"]) == (0, 3, True)


async def test_a_server_without_an_upstream_says_so(db: Pool) -> None:
    with pytest.raises(records.NoUpstream, match="SYNC_UPSTREAM_URL"):
        await records.sync_now(db, Settings())
    with pytest.raises(records.NoUpstream, match="SYNC_UPSTREAM_TOKEN"):
        await records.sync_now(db, Settings(sync_upstream_url="http://127.0.0.1:9"))


def test_today_begins_at_midnight_of_the_installation() -> None:
    late = datetime(2026, 11, 28, 22, 30, tzinfo=UTC)
    assert today_began(late, "UTC") == datetime(2026, 11, 28, tzinfo=UTC)
    assert today_began(late, "Asia/Jerusalem") == datetime(2026, 11, 28, 22, tzinfo=UTC)


async def test_the_metrics_are_those_of_the_queue(db: Pool) -> None:
    edge, metrics = Edge(db, lambda: utc_now() - timedelta(minutes=5)), Metrics(METRICS)
    op = await edge.write("CREATE", "l1", name="Ada")
    await edge.write("CREATE", "l2", name="Ada")
    await db.execute("UPDATE sync_queue SET state = 'failed' WHERE op_id = $1", op)
    await db.execute("UPDATE sync_queue SET created_at = now() - interval '5 minutes'")
    await duty(outside_of(db, settings_of("http://127.0.0.1:9"), metrics=metrics)).act()
    text = metrics.render()[0].decode()
    assert 'ferryman_sync_queue{state="pending"} 1' in text
    assert 'ferryman_sync_queue{state="failed"} 1' in text
    assert "ferryman_sync_oldest_pending_seconds 30" in text
    assert "ferryman_sync_online 0" in text


async def test_failed_operations_go_out_again_one_or_all(db: Pool) -> None:
    edge = Edge(db)
    ops = [await edge.write("CREATE", f"l{n}", name="Ada") for n in range(3)]
    await db.execute("UPDATE sync_queue SET state = 'failed', retry_count = 3, error = 'internal', reason = 'internal'")
    assert await queue.count_failed(db) == 3
    assert await records.put_back(db, op_id=ops[1], model=None, actor="test") == [ops[1]]
    assert await records.put_back(db, op_id=None, model="Payment", actor="test") == []
    listed = await records.queued(db, records.OPEN, None, 10)
    assert [(one["op_id"], one["state"], one["retry_count"], one["error"]) for one in listed] == [
        (str(ops[0]), "failed", 3, "internal"),
        (str(ops[1]), "pending", 0, None),
        (str(ops[2]), "failed", 3, "internal"),
    ]
    assert set(await records.put_back(db, op_id=None, model="Lead", actor="test")) == {ops[0], ops[2]}
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'records.retry_failed'") == 2


async def test_a_record_is_shown_with_all_that_happened_to_it(db: Pool, hub_db: Pool) -> None:
    async with hub_on(hub_db) as hub:
        token = (await made(hub_db, edge="office", owners=["alice"]))["token"]
        async with edge_of(db, hub.url, token, pump=False) as edge:
            await edge.push("alice", lead("l1", stage="new"))
            await records.sync_now(db, settings_of(hub.url, token))
            await edge.push("alice", change("l1", 1, stage="won"))
            found = await records.shown(db, "Lead", "l1")
    assert found["record"]["data"]["stage"] == "won"
    assert found["record"]["base"]["stage"] == "new"
    kinds = [entry["what"] for entry in found["timeline"]]
    assert kinds.count("operation") == 2
    assert kinds.count("upstream") == 2
    assert orjson.dumps(found, default=str)
    with pytest.raises(records.NoRecord):
        await records.shown(db, "Lead", "nothing")


async def test_the_doctor_names_a_wrong_upstream(db: Pool, hub_db: Pool) -> None:
    async with hub_on(hub_db) as hub:
        token = (await made(hub_db, edge="office", owners=["alice"]))["token"]
        right = settings_of(hub.url, token)
        assert said(await upstream.inspect(db, right, utc_now(), ask=True), right) == [
            "ok the upstream of records answers, and takes the token"
        ]
        refused = settings_of(hub.url)
        (text,) = said(await upstream.inspect(db, refused, utc_now(), ask=True), refused)
        assert text.startswith("error the upstream of records: the upstream refuses SYNC_UPSTREAM_TOKEN")
        (text,) = said(await upstream.inspect(hub_db, right, utc_now(), ask=True), right)
        assert "this server itself" in text
        hub.pulls._schema = "of other models"
        (text,) = said(await upstream.inspect(db, right, utc_now(), ask=True), right)
        assert text == "warn the upstream of records goes by other models than this edge"
    (text,) = said(await upstream.inspect(db, right, utc_now(), ask=True), right)
    assert text == "error the upstream of records: the upstream cannot be reached"
    bare = Settings(sync_upstream_url=right.sync_upstream_url)
    assert said(await upstream.inspect(db, bare, utc_now(), ask=True), bare)[0].startswith("error SYNC_UPSTREAM_URL")
    assert said(await upstream.inspect(db, Settings(), utc_now(), ask=True), Settings()) == []


FILLS = (
    "INSERT INTO sync_queue (op_id, operation, model, record_id, user_id, state, settled, synced_at, base_version,"
    " changed_at, origin) SELECT gen_random_uuid(), 'UPDATE', 'Lead', 'l' || n % 500, 'alice', 'synced', true, now(),"
    " 1, now(), 'p' FROM generate_series($1::int, $2::int) n",
    "INSERT INTO sync_queue (op_id, operation, model, record_id, user_id, base_version, changed_at, origin)"
    " SELECT gen_random_uuid(), 'UPDATE', 'Lead', 'w' || n, 'alice', 1, now(), 'p'"
    " FROM generate_series($1::int, $2::int) n",
)


async def test_what_is_due_is_found_without_reading_what_is_done_or_all_that_waits(db: Pool) -> None:
    await assert_reads_few(
        db, ["sync_queue"], FILLS, 20_000, queue._DUE, "int, timestamptz", "50, now() + interval '1 s'", 500
    )


async def test_how_records_stand_is_read_by_their_keys(db: Pool) -> None:
    query = pulled._OPEN_STATES
    await assert_reads_few(
        db, ["sync_queue"], FILLS, 20_000, query, "text[], text[]", "ARRAY['Lead', 'Lead'], ARRAY['l1', 'w2']", 60
    )

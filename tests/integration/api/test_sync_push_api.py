"""Pushes over HTTP: what a replica is answered, and what it is told where a push as a whole is not taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from adapters.postgres.pool import Pool
from schemas.api.answers import Problem
from schemas.api.sync_push import SyncPushed
from tests.integration.api.conftest import Served
from tests.support.answers import check_fields
from tests.support.full_disk import no_room
from tests.support.listening import Answer
from tests.support.records import operation
from tests.support.tokens import bearer
from tests.support.until import until

PATH: Final = "/api/v1/sync/push"
CANARY: Final = "canary-4f7a"


async def push(served: Served, *operations: Any, proof: dict[str, str] | None = None, **more: Any) -> Answer:
    body = orjson.dumps({"operations": operations} | more)
    who = "admin" if proof is None else ""
    return await served.ask("POST", more.pop("path", PATH), body, who=who, headers=proof)


def problem(answer: Answer, status: int, type: str) -> str:
    assert (answer.status, answer.json["type"]) == (status, type), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert CANARY not in answer.body.decode()
    return str(Problem.model_validate(answer.json).detail)


@pytest.mark.parametrize("path", [PATH, "/api/sync/push"])
async def test_a_push_is_answered_as_the_document_says(served: Served, db: Pool, path: str) -> None:
    proof = await bearer(db, user="alice")
    sent = {"replica": "r1", "sent_at": datetime.now(UTC).isoformat()}
    made = [operation("CREATE", "lead_1", name="Ann"), operation("CREATE", "lead_2", fax2="1")]
    body = orjson.dumps(sent | {"operations": made})
    answer = await served.ask("POST", path, body, who="", headers=proof)
    assert answer.status == 200
    check_fields(SyncPushed, answer.json)
    assert answer.json["feed"] == str(await db.fetchval("SELECT feed FROM sync_clock"))
    assert "provisional" not in answer.json
    first, second = answer.json["results"]
    assert first == {"op_id": made[0]["op_id"], "result": "applied", "version": 1, "record": first["record"]}
    assert first["record"]["data"] == {"name": "Ann", "owner_id": "alice"}
    assert (second["result"], second["reason"], second["retry"]) == ("rejected", "field", False)
    body = orjson.dumps(sent | {"ack": answer.json["ack"], "operations": made[:1]})
    again = await served.ask("POST", path, body, who="", headers=proof)
    assert again.json["results"][0]["result"] == "duplicate"


async def test_what_is_no_push_is_told_as_a_problem(served: Served) -> None:
    for body, status in ((b"", 400), (b"{", 400), (b"[]", 400), (b"\xff", 400), (b"{}", 422)):
        problem(await served.ask("POST", PATH, body), status, "malformed")
    wrong: dict[str, Any]
    for wrong in (
        {"sent_at": CANARY},
        {"sent_at": 1},
        {"replica": ""},
        {"operations": {}},
        {"queue": []},
        {"replica": f"a {CANARY}"},
    ):
        detail = problem(await push(served, **wrong), 422, "malformed")
        assert next(iter(wrong)) in detail
    many = [operation("CREATE", f"r{n}", name=CANARY) for n in range(51)]
    problem(await push(served, *many), 422, "too-many")
    assert (await push(served, *many[:50])).status == 200
    problem(await push(served, "x" * 5_000_000), 413, "too-large")


async def test_a_batch_of_the_most_that_is_allowed_is_taken(served: Served, db: Pool) -> None:
    """15 operations of just under 256 KiB, one that is one byte larger, and an empty push."""
    room = 256 * 1024 - len(orjson.dumps(operation("CREATE", "r10", details="")))
    made = [operation("CREATE", f"r{n}", name="", details="x" * room) for n in range(10, 25)]
    for one in made:
        one["data"] = {"details": one["data"]["details"][len(',"name":"N"') :], "name": "N"}
    assert {len(orjson.dumps(one)) for one in made} == {256 * 1024}
    large = operation("CREATE", "large", details="x" * (room - len(',"name":"N"') - 1), name="N")
    answer = await push(served, *made[:14], large)
    assert answer.status == 200, answer.body
    told = [one.get("reason", one["result"]) for one in answer.json["results"]]
    assert told == [*["applied"] * 14, "too-large"]
    assert (await push(served)).json["results"] == []


ODD: Final = ("NaN", "-Infinity", "1e400", "1" * 400, r'"\ud800"', r'{"\udfff": 1}', "[" * 400 + "]" * 400)


@pytest.mark.parametrize("place", ["data", "base", "base_version", "op_id"])
async def test_a_value_that_json_cannot_hold_costs_its_operation_alone(served: Served, db: Pool, place: str) -> None:
    proof = await bearer(db, user="alice")
    for n, value in enumerate(ODD):
        odd = operation("CREATE", "a", name="Ann") | {place: {"details": "?"} if place in ("data", "base") else "?"}
        body = orjson.dumps({"operations": [odd, operation("CREATE", f"b{n}", name="Ben")]})
        answer = await served.ask("POST", PATH, body.replace(b'"?"', value.encode()), who="", headers=proof)
        first, second = answer.json["results"]
        assert (first["result"], first["reason"]) == ("rejected", "type"), value[:20]
        assert second["result"] == "applied"


async def test_replicas_are_bound_to_whose_token_has_named_them(served: Served, db: Pool) -> None:
    alice, ben = await bearer(db, user="alice"), await bearer(db, user="ben")
    assert (await push(served, proof=alice, replica="r1")).status == 200
    problem(await push(served, proof=ben, replica="r1"), 403, "replica-of-another")
    problem(await push(served, proof=alice, replica="r1", ack=str(uuid4())), 409, "replica-forked")
    feed = str(await db.fetchval("SELECT feed FROM sync_clock"))
    problem(await push(served, proof=alice, via=[feed]), 409, "loop")
    problem(await push(served, proof=alice, cursor="nonsense"), 400, "malformed")
    assert (await served.ask("POST", PATH, b"{}", who="")).status == 401


async def test_a_token_that_reads_is_told_so_for_each_operation(served: Served, db: Pool) -> None:
    reader = await bearer(db, user="alice", role="read")
    answer = await push(served, operation("CREATE", "a", name="Ann"), proof=reader)
    assert answer.status == 200
    assert [one["reason"] for one in answer.json["results"]] == ["read-only"]


async def test_the_phone_of_one_user_cannot_write_or_see_the_record_of_another(served: Served, db: Pool) -> None:
    alice, ben = await bearer(db, user="alice"), await bearer(db, user="ben")
    await push(served, operation("CREATE", "a", name=CANARY), proof=alice)
    asked = [
        operation("UPDATE", "a", name="X", _base_version=1),
        operation("DELETE", "a", _base_version=1),
        operation("CREATE", "a", name="X"),
        operation("CREATE", "b", name="X", owner_id="alice"),
        operation("CREATE", "c", name="X", _user_id="alice"),
    ]
    answer = await push(served, *asked, proof=ben)
    told = [one.get("reason") or one.get("decision") or one["result"] for one in answer.json["results"]]
    assert told == ["gone", "applied", "owner", "owner", "field"]
    assert CANARY not in answer.body.decode()
    assert await db.fetchval("SELECT data->>'name' FROM records") == CANARY


# the database away


@asynccontextmanager
async def away(postgres_url: str, name: str) -> AsyncIterator[None]:
    """The database *name* takes no connection meanwhile, and has lost those that it had."""
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await admin.close()


async def test_an_outage_is_answered_503_and_loses_nothing(served: Served, db: Pool, postgres_url: str) -> None:
    name = await db.fetchval("SELECT current_database()")
    before, meanwhile = operation("CREATE", "a", name="Ann"), operation("CREATE", "b", name=CANARY)
    unseen = await bearer(db, user="alice")
    await push(served, before)
    with capture_logs() as lines:
        async with away(postgres_url, name):
            answer = await push(served, meanwhile)
            problem(answer, 503, "busy")
            assert int(answer.headers["Retry-After"]) >= 1
            problem(await push(served, meanwhile, proof=unseen), 503, "busy")
    assert CANARY not in str(lines)

    async def again() -> Answer | None:
        answer = await push(served, before, meanwhile)
        return answer if answer.status == 200 else None

    done = await until(again)
    assert done is not None
    assert [one["result"] for one in done.json["results"]] == ["duplicate", "applied"]


async def test_a_push_that_was_cut_in_its_write_is_applied_once(served: Served, db: Pool) -> None:
    made = [operation("CREATE", f"r{n}", name="N") for n in range(20)]
    async with db.acquire() as conn:
        block = conn.transaction()
        await block.start()
        await conn.execute("UPDATE sync_clock SET seq = seq")
        cut = asyncio.create_task(push(served, *made))
        waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        pid = await until(lambda: db.fetchval(waiting))
        await conn.execute("SELECT pg_terminate_backend($1)", pid)
        problem(await cut, 503, "busy")
        await block.rollback()
    again = await push(served, *made)
    assert [one["result"] for one in again.json["results"]] == ["applied"] * 20
    assert await db.fetchval("SELECT count(*) FROM records WHERE version = 1") == 20


async def test_nothing_of_the_data_is_in_errors_or_logs(served: Served, db: Pool) -> None:
    await db.execute("ALTER TABLE records ADD CHECK (record_id <> 'refused')")
    bad = [
        operation("CREATE", "refused", name=CANARY),
        operation("CREATE", "n1", name={CANARY: CANARY}),
        operation("CREATE", "n2", name="N", **{CANARY.replace("-", "_"): 1}),
        operation("CREATE", "n3", name="N", priority=CANARY),
        operation("CREATE", "n4", name="N", birthday=CANARY),
        operation("CREATE", "n5", name="N", _base={"name": f"{CANARY}\0"}),
        operation("CREATE", "n6", name=f"{CANARY}\0"),
        CANARY,
    ]
    with capture_logs() as lines:
        answer = await push(served, *bad)
        problem(await served.ask("POST", PATH, b'{"operations": [' + CANARY.encode()), 400, "malformed")
    assert [one["result"] for one in answer.json["results"]] == ["rejected"] * len(bad)
    assert CANARY not in answer.body.decode()
    assert CANARY not in str(lines)


async def test_without_room_nothing_is_half_done_and_the_operator_is_told_once(served: Served, db: Pool) -> None:
    proof = await bearer(db, user="alice")
    first, second = operation("CREATE", "a", name=CANARY), operation("CREATE", "b", name="Ben")
    with capture_logs() as logs:
        async with no_room(db, "outbox"):
            for _ in range(3):
                answer = await push(served, first, second, proof=proof, replica="r1")
                assert "no room" in problem(answer, 503, "busy")
                assert answer.headers["Retry-After"]
            assert (await served.ask("GET", "/api/v1/sync/pull", who="", headers=proof)).status == 200
    assert [one["sqlstate"] for one in logs if one["event"] == "api.unanswered"] == ["53100"]
    assert CANARY not in str(logs)
    for table in ("records", "sync_ops", "sync_replicas", "outbox"):
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    answer = await push(served, first, second, proof=proof, replica="r1")
    assert [one["result"] for one in answer.json["results"]] == ["applied", "applied"]

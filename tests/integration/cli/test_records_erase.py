"""`ferryman records erase` and `ferryman records replicas`, as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import orjson

from adapters.postgres.pool import Pool
from tests.support.daemons import environment, ferryman
from tests.support.records import operation, person, pushed, records_of

ALICE = person("alice")
CANARY = "canary-77a1"


async def test_a_record_is_erased_for_good(database_url: str, redis_url: str, db: Pool, tmp_path: Path) -> None:
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url)

    async def typed(*argv: str) -> tuple[int, str, str]:
        return await ferryman("records", "erase", *argv, cwd=tmp_path, env=env)

    records = records_of(db)
    made = operation("CREATE", "lead_1", name=CANARY, amount="10")
    await pushed(records, ALICE, made)
    await pushed(records, ALICE, operation("UPDATE", "lead_1", amount="20", _base_version=1))
    late = operation("UPDATE", "lead_1", amount="30", notes=CANARY, _base_version=1)
    await pushed(records, ALICE, late, replica="tablet")
    assert await db.fetchval("SELECT count(*) FROM sync_conflicts") == 1
    code, _, err = await typed("Lead", "lead_2", "--yes")
    assert (code, "there is no such record" in err) == (1, True)
    assert await typed("Lead", "lead_1", "--dry-run") == (0, "Lead lead_1 would be erased\n", "")
    assert (await typed("Lead", "lead_1"))[0] == 1
    assert await typed("Lead", "lead_1", "--yes") == (0, "Lead lead_1 is erased\n", "")
    assert await typed("Lead", "lead_1", "--yes") == (0, "Lead lead_1 was erased before\n", "")
    ((version, owner, deleted, erased, data, stamps),) = await db.fetch(
        "SELECT version, owner_id, deleted, erased, data::text, stamps FROM records"
    )
    assert (version, owner, deleted, erased, data, stamps) == (4, "alice", True, True, "{}", "{}")
    assert await db.fetchval("SELECT count(*) FROM sync_conflicts") == 0
    for table in ("records", "sync_ops", "sync_conflicts", "sync_queue", "sync_base", "outbox", "audit_log"):
        assert CANARY not in str(await db.fetch(f"SELECT t::text FROM {table} t")), table
    told = await db.fetch("SELECT data FROM outbox ORDER BY seq")
    last = orjson.loads(told[-1]["data"])
    assert (last["version"], last["deleted"], last["fields"]) == (4, True, ["amount", "name", "notes", "owner_id"])
    subject = await db.fetchval("SELECT subject FROM audit_log WHERE action = 'record.erased'")
    assert subject == "record:Lead:lead_1"

    again = [
        operation("UPDATE", "lead_1", name="X", _base_version=4),
        operation("CREATE", "lead_1", name="X"),
        operation("DELETE", "lead_1", _base_version=4),
        made,
    ]
    answers = await pushed(records, ALICE, again[0], again[3])
    answers += await pushed(records, ALICE, again[1])
    answers += await pushed(records, ALICE, again[2])
    assert [one.get("reason", one["result"]) for one in answers] == ["erased", "duplicate", "erased", "applied"]
    assert await db.fetchval("SELECT version FROM records") == 4


async def test_replicas_are_listed_and_forgotten(database_url: str, redis_url: str, db: Pool, tmp_path: Path) -> None:
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url)

    async def typed(*argv: str) -> tuple[int, str, str]:
        return await ferryman("records", "replicas", *argv, cwd=tmp_path, env=env)

    assert await typed() == (0, "no replica has pushed yet\n", "")
    await pushed(records_of(db), ALICE, replica="phone-1")
    code, out, _ = await typed("list")
    assert (code, "phone-1" in out, "user:alice" in out, "1 replica" in out) == (0, True, True, True)
    (one,) = json.loads((await typed("--json"))[1])
    assert (one["replica"], one["principal"]) == ("phone-1", "user:alice")
    for wrong in (["forget"], ["list", "phone-1"], ["--yes"], ["drop", "phone-1"]):
        assert (await typed(*wrong))[0] == 2, wrong
    assert (await typed("forget", "phone-2", "--yes"))[0] == 1
    what = "the replica phone-1 of user:alice"
    assert await typed("forget", "phone-1", "--dry-run") == (0, f"{what} would be forgotten\n", "")
    assert (await typed("forget", "phone-1"))[0] == 1
    assert (await typed("forget", "phone-1", "--yes"))[1].startswith(f"{what} is forgotten")
    assert await db.fetchval("SELECT action FROM audit_log") == "replica.forgotten"
    (answer,) = await pushed(records_of(db), person("ben", token=3), operation("CREATE", "a", name="A"))
    assert answer["result"] == "applied"

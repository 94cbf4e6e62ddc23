"""`ferryman records conflicts` and `records resolve`, as an operator types them."""

from __future__ import annotations

import getpass
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from tests.support.contacts_verb import Verb, contacts_verb
from tests.support.records_desk import Desk, desk_on, op


@pytest.fixture
async def desk(db: Pool, redis: Redis) -> AsyncIterator[Desk]:
    async with desk_on(db, redis) as made:
        yield made


@pytest.fixture
def verb(redis_url: str, database_url: str) -> Verb:
    return contacts_verb(redis_url, database_url, "records")


async def test_the_verbs_show_and_decide(desk: Desk, verb: Verb, tmp_path: Path) -> None:
    assert await verb("conflicts", "--open") == (0, "no conflict waits\n")
    id = str(await desk.amounts())
    code, said = await verb("conflicts")
    assert (code, said.splitlines()[1].split()[:7]) == (0, [id, "Lead", "l1", "amount", "manual", "open", "ann"])
    code, said = await verb("conflicts", "--open", "--json")
    (shown,) = json.loads(said)
    assert (shown["ours"], shown["theirs"], shown["record"]["version"]) == ({"amount": "2"}, {"amount": "3"}, 2)
    code, said = await verb("resolve", id, "--take", "theirs", "--dry-run")
    assert (code, said.splitlines()) == (
        0,
        [
            f"conflict {id}  Lead l1  UPDATE of ann  open",
            "now: version 2",
            'amount: ours "2"  theirs "3"  now "2"',
            'theirs: writes {"amount":"3"}',
        ],
    )
    assert (await desk.record())[2]["amount"] == "2"
    code, said = await verb("resolve", id, "--take", "theirs")
    assert (code, said.splitlines()[-1]) == (0, "resolved: Lead l1 is at version 3")
    code, said = await verb("resolve", id, "--take", "ours")
    assert (code, f"decided already: theirs, by {getpass.getuser()}" in said) == (1, True)
    other = str(await desk.amounts("l2"))
    file = tmp_path / "merged.json"
    file.write_text('{"amount": "2.75", "stage": "won"}')
    assert (await verb("resolve", other, "--take", "merge", str(file)))[0] == 0
    assert (await desk.record("l2"))[2]["amount"] == "2.75"


async def test_the_verb_refuses_a_changed_record_without_yes(desk: Desk, verb: Verb) -> None:
    id = str(await desk.amounts())
    await desk.must("ann", "laptop", op("UPDATE", "l1", 2, amount="5"))
    code, said = await verb("resolve", id, "--take", "theirs")
    assert (code, "changed since: amount" in said, "add --yes" in said) == (1, True, True)
    assert (await desk.record())[2]["amount"] == "5"
    assert (await verb("resolve", id, "--take", "theirs", "--yes"))[0] == 0
    assert (await desk.record())[2]["amount"] == "3"


@pytest.mark.parametrize(
    "argv",
    [("1",), ("1", "--take", "mine"), ("1", "--take", "merge"), ("x", "--take", "ours"), ("1", "--take", "ours", "f")],
)
async def test_what_makes_no_sense_is_a_usage_error(desk: Desk, verb: Verb, argv: tuple[str, ...]) -> None:
    assert (await verb("resolve", *argv))[0] == 2


async def test_a_file_without_fields_is_a_usage_error(desk: Desk, verb: Verb, tmp_path: Path) -> None:
    file = tmp_path / "merged.json"
    for text in ("", "[1]", "{", '{"a": 1, "a": 2}'):
        file.write_text(text)
        assert (await verb("resolve", "1", "--take", "merge", str(file)))[0] == 2


@pytest.mark.parametrize("fields", [{"nothing": 1}, {"amount": "much"}, {"name": None}, {"owner_id": 7}])
async def test_a_look_refuses_what_the_record_does_not_take_as_the_real_run_does(
    desk: Desk, verb: Verb, tmp_path: Path, fields: dict[str, Any]
) -> None:
    id = str(await desk.amounts())
    file = tmp_path / "merged.json"
    file.write_text(json.dumps(fields))
    ran = [await verb("resolve", id, "--take", "merge", str(file), *more) for more in ((), ("--dry-run",))]
    assert ran[0] == ran[1]
    code, said = ran[0]
    assert (code, "the record does not take this" in said, next(iter(fields)) in said) == (1, True, True)
    assert await desk.listed(open=True) == [int(id)]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
async def test_a_conflict_of_a_model_that_is_gone_is_told(
    desk: Desk, verb: Verb, db: Pool, more: tuple[str, ...]
) -> None:
    id = str(await desk.amounts())
    await db.execute("UPDATE sync_conflicts SET model = 'Gone'")
    await db.execute("UPDATE records SET model = 'Gone'")
    code, said = await verb("resolve", id, "--take", "theirs", *more)
    assert (code, "models.toml has no model Gone any more" in said) == (1, True)

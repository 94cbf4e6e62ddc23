"""What an operator is shown of a record and of an edge's queue."""

from __future__ import annotations

import json
from typing import Final

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from tests.support.contacts_verb import Verb, contacts_verb
from tests.support.records_desk import desk_on, op

UPSTREAM: Final = "https://hub.example"


@pytest.fixture
def verb(redis_url: str, database_url: str) -> Verb:
    return contacts_verb(redis_url, database_url, "records")


async def test_a_record_is_shown_with_who_wrote_each_field(db: Pool, redis: Redis, verb: Verb) -> None:
    async with desk_on(db, redis) as desk:
        await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody", stage="new"))
        await desk.must("ann", "laptop", op("UPDATE", "l1", 1, stage="won"))
    code, said = await verb("show", "Lead", "l1")
    rows = {words[0]: words for words in map(str.split, said.splitlines()) if len(words) == 5}
    assert code == 0
    assert rows["stage"] == ["stage", "won", "2", "ann", "laptop"]
    assert rows["name"] == ["name", "Somebody", "1", "ann", "phone"]
    code, said = await verb("show", "Lead", "l1", "--json")
    timeline = json.loads(said)["timeline"]
    assert (code, [entry["version"] for entry in timeline], len(timeline[0]["op_id"])) == (0, [1, 2], 36)


async def test_the_queue_of_an_edge_is_told_as_json(db: Pool, redis: Redis, verb: Verb) -> None:
    async with desk_on(db, redis, sync_upstream_url=UPSTREAM, sync_upstream_token="fmt_" + "x" * 43) as desk:
        await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody"))
    code, said = await verb("queue", "--json")
    (waiting,) = json.loads(said)
    assert (code, len(waiting["op_id"]), waiting["data"]["name"]) == (0, 36, "Somebody")
    code, said = await verb("show", "Lead", "l1", "--json")
    assert (code, [entry["what"] for entry in json.loads(said)["timeline"]]) == (0, ["operation", "upstream"])

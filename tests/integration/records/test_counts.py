"""What a reader is told of how records stand: the counts of what concerns them, read by their own rows."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.postgres.pool import Pool
from adapters.postgres.records import counts
from daemon.bus.worker import utc_now
from daemon.records.stats import stats
from daemon.settings.model import Settings
from schemas.principals import Principal
from tests.support.plans import assert_reads_few
from tests.support.records import edge, operation, person, pushed, records_of

MANY = 6_000
THEIRS = 5
"""Records of each owner of `_FILL`, about."""

_FILL = f"""
INSERT INTO records (model, record_id, version, prev, seq, owner_id, branch, data, stamps, changed_at)
SELECT 'Lead', 'lead_' || n, 1, 0, n, 'u' || (n % {MANY // THEIRS}), 'b' || (n % {MANY // THEIRS}), '{{}}', '{{}}',
       now()
FROM generate_series($1::int, $2::int) n
"""

EDGE = Settings(sync_upstream_url="http://127.0.0.1:9")


def lead(id: str, **more: Any) -> dict[str, Any]:
    return operation("CREATE", id, name="Ada", **more)


async def told(db: Pool, reader: Principal | None, settings: Settings = EDGE) -> dict[str, Any]:
    return await stats(db, settings, utc_now(), reader)


async def test_a_person_sees_the_own_counts_alone(db: Pool) -> None:
    records = records_of(db, EDGE)
    for who, ids in (("alice", ("a1", "a2")), ("bob", ("b1",))):
        await pushed(records, person(who), *(lead(one) for one in ids), replica=who)
    for reader, count in (
        (person("alice"), 2),
        (person("bob"), 1),
        (person("carol"), 0),
        (person("carol", "admin"), 3),
        (None, 3),
    ):
        seen = await told(db, reader)
        assert (seen["pending"], seen["records"]) == (count, count)


async def test_an_edge_sees_the_counts_of_what_it_carries(db: Pool) -> None:
    """An edge that is called as a person is, sees nothing of that person by it."""
    records = records_of(db, EDGE)
    await pushed(records, person("alice"), lead("a1"), lead("a2"), lead("a3"), replica="alice")
    await pushed(records, person("alice"), operation("DELETE", "a3", _base_version=1), replica="alice")
    await pushed(records, person("bob"), lead("b1", branch_id="north"), lead("b2"), replica="bob")
    for reader, owned in (
        (edge("office", "alice"), 2),
        (edge("office", "alice", "bob"), 4),
        (edge("office", branch="north"), 1),
        (edge("office", "alice", branch="north"), 3),
        (edge("office", "bob", branch="north"), 2),
        (edge("alice", "carol"), 0),
    ):
        assert (await told(db, reader))["records"] == owned, reader
    assert (await told(db, edge("office", "alice")))["pending"] == 4
    assert (await told(db, edge("alice", "carol")))["pending"] == 0


async def test_what_an_edge_has_pushed_is_counted_for_it(db: Pool) -> None:
    records, office = records_of(db), edge("office", "alice", "bob")
    ops = [lead("a1", _user_id="alice", owner_id="alice"), lead("b1", _user_id="bob", owner_id="bob")]
    answers = await pushed(records, office, *ops, replica="office-1")
    assert [one["result"] for one in answers] == ["applied", "applied"], answers
    await pushed(records, person("alice"), lead("a2"), replica="alice")
    hub = Settings()
    assert (await told(db, office, hub))["synced_today"] == 2
    assert (await told(db, None, hub))["synced_today"] == 3
    assert (await told(db, office, hub))["last_sync"] is not None
    assert (await told(db, edge("alice", "alice"), hub))["last_sync"] is None


@pytest.mark.parametrize(
    "arguments",
    ["ARRAY['u3'], null", "ARRAY['u3', 'u9', 'u15'], 'b1'", "ARRAY[]::text[], 'b2'", "ARRAY['nobody'], null"],
)
async def test_records_of_a_reader_are_counted_without_reading_those_of_others(db: Pool, arguments: str) -> None:
    await db.execute("UPDATE sync_clock SET seq = $1", MANY)
    await assert_reads_few(db, ["records"], [_FILL], MANY, counts._OF_READER, "text[], text", arguments, 25 * THEIRS)

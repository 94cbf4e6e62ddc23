"""At an edge, a value of the upstream's that an open operation hides was not seen by who writes over that."""

from __future__ import annotations

from adapters.postgres.pool import Pool
from daemon.settings.model import Settings
from tests.integration.records.edge.test_store import upsert
from tests.support.edges import Edge
from tests.support.records import operation, person, pushed, records_of


async def test_an_edit_over_an_open_one_names_the_version_that_was_seen(db: Pool) -> None:
    edge, alice = Edge(db), person("alice")
    settings = Settings(sync_upstream_url="https://hub.example", sync_upstream_token="fmt_" + "x" * 43)
    records = records_of(db, settings)
    await edge.pull(upsert("l1", 5, name="Ada", stage="new", city="Acre"))
    first = operation("UPDATE", "l1", stage="won", _base_version=1)
    assert [one["result"] for one in await pushed(records, alice, first)] == ["applied"]
    await edge.pull(upsert("l1", 6, name="Ada", stage="lost", city="Haifa"), cursor="c2")
    row = await edge.row("l1")
    assert row is not None
    assert (row["data"]["stage"], row["data"]["city"], row["up_version"]) == ("won", "Haifa", 6)
    version = row["version"]
    seen = operation("UPDATE", "l1", city="Eilat", _base_version=version)
    over = operation("UPDATE", "l1", stage="paid", _base_version=version)
    await pushed(records, alice, seen)
    await pushed(records, alice, over)
    await pushed(records, alice, operation("DELETE", "l1", _base_version=version))
    rows = await db.fetch("SELECT operation, base_version FROM sync_queue ORDER BY id")
    assert [tuple(one) for one in rows] == [("UPDATE", 5), ("UPDATE", 6), ("UPDATE", 5), ("DELETE", 5)]


async def test_operations_of_one_push_hide_what_is_hidden_from_the_first(db: Pool) -> None:
    edge, alice = Edge(db), person("alice")
    settings = Settings(sync_upstream_url="https://hub.example", sync_upstream_token="fmt_" + "x" * 43)
    records = records_of(db, settings)
    await edge.pull(upsert("l1", 5, name="Ada", stage="new", city="Acre"))
    await pushed(records, alice, operation("UPDATE", "l1", stage="won", _base_version=1))
    await edge.pull(upsert("l1", 6, name="Ada", stage="lost", city="Haifa"), cursor="c2")
    both = operation("UPDATE", "l1", stage="paid", city="Eilat", _base_version=1)
    again = operation("UPDATE", "l1", city="Arad", _base_version=1)
    await pushed(records, alice, both, again)
    rows = await db.fetch("SELECT base_version FROM sync_queue ORDER BY id")
    assert [one["base_version"] for one in rows] == [5, 5, 5]

"""The edge as a replica: what answers and pulled rows do to its records and its queue."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.postgres.pool import Pool
from adapters.sync.store import Change, Page, Verdict
from tests.support.edges import Edge


def upsert(record: str, version: int, stamp: tuple[int, int, str] = (5, 0, "web"), **data: Any) -> Change:
    data = {"owner_id": "alice", **data}
    stamps = dict.fromkeys(data, stamp)
    return Change(
        op="upsert",
        model="Lead",
        record_id=record,
        version=version,
        owner_id=data["owner_id"],
        data=data,
        stamps=stamps,
    )


@pytest.fixture
def edge(db: Pool) -> Edge:
    """An edge without records."""
    return Edge(db)


async def test_a_pulled_row_is_a_record_here_and_is_not_queued(edge: Edge) -> None:
    assert await edge.pull(upsert("l1", 7, name="Ada")) == 1
    row = await edge.row("l1")
    assert row is not None
    assert (row["version"], row["up_version"], row["owner_id"]) == (1, 7, "alice")
    assert row["data"] == {"owner_id": "alice", "name": "Ada"}
    assert row["stamps"]["name"] == [5, 0, "web", 1, "up", 0]
    assert await edge.db.fetchval("SELECT count(*) FROM sync_queue") == 0
    assert await edge.bases() == 0
    assert [one.subject for one in edge.told] == ["Lead:l1"]
    assert (await edge.store.identity()).cursor == "c1"


async def test_the_echo_of_an_own_write_changes_nothing_here(edge: Edge) -> None:
    op = await edge.write("CREATE", "l1", name="Ada", owner_id="alice")
    before = await edge.row("l1")
    await edge.answer(Verdict(op_id=op, state="synced", version=1))
    edge.told.clear()
    assert await edge.pull(upsert("l1", 1, (1, 0, "phone"), name="Ada")) == 0
    after = await edge.row("l1")
    assert before is not None
    assert after is not None
    for same in ("version", "seq", "data", "stamps", "updated_at"):
        assert after[same] == before[same], same
    assert after["up_version"] == 1
    assert (await edge.op(op))["settled"]
    assert await edge.bases() == 0
    assert edge.told == []


async def test_what_is_acknowledged_stays_on_top_until_the_row_that_holds_it_has_come(edge: Edge) -> None:
    await edge.pull(upsert("l1", 1, name="Ada", stage="new"))
    op = await edge.write("UPDATE", "l1", stage="won")
    await edge.answer(Verdict(op_id=op, state="synced", version=3))
    await edge.pull(upsert("l1", 2, name="Ada L.", stage="new"))
    row = await edge.row("l1")
    assert row is not None
    assert row["data"]["stage"] == "won"
    assert row["data"]["name"] == "Ada L."
    assert not (await edge.op(op))["settled"]
    await edge.pull(upsert("l1", 3, name="Ada L.", stage="won"))
    assert (await edge.op(op))["settled"]
    assert await edge.bases() == 0


async def test_a_value_that_lost_at_the_upstream_is_corrected_here_as_a_foreign_change(edge: Edge) -> None:
    await edge.pull(upsert("l1", 1, stage="new"))
    op = await edge.write("UPDATE", "l1", stage="won")
    await edge.pull(upsert("l1", 2, stage="lost"))
    await edge.answer(Verdict(op_id=op, state="synced", version=2, decision="ours"))
    row = await edge.row("l1")
    assert row is not None
    assert row["data"]["stage"] == "lost"
    assert row["version"] == 3
    assert row["stamps"]["stage"] == [5, 0, "web", 3, "up", 2]
    assert edge.told[-1].json()["fields"] == ["stage"]


async def test_a_refused_operation_is_kept_with_its_reason_and_leaves_what_everybody_sees(edge: Edge) -> None:
    await edge.pull(upsert("l2", 1, name="Bob"))
    made = await edge.write("CREATE", "l1", name="Ada", owner_id="alice")
    edit = await edge.write("UPDATE", "l2", name="Robert")
    await edge.answer(
        Verdict(op_id=made, state="failed", reason="field", detail="Lead has no field name"),
        Verdict(op_id=edit, state="failed", reason="type"),
    )
    found = await edge.op(made)
    assert (found["state"], found["error"], found["synced_at"]) == ("failed", "field: Lead has no field name", None)
    assert found["data"] == '{"name": "Ada", "owner_id": "alice"}'
    first, second = await edge.row("l1"), await edge.row("l2")
    assert first is not None
    assert second is not None
    assert (first["deleted"], first["data"]) == (True, {})
    assert (second["data"]["name"], second["version"]) == ("Bob", 3)
    assert await edge.bases() == 0
    # put back and taken, it is there again
    await edge.db.execute("UPDATE sync_queue SET state = 'pending'")
    await edge.answer(Verdict(op_id=made, state="synced", version=1))
    await edge.pull(upsert("l1", 1, name="Ada"))
    back = await edge.row("l1")
    assert back is not None
    assert (back["deleted"], back["data"]["name"]) == (False, "Ada")


async def test_what_was_answered_is_sent_again_though_the_version_has_grown_again(edge: Edge) -> None:
    await edge.pull(upsert("l1", 3, name="Ada", stage="new"))
    own = await edge.write("UPDATE", "l1", stage="won")
    await edge.answer(Verdict(op_id=own, state="synced", version=4))
    await edge.pull(upsert("l1", 4, name="Ada", stage="won"))
    await edge.store.begin_rebuild("epoch")
    await edge.pull(upsert("l1", 5, name="of others", stage="lost"), cursor="n1")
    await edge.store.end_rebuild()
    row = await edge.row("l1")
    assert row is not None
    assert row["data"]["stage"] == "lost"  # what the upstream has, until it has answered
    assert [one.operation.op_id for one in await edge.store.due(50, 10**6)] == [own]
    await edge.answer(Verdict(op_id=own, state="synced", version=4))  # as a duplicate: it had it all the time
    assert (await edge.op(own))["settled"]
    assert await edge.row("l1") == row


async def test_an_operation_that_waits_holds_back_its_own_record_alone(edge: Edge) -> None:
    first = await edge.write("CREATE", "l1", name="Ada")
    second = await edge.write("UPDATE", "l1", name="Bob")
    other = await edge.write("CREATE", "l2", name="Eve")
    assert [one.operation.op_id for one in await edge.store.due(50, 10**6)] == [first, second, other]
    await edge.answer(Verdict(op_id=first, state="pending", reason="internal", retries=1, after_s=60))
    assert [one.operation.op_id for one in await edge.store.due(50, 10**6)] == [other]
    assert (await edge.op(first))["retry_count"] == 1
    assert second


async def test_what_leaves_the_edge_is_dropped_and_its_open_operations_are_kept_as_failed(edge: Edge) -> None:
    await edge.pull(upsert("l1", 1, name="Ada"))
    op = await edge.write("UPDATE", "l1", name="Bob")
    await edge.pull(Change(op="remove", model="Lead", record_id="l1"))
    row = await edge.row("l1")
    assert row is not None
    assert (row["deleted"], row["owner_id"], row["data"], row["stamps"]) == (True, None, {}, {})
    exits = await edge.db.fetch("SELECT audience, seq FROM sync_exits")
    assert [tuple(one) for one in exits] == [("o:alice", row["seq"])]
    found = await edge.op(op)
    assert (found["state"], found["reason"]) == ("failed", "owner")
    assert await edge.bases() == 0
    # it may come back, also at the version that it had
    assert await edge.pull(upsert("l1", 1, name="Ada")) == 1
    back = await edge.row("l1")
    assert back is not None
    assert (back["deleted"], back["data"]["name"], back["version"]) == (False, "Ada", 4)


async def test_an_older_row_is_let_pass(edge: Edge) -> None:
    await edge.pull(upsert("l1", 5, name="Ada"))
    assert await edge.pull(upsert("l1", 4, name="old")) == 0
    row = await edge.row("l1")
    assert row is not None
    assert row["data"]["name"] == "Ada"


async def test_a_deleted_record_is_a_tombstone_here(edge: Edge) -> None:
    await edge.pull(upsert("l1", 1, name="Ada"))
    await edge.pull(Change(op="delete", model="Lead", record_id="l1", version=2))
    row = await edge.row("l1")
    assert row is not None
    assert (row["deleted"], row["owner_id"], row["up_version"]) == (True, "alice", 2)
    assert row["deleted_at"] is not None


async def test_a_rebuild_drops_what_is_not_given_any_more_and_keeps_the_queue(edge: Edge) -> None:
    await edge.pull(upsert("l1", 1, name="Ada"), upsert("l2", 1, name="Bob"))
    op = await edge.write("CREATE", "l3", name="Eve", owner_id="alice")
    await edge.store.begin_rebuild("compacted")
    await edge.pull(upsert("l1", 2, name="Ada L."), cursor="n1")
    assert (await edge.store.identity()).rebuild is not None
    await edge.store.end_rebuild()
    assert (await edge.store.identity()).cursor == "n1"
    rows = {name: await edge.row(name) for name in ("l1", "l2", "l3")}
    assert rows["l1"]["data"]["name"] == "Ada L."  # type: ignore[index]
    assert rows["l2"]["deleted"]  # type: ignore[index]
    assert rows["l3"]["data"]["name"] == "Eve"  # type: ignore[index]
    assert (await edge.op(op))["state"] == "pending"


async def test_what_a_restored_upstream_has_lost_is_sent_again_or_named(edge: Edge) -> None:
    await edge.pull(upsert("l1", 3, name="Ada", stage="new"), upsert("l2", 2, name="Bob"), upsert("l4", 1, name="Mia"))
    made = await edge.write("CREATE", "l3", name="Eve", owner_id="alice")
    own = await edge.write("UPDATE", "l1", stage="won")
    await edge.answer(Verdict(op_id=made, state="synced", version=1), Verdict(op_id=own, state="synced", version=4))
    await edge.pull(
        upsert("l3", 1, name="Eve"), upsert("l1", 4, name="Ada", stage="won"), upsert("l2", 3, name="Robert")
    )
    assert (await edge.op(made))["settled"]
    assert (await edge.op(own))["settled"]
    await edge.store.begin_rebuild("epoch")
    await edge.pull(upsert("l1", 3, name="Ada", stage="new"), upsert("l2", 2, name="Bob"), cursor="n1")
    await edge.store.end_rebuild()
    for op, base in ((made, 0), (own, 3)):
        found = await edge.op(op)
        assert (found["state"], found["settled"], found["base_version"]) == ("pending", False, base)
        assert found["synced_at"] is None
    assert [one.operation.op_id for one in await edge.store.due(50, 10**6)] == [made, own]
    kept = {name: await edge.row(name) for name in ("l1", "l2", "l3", "l4")}
    assert kept["l1"]["data"]["stage"] == "won"  # type: ignore[index]
    assert kept["l3"]["data"]["name"] == "Eve"  # type: ignore[index]
    assert kept["l2"]["data"]["name"] == "Bob"  # type: ignore[index]
    assert kept["l4"]["deleted"]  # type: ignore[index]
    lost = await edge.db.fetch("SELECT record_id, theirs::text, decision FROM sync_conflicts ORDER BY record_id")
    assert [(one[0], orjson.loads(one[1]), one[2]) for one in lost] == [
        ("l2", {"name": "Robert"}, "gone"),
        ("l4", {"name": "Mia", "owner_id": "alice"}, "gone"),
    ]


async def test_two_stores_at_once_do_no_harm(edge: Edge, db: Pool) -> None:
    other = Edge(db)
    await edge.store.identity()
    await other.store.identity()
    await edge.store.begin_rebuild("compacted")
    with pytest.raises(Exception, match="ended early"):  # its page is of the copy that was in force
        await other.store.take(Page(changes=[upsert("l1", 1, name="Ada")], cursor="late", more=False))
    assert (await edge.store.identity()).rebuild == ("compacted", None)

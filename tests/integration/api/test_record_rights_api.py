"""Whose records are shown, written and given away over HTTP: a person's, an administrator's, an edge's."""

from __future__ import annotations

from typing import Any

from adapters.postgres.pool import Pool
from tests.integration.api.conftest import Served
from tests.support.listening import check_problem
from tests.support.people_of_records import LEAD, NOA, PATH, Person, person, refused, tagged


async def every_way(who: Person, path: str) -> list[tuple[int, Any]]:
    """What is answered to all that can be asked of a record that there is, or may be."""
    asked = [
        await who.ask("GET", path),
        await who.ask("HEAD", path),
        await who.ask("GET", path, If_None_Match="*"),
        *[await who.ask("PUT", path, NOA, If_Match=tag) for tag in ('"1"', '"7"', "*")],
        *[await who.ask("PATCH", path, {"stage": "x"}, If_Match=tag) for tag in ('"1"', '"0"', "*")],
        await who.ask("PATCH", path, {"owner_id": "bob"}, If_Match="*"),
        await who.ask("PATCH", path, {"nothing": 1}, If_Match="*"),
        *[await who.ask("DELETE", path, If_Match=tag) for tag in ('"1"', "*")],
    ]
    return [(answer.status, answer.body.replace(path.encode(), b"")) for answer in asked]


async def test_a_stranger_cannot_tell_a_record_from_none(alice: Person, bob: Person, db: Pool) -> None:
    await alice.made()
    assert await every_way(bob, LEAD) == await every_way(bob, f"{PATH}/Lead/none")
    assert {status for status, _ in await every_way(bob, LEAD)} == {404}
    assert (await bob.ask("GET", f"{PATH}/Lead?name=Noa")).json == {"records": [], "next": None}
    refused(await bob.ask("POST", body=NOA), 403, "owner")
    refused(await bob.ask("PUT", body=NOA, If_None_Match="*"), 403, "owner")
    assert (await alice.ask("GET")).json["version"] == 1
    assert await db.fetchval("SELECT count(*) FROM sync_conflicts") == 0


async def test_an_owner_gives_away_where_the_model_says_so(alice: Person, bob: Person) -> None:
    await alice.made()
    refused(await alice.ask("PATCH", body={"owner_id": "bob"}, **tagged(1)), 403, "owner")
    refused(await alice.ask("POST", f"{PATH}/Lead/l-2", {**NOA, "owner_id": "bob"}), 403, "owner")
    path = f"{PATH}/Reminder/r-1"
    await alice.made(path, {"title": "call"})
    given_ = await alice.ask("PATCH", path, {"owner_id": "bob"}, **tagged(1))
    assert (given_.status, given_.body) == (204, b"")
    assert (await bob.ask("GET", path)).json["owner_id"] == "bob"
    refused(await alice.ask("GET", path), 404, "unknown-record")
    for method, body in (("PATCH", {"done": True}), ("PUT", {"title": "x"}), ("DELETE", None)):
        refused(await alice.ask(method, path, body, **tagged(2)), 403, "owner")
    assert (await bob.ask("PATCH", path, {"done": True}, **tagged(2))).status == 200


async def test_an_administrator_sees_all_and_moves_records(
    served: Served, db: Pool, alice: Person, bob: Person
) -> None:
    await alice.made()
    boss = await person(served, db, "boss", role="admin")
    moved = await boss.ask("PATCH", body={"owner_id": "bob"}, **tagged(1))
    assert (moved.status, moved.json["owner_id"]) == (200, "bob")
    refused(await alice.ask("PATCH", body={"stage": "x"}, **tagged(2)), 403, "owner")
    assert (await bob.ask("GET")).status == 200
    installation = await served.ask("GET", LEAD)
    assert installation.json == (await bob.ask("GET")).json
    for name in ("alice", "bob"):
        listed = await boss.ask("GET", f"{PATH}/Lead?owner_id={name}")
        assert len(listed.json["records"]) == (name == "bob")


async def test_a_token_that_reads_does_not_write(served: Served, db: Pool, alice: Person) -> None:
    await alice.made()
    reader = await person(served, db, role="read")
    assert (await reader.ask("GET")).status == 200
    for method, body in (("POST", NOA), ("PUT", NOA), ("PATCH", NOA), ("DELETE", None)):
        check_problem(await reader.ask(method, body=body, **tagged(1)), 403)


async def test_an_edge_writes_within_what_it_carries(served: Served, db: Pool, alice: Person, bob: Person) -> None:
    await alice.made()
    await bob.made(f"{PATH}/Lead/l-2")
    edge = await person(served, db, edge="e-1", owners=["alice", "carol"])
    assert (await edge.ask("PATCH", body={"stage": "won"}, **tagged(1))).status == 200
    assert (await edge.ask("PATCH", body={"owner_id": "carol"}, **tagged(2))).json["owner_id"] == "carol"
    refused(await edge.ask("PATCH", body={"owner_id": "bob"}, **tagged(3)), 403, "owner")
    refused(await edge.ask("PATCH", f"{PATH}/Lead/l-2", {"stage": "x"}, **tagged(1)), 404, "unknown-record")
    refused(await edge.ask("POST", f"{PATH}/Lead/l-3", {**NOA, "owner_id": "bob"}), 403, "owner")
    assert (await edge.ask("POST", f"{PATH}/Lead/l-4", {**NOA, "owner_id": "carol"})).status == 201
    ids = [one["id"] for one in (await edge.ask("GET", f"{PATH}/Lead")).json["records"]]
    assert ids == ["l-1", "l-4"]


async def test_an_edge_of_a_branch_sees_the_branch(served: Served, db: Pool) -> None:
    north, south = [await person(served, db, name, branch=name) for name in ("north", "south")]
    assert (await north.made())["branch"] == "north"
    await south.made(f"{PATH}/Lead/l-2")
    edge = await person(served, db, edge="e-1", branch="north")
    assert [one["id"] for one in (await edge.ask("GET", f"{PATH}/Lead")).json["records"]] == ["l-1"]
    assert (await edge.ask("GET", f"{PATH}/Lead/l-2")).status == 404

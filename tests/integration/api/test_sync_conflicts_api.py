"""`/api/v1/sync/conflicts`: values of records that met, looked at and decided over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from schemas.api.sync_conflicts import SyncConflict, SyncConflicts
from tests.integration.api.conftest import Served
from tests.support.answers import check_fields
from tests.support.listening import Answer, check_problem
from tests.support.records_desk import op
from tests.support.tokens import bearer

PATH: Final = "/api/v1/sync/conflicts"
Proof = Mapping[str, str]


async def asked(served: Served, method: str, path: str, proof: Proof, **body: Any) -> Answer:
    return await served.ask(method, path, json.dumps(body).encode() if body else None, who="", headers=proof)


async def pushed(served: Served, proof: Proof, replica: str, operation: Mapping[str, Any]) -> Any:
    known = await served.rig.db.fetchval("SELECT ack FROM sync_replicas WHERE replica = $1", replica)
    ack = {} if known is None else {"ack": str(known)}
    answer = await asked(served, "POST", "/api/v1/sync/push", proof, replica=replica, operations=[operation], **ack)
    assert answer.status == 200, answer.body
    return answer.json["results"][0]


@pytest.fixture
async def ann(served: Served) -> Proof:
    return await bearer(served.rig.db, user="ann")


async def amounts(served: Served, ann: Proof, id: str = "l1") -> int:
    """A lead of ann of which two devices say another amount: 2 is stored, 3 was pushed. The conflict's number."""
    await pushed(served, ann, "phone", op("CREATE", id, name="Somebody", amount="1"))
    await pushed(served, ann, "laptop", op("UPDATE", id, 1, amount="2"))
    result = await pushed(served, ann, "phone", op("UPDATE", id, 1, amount="3"))
    assert (result["result"], result["decision"]) == ("conflict", "open")
    number: int = result["conflict_id"]
    return number


async def test_a_conflict_is_listed_looked_at_and_decided_by_its_owner(served: Served, ann: Proof) -> None:
    id = await amounts(served, ann)
    listed = await asked(served, "GET", f"{PATH}?open=true", ann)
    check_fields(SyncConflicts, listed.json)
    assert [one["id"] for one in listed.json["conflicts"]] == [id]
    assert listed.json["next"] is None
    shown = await asked(served, "GET", f"{PATH}/{id}", ann)
    check_fields(SyncConflict, shown.json)
    assert (shown.json["ours"], shown.json["theirs"]) == ({"amount": "2"}, {"amount": "3"})
    decided = await asked(served, "POST", f"{PATH}/{id}", ann, take="theirs")
    check_fields(SyncConflict, decided.json)
    assert (decided.status, decided.json["decision"], decided.json["decided_by"]) == (200, "theirs", "ann")
    assert decided.json["record"]["data"]["amount"] == "3"
    pulled = (await asked(served, "GET", "/api/v1/sync/pull", ann)).json["changes"]
    assert [one["data"]["amount"] for one in pulled] == ["3"], "the decision is in the feed"
    again = await asked(served, "POST", f"{PATH}/{id}", ann, take="ours")
    assert (again.status, again.json["type"]) == (409, "decided")


async def test_who_has_seen_the_record_as_it_is_decides_all_the_same(served: Served, ann: Proof) -> None:
    id = await amounts(served, ann)
    await pushed(served, ann, "laptop", op("UPDATE", "l1", 2, amount="5"))
    refused = await asked(served, "POST", f"{PATH}/{id}", ann, take="merge", data={"amount": "4"})
    assert (refused.status, refused.json["type"]) == (409, "record-changed")
    assert (refused.json["record"]["version"], refused.json["record"]["data"]["amount"]) == (3, "5")
    decided = await asked(served, "POST", f"{PATH}/{id}", ann, take="merge", data={"amount": "4"}, version=3)
    assert (decided.status, decided.json["record"]["data"]["amount"]) == (200, "4")
    assert (decided.json["decision"], decided.json["record"]["version"]) == ("merged", 4)


async def test_strangers_find_nothing_and_readers_decide_nothing(served: Served, ann: Proof) -> None:
    id = await amounts(served, ann)
    bob, reads = await bearer(served.rig.db, user="bob"), await bearer(served.rig.db, user="ann", role="read")
    edge = await bearer(served.rig.db, edge="north", owners=["ann"])
    assert (await asked(served, "GET", PATH, bob)).json == {"conflicts": [], "next": None}
    check_problem(await asked(served, "GET", f"{PATH}/{id}", bob), 404)
    check_problem(await asked(served, "POST", f"{PATH}/{id}", bob, take="ours"), 404)
    assert (await asked(served, "GET", f"{PATH}/{id}", reads)).status == 200
    check_problem(await asked(served, "POST", f"{PATH}/{id}", reads, take="ours"), 403)
    check_problem(await asked(served, "POST", f"{PATH}/{id}", edge, take="ours"), 403)
    assert (await served.ask("POST", f"{PATH}/{id}", b'{"take": "ours"}')).status == 200
    assert (await asked(served, "GET", f"{PATH}/{id}", ann)).json["decided_by"] == "admin"


async def test_conflicts_come_in_pages(served: Served, ann: Proof) -> None:
    made = [await amounts(served, ann, f"l{n}") for n in range(3)]
    first = (await asked(served, "GET", f"{PATH}?limit=2", ann)).json
    assert ([one["id"] for one in first["conflicts"]], first["next"]) == (made[:0:-1], made[1])
    second = (await asked(served, "GET", f"{PATH}?limit=2&after={first['next']}", ann)).json
    assert ([one["id"] for one in second["conflicts"]], second["next"]) == (made[:1], None)


@pytest.mark.parametrize(
    ("path", "status"),
    [("?open=perhaps", 400), ("?mode=x", 400), ("?limit=0", 400), ("/x", 404), ("/" + "9" * 30, 404)],
)
async def test_a_question_that_makes_no_sense_is_told(served: Served, ann: Proof, path: str, status: int) -> None:
    check_problem(await asked(served, "GET", PATH + path, ann), status)


@pytest.mark.parametrize(
    "body",
    [
        {"take": "mine"},
        {"take": "merge"},
        {"take": "merge", "data": {}},
        {"take": "ours", "data": {"amount": "1"}},
        {"take": "merge", "data": {"amount": "much"}},
        {"take": "theirs", "version": -1},
        {"take": "theirs", "x": 1},
    ],
)
async def test_a_decision_that_makes_no_sense_changes_nothing(served: Served, ann: Proof, body: dict[str, Any]) -> None:
    id = await amounts(served, ann)
    check_problem(await asked(served, "POST", f"{PATH}/{id}", ann, **body), 422)
    assert (await asked(served, "GET", f"{PATH}/{id}", ann)).json["decision"] == "open"

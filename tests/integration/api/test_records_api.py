"""Records over HTTP: written at the version that their author has seen or not at all, and shown to their own alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.pool import Pool
from schemas.api.records import RecordOut, RecordPage
from tests.integration.api.conftest import Served
from tests.support.answers import check_fields
from tests.support.listening import Answer, check_problem
from tests.support.tokens import bearer

PATH: Final = "/api/v1/records"
LEAD: Final = f"{PATH}/Lead/l-1"
NOA: Final = {"name": "Noa", "stage": "new"}


class Person:
    """Whoever asks by a token of their own."""

    def __init__(self, served: Served, headers: Mapping[str, str]) -> None:
        self._served = served
        self._headers = headers

    async def ask(self, method: str, path: str = LEAD, body: Any = None, **headers: str) -> Answer:
        """*headers*: with an underscore for each hyphen."""
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        return await self._served.ask(method, path, content, who="", headers={**self._headers, **headers})

    async def made(self, path: str = LEAD, body: Any = None) -> dict[str, Any]:
        """A record that they make."""
        answer = await self.ask("POST", path, NOA if body is None else body)
        assert answer.status == 201, answer.body
        return dict(answer.json)


async def person(served: Served, db: Pool, name: str = "alice", **more: Any) -> Person:
    return Person(served, await bearer(db, **({"edge": name} | more if "edge" in more else {"user": name} | more)))


@pytest.fixture
async def alice(served: Served, db: Pool) -> Person:
    return await person(served, db)


@pytest.fixture
async def bob(served: Served, db: Pool) -> Person:
    return await person(served, db, "bob")


def tagged(version: int) -> dict[str, str]:
    return {"If_Match": f'"{version}"'}


def refused(answer: Answer, status: int, reason: str) -> None:
    check_problem(answer, status, "reason", *(["record"] if reason == "version" else []))
    assert answer.json["reason"] == reason, answer.json


async def test_a_record_from_first_to_last(alice: Person, db: Pool) -> None:
    made = await alice.ask("POST", body=NOA)
    assert (made.status, made.headers["Etag"], made.headers["Location"]) == (201, '"1"', LEAD)
    check_fields(RecordOut, made.json)
    assert made.json["data"] == {**NOA, "owner_id": "alice"}
    wanted = {"model": "Lead", "id": "l-1", "version": 1, "owner_id": "alice", "branch": None, "deleted": False}
    assert {name: made.json[name] for name in wanted} == wanted
    shown = await alice.ask("GET")
    assert (shown.status, shown.headers["Etag"], shown.json) == (200, '"1"', made.json)
    some = await alice.ask("PATCH", body={"stage": "won", "tags": ["b", "a", "b"]}, **tagged(1))
    assert (some.status, some.headers["Etag"], some.json["data"]["tags"]) == (200, '"2"', ["a", "b"])
    whole = await alice.ask("PUT", body={"name": "Noa B", "score": 3}, **tagged(2))
    assert (whole.status, whole.json["version"], whole.json["owner_id"]) == (200, 3, "alice")
    assert {name: value for name, value in whole.json["data"].items() if value is not None} == {
        "name": "Noa B",
        "score": 3,
        "owner_id": "alice",
    }
    gone = await alice.ask("DELETE", **tagged(3))
    assert (gone.status, gone.body) == (204, b"")
    refused(await alice.ask("GET"), 404, "unknown-record")
    refused(await alice.ask("DELETE", **tagged(4)), 404, "unknown-record")
    assert await db.fetchval("SELECT count(*) FROM sync_conflicts") == 0
    assert await db.fetchval("SELECT count(*) FROM sync_ops") == 4


async def test_a_record_that_was_deleted_begins_anew(alice: Person) -> None:
    await alice.made(body={**NOA, "notes": "private"})
    assert (await alice.ask("DELETE", **tagged(1))).status == 204
    again = await alice.made(body={"name": "Noa again"})
    assert again["version"] == 3
    assert again["data"].get("notes") is None
    refused(await alice.ask("PATCH", body={"stage": "x"}, **tagged(1)), 412, "version")


async def test_what_has_changed_since_is_not_overwritten(alice: Person) -> None:
    await alice.made()
    assert (await alice.ask("PATCH", body={"stage": "won"}, **tagged(1))).status == 200
    for method, body in (("PUT", NOA), ("PATCH", {"company": "other field"}), ("DELETE", None)):
        for tag in ('"1"', '"9"', '"0"', 'W/"2"', '"two"', '"02"'):
            answer = await alice.ask(method, body=body, If_Match=tag)
            refused(answer, 412, "version")
            assert answer.headers["Etag"] == '"2"'
            check_fields(RecordOut, answer.json["record"])
            assert (answer.json["record"]["version"], answer.json["record"]["data"]["stage"]) == (2, "won")
    assert (await alice.ask("PATCH", body={"stage": "lost"}, If_Match='"1", "2"')).json["version"] == 3
    assert (await alice.ask("PATCH", body={"stage": "won"}, If_Match="*")).json["version"] == 4


@pytest.mark.parametrize("tag", ["2", '"2', "x y", '"2","', "*, *"])
async def test_a_tag_that_is_none_is_told(alice: Person, tag: str) -> None:
    await alice.made()
    check_problem(await alice.ask("PATCH", body={"stage": "won"}, If_Match=tag), 400)


async def test_who_writes_says_what_they_have_seen(alice: Person) -> None:
    await alice.made()
    for method, body in (("PUT", NOA), ("PATCH", NOA), ("DELETE", None)):
        check_problem(await alice.ask(method, body=body), 428)
    check_problem(await alice.ask("PUT", body=NOA, If_None_Match='"1"'), 400)
    check_problem(await alice.ask("PUT", body=NOA, If_None_Match="*", If_Match='"1"'), 400)


async def test_of_many_who_write_at_once_one_is_right(alice: Person) -> None:
    await alice.made()
    writes = [alice.ask("PATCH", body={"score": n}, **tagged(1)) for n in range(12)]
    fields = ("stage", "company", "city", "source", "notes", "phone")
    writes += [alice.ask("PATCH", body={field: "x"}, **tagged(1)) for field in fields]
    answers = await asyncio.gather(*writes)
    assert sorted(answer.status for answer in answers) == [200] + [412] * 17
    assert (await alice.ask("GET")).json["version"] == 2


async def test_what_is_there_is_not_made_again(alice: Person) -> None:
    await alice.made()
    for method, headers, status in (
        ("POST", {}, 409),
        ("POST", {"If_None_Match": "*"}, 412),
        ("PUT", {"If_None_Match": "*"}, 412),
    ):
        answer = await alice.ask(method, body={"name": "Other"}, **headers)
        refused(answer, status, "version")
        assert answer.json["record"]["data"]["name"] == "Noa"
    put = await alice.ask("PUT", f"{PATH}/Lead/l-2", NOA, If_None_Match="*")
    assert (put.status, put.json["version"], put.headers["Etag"]) == (201, 1, '"1"')


async def test_an_id_is_made_where_none_is_given(alice: Person) -> None:
    made = await alice.ask("POST", f"{PATH}/Lead", NOA)
    assert made.status == 201
    assert UUID(made.json["id"])
    assert (await alice.ask("GET", made.headers["Location"])).json == made.json
    named = await alice.ask("POST", f"{PATH}/Lead", {"id": "own/id é", **NOA})
    assert (named.status, named.json["id"]) == (201, "own/id é")
    assert (await alice.ask("GET", f"{PATH}/Lead/{quote('own/id é', safe='')}")).json == named.json
    refused(await alice.ask("POST", f"{PATH}/Lead", {"id": 7, **NOA}), 422, "type")


async def test_a_request_that_is_sent_again_is_done_once(alice: Person, db: Pool) -> None:
    uuid = str(uuid4())
    for key in ("order 17", uuid, uuid.upper()):
        answers = [await alice.ask("POST", f"{PATH}/Lead", NOA, Idempotency_Key=key) for _ in range(3)]
        assert [answer.status for answer in answers] == [201] * 3
        assert [answer.json for answer in answers] == [answers[0].json] * 3
        refused(await alice.ask("POST", f"{PATH}/Lead", {"name": "B"}, Idempotency_Key=key), 409, "op-reused")
    assert await db.fetchval("SELECT count(*) FROM records") == 2
    assert await db.fetchval("SELECT count(*) FROM sync_ops WHERE op_id = $1", UUID(uuid)) == 1
    await alice.made()
    changes = [await alice.ask("PATCH", body={"stage": "won"}, Idempotency_Key="k", **tagged(1)) for _ in range(2)]
    assert [(one.status, one.json["version"]) for one in changes] == [(200, 2)] * 2
    gone = [await alice.ask("DELETE", Idempotency_Key="d", **tagged(2)) for _ in range(2)]
    assert [one.status for one in gone] == [204, 204]
    check_problem(await alice.ask("POST", f"{PATH}/Lead", NOA, Idempotency_Key="x" * 201), 400)


async def test_a_key_is_its_users_alone(alice: Person, bob: Person) -> None:
    key = str(uuid4())
    one, other = [await who.ask("POST", f"{PATH}/Lead", NOA, Idempotency_Key=key) for who in (alice, bob)]
    assert (one.status, other.status, one.json["id"] == other.json["id"]) == (201, 201, False)
    assert (one.json["owner_id"], other.json["owner_id"]) == ("alice", "bob")


async def test_the_document_of_a_get_goes_back_as_it_came(alice: Person) -> None:
    document = await alice.made()
    document["data"]["stage"] = "won"
    put = await alice.ask("PUT", body=document, **tagged(1))
    assert (put.status, put.json["data"]["stage"]) == (200, "won")
    for wrong in ({"id": "l-2"}, {"model": "Payment"}, {"extra": 1}):
        refused(await alice.ask("PUT", body=document | wrong, **tagged(2)), 422, "field")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"nmae": "x"}, "field"),
        ({"version": 3}, "field"),
        ({"stamps": {}}, "field"),
        ({"id": "other"}, "field"),
        ({"name": 7}, "type"),
        ({"name": "a\u0000b"}, ""),
        ({"name": None}, "required"),
        ({"name": "x" * 201}, "type"),
        ({"priority": "urgent"}, "type"),
        ({"score": 1.5}, "type"),
        ({"tags": "a"}, "type"),
        ({"data": [1]}, "field"),
    ],
)
async def test_what_the_model_does_not_have_is_refused(alice: Person, body: Any, reason: str) -> None:
    await alice.made()
    for method, path, content in (("PATCH", LEAD, body), ("POST", f"{PATH}/Lead/l-2", {**NOA, **body})):
        answer = await alice.ask(method, path, content, **(tagged(1) if method == "PATCH" else {}))
        if reason:
            refused(answer, 422, reason)
        else:
            check_problem(answer, 400)
        assert "x" * 20 not in answer.body.decode()
    assert (await alice.ask("GET")).json["version"] == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"name": NaN}', b'{"name": "a", "name": "b"}'])
async def test_a_body_that_is_no_json_object_is_told(alice: Person, body: bytes) -> None:
    check_problem(await alice.ask("POST", body=body), 400)


async def test_a_record_that_is_too_large_is_told(alice: Person) -> None:
    refused(await alice.ask("POST", body={"name": "a", "details": "x" * (256 * 1024)}), 413, "too-large")
    check_problem(await alice.ask("POST", body=b"{" + b" " * (600 * 1024) + b"}"), 413)


@pytest.mark.parametrize("id", ["%20", "a%00b", "x" * 201, "a%0Ab"])
async def test_an_id_that_none_has_is_like_one_that_is_not_there(alice: Person, id: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        body = {"stage": "x"} if method == "PATCH" else None
        refused(await alice.ask(method, f"{PATH}/Lead/{id}", body, **tagged(1)), 404, "unknown-record")
    refused(await alice.ask("POST", f"{PATH}/Lead/{id}", NOA), 422, "type")


async def test_a_model_that_is_not_known_is_told(alice: Person) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/1"), ("PUT", "/1"), ("DELETE", "/1")):
        answer = await alice.ask(method, f"{PATH}/lead{path}", NOA, **tagged(1))
        refused(answer, 404, "model")
        assert "Lead" in answer.json["detail"]


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


async def listed(who: Person, query: str = "") -> list[str]:
    answer = await who.ask("GET", f"{PATH}/Lead?{query}")
    assert answer.status == 200, answer.body
    check_fields(RecordPage, answer.json)
    return [one["id"] for one in answer.json["records"]]


async def test_a_list_has_pages_without_what_was_deleted(alice: Person, bob: Person) -> None:
    for n in range(7):
        await alice.made(f"{PATH}/Lead/l-{n}")
    await bob.made(f"{PATH}/Lead/b-1")
    await alice.made(f"{PATH}/Payment/p-1", {"amount": 1})
    await alice.ask("DELETE", f"{PATH}/Lead/l-3", **tagged(1))
    await alice.ask("PATCH", f"{PATH}/Lead/l-0", {"stage": "won"}, **tagged(1))
    found: list[str] = []
    after: str | None = "0"
    while after is not None:
        page = (await alice.ask("GET", f"{PATH}/Lead?limit=2&after={after}")).json
        assert len(page["records"]) == 2
        found += [one["id"] for one in page["records"]]
        after = page["next"]
    assert found == ["l-1", "l-2", "l-4", "l-5", "l-6", "l-0"]


async def test_a_list_is_asked_for_by_fields(alice: Person) -> None:
    rows: dict[str, dict[str, Any]] = {
        "a": {"name": "Noa", "stage": "new", "amount": "10.50", "score": 3, "consent": True, "tags": ["x", "y"]},
        "b": {"name": "Noa Ü", "stage": "won", "amount": 10.5, "score": 4, "consent": False, "tags": ["y"]},
        "c": {"name": "C", "next_contact_at": "2026-11-27T10:00:00Z", "birthday": "2000-02-29", "amount": 7},
        "d": {"name": "D", "next_contact_at": "2026-11-27T12:00+02:00", "priority": "low", "details": {"a": 1}},
        "e": {"name": "E", "next_contact_at": "2026-11-27T10:00:00.000Z", "branch_id": "north"},
    }
    for id, body in rows.items():
        await alice.made(f"{PATH}/Lead/{id}", body)
    for query, ids in (
        ("stage=new", "a"),
        ("name=Noa", "a"),
        (f"name={quote('Noa Ü')}", "b"),
        ("amount=10.5", "ab"),
        ("amount=1.05e1", "ab"),
        ("amount=%2B7.0", "c"),
        ("score=3", "a"),
        ("consent=true", "a"),
        ("consent=false", "b"),
        ("tags=y", "ab"),
        ("tags=y&stage=won", "b"),
        ("stage=", "cde"),
        ("tags=", "cde"),
        ("details=", "abce"),
        ("priority=low", "d"),
        ("birthday=2000-02-29", "c"),
        ("next_contact_at=2026-11-27T10:00:00Z", "ce"),
        ("next_contact_at=2026-11-27T12:00%2B02:00", "cde"),
        ("next_contact_at=2026-11-27T12:00+02:00", "cde"),
        ("owner_id=alice", "abcde"),
        ("owner_id=bob", ""),
        ("branch_id=north", "e"),
        ("stage=new&stage_=", None),
    ):
        if ids is None:
            refused(await alice.ask("GET", f"{PATH}/Lead?{query}"), 422, "field")
        else:
            assert await listed(alice, query) == list(ids), query


@pytest.mark.parametrize(
    "query",
    [
        "fax=1",
        "score=x",
        "score=1.5",
        "consent=yes",
        "priority=urgent",
        "amount=ten",
        "amount=NaN",
        "birthday=2000-02-30",
        "next_contact_at=soon",
        "name=a%00b",
        "details=1",
        "photo=1",
        "owner_id=%20",
    ],
)
async def test_a_filter_that_no_record_can_meet_is_told(alice: Person, query: str) -> None:
    refused(await alice.ask("GET", f"{PATH}/Lead?{query}"), 422, "field")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=x", "after=-1", "name=a&name=b"])
async def test_a_page_that_makes_no_sense_is_told(alice: Person, query: str) -> None:
    check_problem(await alice.ask("GET", f"{PATH}/Lead?{query}"), 400)


async def test_what_is_known_is_not_sent_again(alice: Person) -> None:
    await alice.made()
    for tag, status in (('"1"', 304), ('W/"1"', 304), ('"0", "1"', 304), ("*", 304), ('"2"', 200), ("1", 200)):
        answer = await alice.ask("GET", If_None_Match=tag)
        assert (answer.status, answer.headers["Etag"], bool(answer.body)) == (status, '"1"', status == 200), tag


async def test_one_who_is_online_and_a_replica_see_the_same(alice: Person) -> None:
    await alice.made()
    push = {"operations": [{"op_id": str(uuid4()), "operation": "UPDATE", "model": "Lead", "record_id": "l-1",
                            "data": {"stage": "won"}, "base_version": 1}]}  # fmt: skip
    pushed = await alice.ask("POST", "/api/v1/sync/push", push)
    assert pushed.json["results"][0]["result"] == "applied"
    answer = await alice.ask("PATCH", body={"stage": "lost"}, **tagged(1))
    refused(answer, 412, "version")
    pulled = (await alice.ask("GET", "/api/v1/sync/pull")).json["changes"]
    assert [(one["id"], one["version"], one["data"]["stage"]) for one in pulled] == [("l-1", 2, "won")]


TEXTS: Final = st.text(max_size=12) | st.sampled_from(["\x00", "\ud800", "2026-11-27", "10.5", "1e999999", "a" * 300])
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS: Final = ("name", "amount", "tags", "photo", "details", "birthday", "next_contact_at", "score", "owner_id",
                 "branch_id", "priority", "consent", "id", "data", "version", "fax")  # fmt: skip
BODIES: Final = st.dictionaries(st.sampled_from(FIELDS) | TEXTS, VALUES, max_size=5) | VALUES


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["POST", "PUT", "PATCH"]),
    body=BODIES,
    tag=st.sampled_from(["*", '"1"', '"2", "3"', "", "x"]),
    new=st.booleans(),
)
async def test_no_body_is_answered_by_an_error_of_ours(
    served: Served, method: str, body: Any, tag: str, new: bool
) -> None:
    headers = {"If-None-Match": "*"} if new else {"If-Match": tag}
    answer = await served.ask(method, LEAD, json.dumps(body).encode(), headers=headers)
    assert answer.status < 500, answer.body
    if answer.status not in (200, 201, 204):
        assert answer.json["detail"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.dictionaries(st.sampled_from(FIELDS) | TEXTS, TEXTS, max_size=4))
async def test_no_query_is_answered_by_an_error_of_ours(served: Served, asked: dict[str, str]) -> None:
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in asked.items())
    answer = await served.ask("GET", f"{PATH}/Lead?{query}")
    assert answer.status in (200, 400, 422), answer.body


def _quoted(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="")

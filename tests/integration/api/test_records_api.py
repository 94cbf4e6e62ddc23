"""Records over HTTP: written at the version that their author has seen or not at all, and shown to their own alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.pool import Pool
from schemas.api.records import RecordOut
from tests.integration.api.conftest import Served
from tests.support.answers import check_fields
from tests.support.listening import check_problem
from tests.support.people_of_records import LEAD, NOA, PATH, Person, refused, tagged


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

"""Lists of records over HTTP: their pages, their filters, and what is known already."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.api.records import RecordPage
from tests.integration.api.conftest import Served
from tests.support.answers import check_fields
from tests.support.listening import check_problem
from tests.support.people_of_records import PATH, Person, refused, tagged


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


TEXTS: Final = st.text(max_size=12) | st.sampled_from(["\x00", "\ud800", "2026-11-27", "10.5", "1e999999", "a" * 300])


FIELDS: Final = ("name", "amount", "tags", "photo", "details", "birthday", "next_contact_at", "score", "owner_id",
                 "branch_id", "priority", "consent", "id", "data", "version", "fax")  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.dictionaries(st.sampled_from(FIELDS) | TEXTS, TEXTS, max_size=4))
async def test_no_query_is_answered_by_an_error_of_ours(served: Served, asked: dict[str, str]) -> None:
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in asked.items())
    answer = await served.ask("GET", f"{PATH}/Lead?{query}")
    assert answer.status in (200, 400, 422), answer.body


def _quoted(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="")

"""Pages of records: what two replicas have written, side by side, and deciding it; an edge's operations."""

from __future__ import annotations

import json
from html import unescape

import pytest

from adapters.postgres.pool import Pool
from tests.support.browsers import Browser, Office, field_of
from tests.support.edges import Edge
from tests.support.records import operation, person, pushed, records_of

HOSTILE = "<img src=x onerror=alert(1)>"


async def conflict(db: Pool, name: str = "Somebody") -> int:
    """A lead of ann of which two of her devices say another amount: 2 is stored, 3 was pushed; its number."""
    records, ann = records_of(db), person("ann")
    await pushed(records, ann, operation("CREATE", "l1", name=name, amount="1"), replica="phone")
    await pushed(records, ann, operation("UPDATE", "l1", amount="2", _base_version=1), replica="laptop")
    (answer,) = await pushed(records, ann, operation("UPDATE", "l1", amount="3", _base_version=1), replica="phone")
    assert answer["result"] == "conflict", answer
    return int(answer["conflict_id"])


async def amount(db: Pool) -> str:
    return str(json.loads(await db.fetchval("SELECT data FROM records WHERE record_id = 'l1'"))["amount"])


async def reveal(browser: Browser, subject: str) -> None:
    assert (await browser.post("/reveal", {"subject": subject, "reason": "two amounts"})).status == 303


@pytest.mark.parametrize(
    ("path", "text"),
    [("/records", "Nothing yet. A conflict is here once"), ("/records/queue", "Nothing yet. An edge has operations")],
)
async def test_what_is_empty_says_what_will_be_there(office: Office, path: str, text: str) -> None:
    browser = await office.logged_in("read")
    assert text in (await browser.get(path)).text
    assert "Nothing matches." in (await browser.get(path + "?model=Lead")).text


async def test_a_conflict_is_listed_and_its_values_are_shown_to_who_reveals_them(office: Office) -> None:
    id = await conflict(office.db, HOSTILE)
    browser = await office.logged_in("admin")
    assert f'href="/records/conflicts/{id}"' in (await browser.get("/records?open=true")).text
    masked = (await browser.get(f"/records/conflicts/{id}")).text
    assert "onerror" not in masked
    assert '<td data-label="Ours, as stored">2</td>' not in masked
    await reveal(browser, f"conflict:{id}")
    shown = (await browser.get(f"/records/conflicts/{id}")).text
    assert HOSTILE not in shown
    assert HOSTILE in unescape(shown)
    assert '<td data-label="Ours, as stored">2</td>' in shown


@pytest.mark.parametrize(
    ("fields", "stored", "decision"),
    [
        ({"take": "ours"}, "2", "ours"),
        ({"take": "theirs"}, "3", "theirs"),
        ({"take": "merge", "field.amount": "theirs"}, "3", "merged"),
    ],
)
async def test_a_conflict_is_decided_once_it_is_confirmed(
    office: Office, fields: dict[str, str], stored: str, decision: str
) -> None:
    id = await conflict(office.db)
    browser = await office.logged_in("admin", "Noa")
    path = f"/records/conflicts/{id}"
    fields = fields | {"version": field_of((await browser.get(path)).text, "version")}
    asked = await browser.post(f"{path}/decide", fields)
    assert (asked.status, field_of(asked.text, "take")) == (200, fields["take"])
    assert await amount(office.db) == "2"
    done = await browser.post(f"{path}/decide", fields | {"confirmed": "1", "upto": ""})
    assert (done.status, done.leads_to) == (303, path), done.text
    assert await amount(office.db) == stored
    (row,) = await office.db.fetch("SELECT decision, decided_by FROM sync_conflicts WHERE id = $1", id)
    assert tuple(row) == (decision, "Noa")
    assert await office.db.fetchval("SELECT actor FROM audit_log WHERE action = 'conflict.resolved'") == "Noa"
    again = await browser.post(f"{path}/decide", fields | {"confirmed": "1", "upto": ""})
    assert (again.status, await amount(office.db)) == (409, stored)
    assert "Take ours" not in (await browser.get(path)).text


async def test_a_record_that_has_changed_meanwhile_is_not_overwritten_unseen(office: Office) -> None:
    id = await conflict(office.db)
    browser = await office.logged_in("admin")
    path = f"/records/conflicts/{id}"
    seen = field_of((await browser.get(path)).text, "version")
    records = records_of(office.db)
    await pushed(records, person("ann"), operation("UPDATE", "l1", amount="5", _base_version=2), replica="laptop")
    fields = {"take": "theirs", "version": seen, "confirmed": "1", "upto": ""}
    assert (await browser.post(f"{path}/decide", fields)).status == 409
    assert await amount(office.db) == "5"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"take": "mine"}, 400),
        ({"take": "ours", "version": "x"}, 400),
        ({"take": "merge", "field.amount": "elsewhere"}, 422),
        ({"take": "merge", "confirmed": "1"}, 422),
    ],
)
async def test_a_decision_that_says_nothing_changes_nothing(
    office: Office, fields: dict[str, str], status: int
) -> None:
    id = await conflict(office.db)
    browser = await office.logged_in("admin")
    assert (await browser.post(f"/records/conflicts/{id}/decide", fields)).status == status
    assert await office.db.fetchval("SELECT decision FROM sync_conflicts WHERE id = $1", id) is None


async def test_only_an_admin_is_offered_a_decision(office: Office) -> None:
    id = await conflict(office.db)
    for role, offered in (("operate", False), ("admin", True)):
        html = (await (await office.logged_in(role)).get(f"/records/conflicts/{id}")).text
        assert ("Take theirs" in html, "<select form" in html) == (offered, offered)


async def test_a_record_has_its_history_and_shows_what_it_holds_to_who_reveals_it(office: Office) -> None:
    await conflict(office.db)
    browser = await office.logged_in("operate")
    masked = (await browser.get("/records/of/Lead/l1")).text
    assert "Somebody" not in masked
    assert "waits for a person" in masked
    await reveal(browser, "record:Lead/l1")
    assert "Somebody" in (await browser.get("/records/of/Lead/l1")).text
    assert (await browser.get("/records/of/Lead/none")).status == 404


async def test_failed_operations_of_an_edge_go_out_again(office: Office) -> None:
    edge = Edge(office.db)
    ids = [await edge.write("CREATE", f"l{n}", name=HOSTILE) for n in range(3)]
    await office.db.execute(
        "UPDATE sync_queue SET state = 'failed', error = $2, retry_count = 9 WHERE op_id <> $1", ids[0], HOSTILE
    )
    browser = await office.logged_in("operate", "Noa")
    html = (await browser.get("/records/queue?state=failed")).text
    assert (html.count('name="id"'), HOSTILE in html) == (2, False)
    await browser.post("/records/queue/retry", {"id": [str(ids[0]), str(ids[1])]})
    said = (await browser.get("/records/queue")).text
    assert "1 go out again. 1 had not failed, and stay as they are." in said
    await browser.post("/records/queue/retry", {"everything": "1", "filter.model": "Lead"})
    assert await office.db.fetchval("SELECT count(*) FROM sync_queue WHERE state = 'failed'") == 0
    assert (
        await office.db.fetchval("SELECT count(*) FROM audit_log WHERE actor = 'Noa' AND action LIKE 'records.%'") == 2
    )
    assert (await browser.post("/records/queue/retry", {"id": "x"})).status == 400
    assert (await browser.post("/records/queue/retry")).status == 422

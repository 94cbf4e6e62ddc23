"""What CGB has told of a person's fields, as an operator sees it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

import pytest

from adapters.postgres import told_fields
from adapters.postgres.operator import people as people_rows
from adapters.postgres.pool import Pool
from adapters.postgres.told_fields import ToldRow
from schemas.phone import line
from tests.support.contacts_verb import Verb
from tests.support.people import bought, met
from tests.support.plans import nodes
from tests.support.toy import NOON

NOA, DAN, LUIS = "+972505550001", "+972505550002", "+5215555550142"
HOUR: Final = timedelta(hours=1)


async def told(db: Pool, phone: str, field: str, value: str, hours: int = 0, **changes: Any) -> None:
    """CGB has told, *hours* after NOON, of a field of the contact of *phone*; the orders' value was kept."""
    given: dict[str, Any] = {"ours": "2", "owner": "orders", "taken": False, "event_id": "e"} | changes
    row = ToldRow(line=line(phone), field=field, value=value, at=NOON + hours * HOUR, **given)
    async with db.acquire() as conn, conn.transaction():
        await told_fields.store(conn, [row])


async def shown(verb: Verb, who: str) -> dict[str, Any]:
    code, said = await verb("show", who, "--json")
    assert code == 0, said
    document: dict[str, Any] = json.loads(said)
    return document


async def test_a_person_is_shown_with_what_cgb_has_told_and_what_became_of_it(db: Pool, verb: Verb) -> None:
    await bought(db, NOA, 1)
    await bought(db, DAN, 2)
    await told(db, NOA, "visa_quantity", "3")
    await told(db, NOA, "Email", "new@example.com", 1, ours="1@example.com", owner="newest", taken=True)
    await told(db, NOA, "favourite", "", 2, ours=None, owner="cgb", taken=True)
    await told(db, DAN, "visa_quantity", "7")
    document = await shown(verb, NOA)
    assert [list(one.values()) for one in document["told"]] == [
        ["Email", "new@example.com", "2031-03-01T13:00:00+00:00", "1@example.com", "newest", True, NOA],
        ["favourite", "", "2031-03-01T14:00:00+00:00", None, "cgb", True, NOA],
        ["visa_quantity", "3", "2031-03-01T12:00:00+00:00", "2", "orders", False, NOA],
    ]
    assert list(document["told"][0]) == ["field", "value", "at", "ours", "owner", "taken", "line"]
    lines = [one for one in (await verb("show", NOA))[1].splitlines() if one.startswith("told ")]
    assert [" ".join(one.split()) for one in lines] == [
        f'told Email taken owner newest 2031-03-01 13:00:00 {NOA} CGB "new@example.com" ours "1@example.com"',
        f'told favourite taken owner cgb 2031-03-01 14:00:00 {NOA} CGB "" ours nothing',
        f'told visa_quantity conflict owner orders 2031-03-01 12:00:00 {NOA} CGB "3" ours "2"',
    ]


async def test_a_person_of_whom_nothing_was_told_has_no_such_line(db: Pool, verb: Verb) -> None:
    await bought(db, NOA, 1)
    assert (await shown(verb, NOA))["told"] == []
    assert "told" not in (await verb("show", NOA))[1]


async def test_a_merged_person_has_what_was_told_of_all_its_lines_and_parted_ones_have_their_own(
    db: Pool, verb: Verb
) -> None:
    await bought(db, NOA, 1)
    dan = await bought(db, DAN, 2)
    await told(db, NOA, "visa_quantity", "3")
    await told(db, DAN, "visa_quantity", "4", 1)
    assert (await verb("merge", NOA, DAN, "--yes"))[0] == 0
    for who in (NOA, DAN, str(dan)):
        found = (await shown(verb, who))["told"]
        assert [(one["line"], one["value"]) for one in found] == [(NOA, "3"), (DAN, "4")]
    both = json.loads((await verb("conflicts", "--json"))[1])
    assert {one["contact_id"] for one in both} == {(await shown(verb, NOA))["id"]}
    assert (await verb("unmerge", str(dan), "--yes"))[0] == 0
    assert [one["value"] for one in (await shown(verb, DAN))["told"]] == ["4"]
    parted = json.loads((await verb("conflicts", "--json"))[1])
    assert [one["contact_id"] for one in parted] == [str(dan), (await shown(verb, NOA))["id"]]


async def test_the_conflicts_are_listed_newest_first_and_without_values(db: Pool, verb: Verb) -> None:
    noa, luis = await bought(db, NOA, 1), await bought(db, LUIS, 2)
    await told(db, NOA, "visa_quantity", "secret-1")
    await told(db, LUIS, "visa_type", "secret-2", 2)
    await told(db, NOA, "Email", "secret-3", 1, owner="newest", ours="secret-4")
    await told(db, NOA, "language", "secret-5", 3, owner="newest", taken=True)
    code, said = await verb("conflicts", "--json")
    assert code == 0, said
    assert json.loads(said) == [
        {"contact_id": str(luis), "field": "visa_type", "at": "2031-03-01T14:00:00+00:00", "owner": "orders"},
        {"contact_id": str(noa), "field": "Email", "at": "2031-03-01T13:00:00+00:00", "owner": "newest"},
        {"contact_id": str(noa), "field": "visa_quantity", "at": "2031-03-01T12:00:00+00:00", "owner": "orders"},
    ]
    one = json.loads((await verb("conflicts", "--json", "--limit", "1"))[1])
    assert [found["field"] for found in one] == ["visa_type"]
    since = json.loads((await verb("conflicts", "--json", "--since", "2031-03-01T13:00"))[1])
    assert [found["field"] for found in since] == ["visa_type", "Email"]
    code, table = await verb("conflicts")
    assert code == 0
    rows = [row.split() for row in table.splitlines()]
    assert [str(luis), "visa_type", "2031-03-01", "14:00:00", "orders"] in rows
    assert "`ferryman contacts show CONTACT`" in table
    assert "secret" not in said + table
    assert NOA not in said + table


async def test_a_conflict_that_is_over_is_not_listed(db: Pool, verb: Verb) -> None:
    await bought(db, NOA, 1)
    await told(db, NOA, "Email", "a@example.com", owner="newest")
    await told(db, NOA, "Email", "b@example.com", 1, owner="newest", taken=True)
    code, said = await verb("conflicts")
    assert (code, "no conflict" in said) == (0, True)
    assert (await verb("conflicts", "--json"))[1].strip() == "[]"


async def test_a_conflict_of_a_line_with_two_notations_finds_the_person_who_has_either(db: Pool) -> None:
    for number, phone in enumerate((LUIS, "+525555550142")):
        await db.execute("TRUNCATE contacts, contact_identities, contact_emails, told_fields CASCADE")
        (contact,) = await met(db, [f"phone:{phone}"])
        await told(db, LUIS, "visa_quantity", "3", number)
        (one,) = await people_rows.conflicts(db, None, 20)
        assert one.contact_id == contact


async def test_nothing_that_cgb_has_told_commands_a_terminal(db: Pool, verb: Verb) -> None:
    await bought(db, NOA, 1)
    nasty = "\x1b]0;owned\x07\u202egpj.exe\u2066"
    await told(db, NOA, nasty, f'{nasty}"  ours "2', ours=nasty)
    for argv in (["show", NOA], ["show", NOA, "--json"], ["conflicts"], ["conflicts", "--json"]):
        code, said = await verb(*argv)
        assert code == 0
        assert said.replace("\n", "").isprintable()
        assert "\\u202e" in said
    assert 'exe\\u2066\\"  ours \\"2"' in (await verb("show", NOA))[1], "a value ends where its quotation marks do"


@pytest.mark.parametrize(
    ("query", "first", "most"),
    [
        (people_rows._CONFLICTS, "NULL", "20"),
        (people_rows._CONFLICTS, "'2031-03-01T10:00+00:00'", "20"),
        (people_rows._TOLD, "ARRAY['+972500000050', '+972500000051']", "200"),
    ],
    ids=["conflicts", "conflicts since", "of a person"],
)
async def test_no_more_rows_are_read_than_are_told(db: Pool, query: str, first: str, most: str) -> None:
    await db.execute(
        "INSERT INTO told_fields (line, field, value, told_at, event_id, ours, owner, taken)"
        " SELECT '+97250' || lpad(n::text, 7, '0'), f, 'x', $1::timestamptz - n * interval '1 minute', 'e', 'y',"
        " 'orders', n % 50 > 0 FROM generate_series(1, 5000) n, unnest(ARRAY['Email', 'visa_type']) f",
        NOON,
    )
    await db.execute("ANALYZE told_fields")
    text = query.replace("$1", first).replace("$2", most)
    (plan,) = json.loads(await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}"))
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"])) < 200
    assert sum(node.get("Rows Removed by Filter", 0) for node in nodes(plan["Plan"])) == 0

"""People as an operator finds them, and what the verbs of `ferryman contacts` say and do."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence

import pytest

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import people as people_rows
from adapters.postgres.pool import Pool
from daemon.operator import people
from schemas.envelope import Event, event_id
from schemas.names import words_of
from tests.support.contacts_verb import Verb
from tests.support.people import bought, counts, met
from tests.support.plans import nodes
from tests.support.toy import NOON

NOA, DAN, LUIS = "+972505550001", "+972505550002", "+5215555550142"


@pytest.fixture
async def known(db: Pool) -> dict[str, str]:
    """Three people: name -> contact id."""
    noa = await bought(db, NOA, 1, name="Noa Ben-Ari", email="noa@example.com")
    dan = await bought(db, DAN, 2, name="Даниил Öberg", email="noa@example.com")
    luis = await bought(db, LUIS, 3, name="Luis O'Hara", email="luis@example.com", cgb_id="525555550142")
    await met(db, [f"phone:{LUIS}", "chatwoot:1:7", "bsuid:MX.77120", "wa_id:5215555550142"])
    return {"noa": str(noa), "dan": str(dan), "luis": str(luis)}


@pytest.mark.parametrize(
    ("text", "names", "by"),
    [
        (NOA, ["noa"], "phone"),
        ("972505550001", ["noa"], "phone"),
        ("cgb:972505550001", ["noa"], "cgb"),
        ("050-555-0001", ["noa"], "phone"),
        ("00972 50 555 0001", ["noa"], "phone"),
        ("+52 55 5555 0142", ["luis"], "phone"),
        ("5215555550142", ["luis"], "phone"),
        ("Noa@Example.com", ["dan", "noa"], "email"),
        ("IL2", ["dan"], "order"),
        ("chatwoot:1:7", ["luis"], "chatwoot"),
        ("1:7", ["luis"], "chatwoot"),
        ("MX.77120", ["luis"], "bsuid"),
        ("noa", ["noa"], "name"),
        ("BEN noa", ["noa"], "name"),
        ("дан ÖB", ["dan"], "name"),
        ("o'h", ["luis"], "name"),
    ],
)
async def test_a_person_is_found_by_whatever_is_known_of_them(
    db: Pool, known: dict[str, str], text: str, names: Sequence[str], by: str
) -> None:
    found = await people.find(db, text, 20)
    assert [one["id"] for one in found] == [known[name] for name in names], "the newest order first"
    assert {one["found_by"] for one in found} == {by}
    assert [one["id"] for one in await people.find(db, text, 1)] == [known[names[0]]]


@pytest.mark.parametrize("text", ["nobody", "oa", "+15550001111", "0", "-", "'", "\\", "email:", ":", "%", "noa!zzz"])
async def test_what_names_nobody_finds_nobody(known: dict[str, str], verb: Verb, text: str) -> None:
    code, said = await verb("find", "--", text)
    assert (code, "no contact" in said) == (1, True)


async def test_a_contact_is_found_by_its_id_or_the_beginning_of_it(db: Pool, known: dict[str, str]) -> None:
    for text in (known["noa"], known["noa"].upper(), known["noa"][:20], known["noa"][:8]):
        (found,) = await people.find(db, text, 20)
        assert (found["id"], found["found_by"]) == (known["noa"], "id")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, []),
        ("", []),
        ("  Noa  Ben-Ari, Noa ", ["noa", "ben", "ari"]),
        ("ÅSA Straße", ["åsa", "strasse"]),
        ("हिन्दी नाम", ["हिन्दी", "नाम"]),
        ("\u202eפלוני\u2069 א'", ["פלוני", "א"]),
        ("x" * 50 + " " + " ".join(f"w{n}" for n in range(40)), ["x" * 40, *(f"w{n}" for n in range(15))]),
    ],
)
def test_the_words_of_a_name_are_few_and_in_lower_case(name: str | None, words: list[str]) -> None:
    assert words_of(name) == words


async def test_a_search_by_name_reads_what_fits_alone(db: Pool) -> None:
    await db.execute(
        "INSERT INTO contacts (name, words)"
        " SELECT 'n' || n, array_to_tsvector(ARRAY['n' || n]) FROM generate_series(1, 20000) n"
    )
    await db.execute("ANALYZE contacts")
    query = people_rows._BY_WORDS.replace("$1", "$${'n777':*}$$".replace("{", "").replace("}", ""))
    told = await db.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {query.replace('$2', '20').replace('$3', '1000')}",
    )
    (plan,) = json.loads(told)
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"])) < 100


async def test_a_person_is_shown_with_identities_orders_and_what_each_system_knows(
    db: Pool, known: dict[str, str], verb: Verb
) -> None:
    code, said = await verb("show", "chatwoot:1:7", "--json")
    assert code == 0
    document = json.loads(said)
    assert (document["id"], document["name"], document["phones"]) == (known["luis"], "Luis O'Hara", [LUIS])
    assert [f"{one['kind']}:{one['value']}" for one in document["identities"]] == [
        f"phone:{LUIS}",
        "wa_id:5215555550142",
        "bsuid:MX.77120",
        "chatwoot:1:7",
        "cgb:525555550142",
        "email:luis@example.com",
    ]
    assert [one["order_id"] for one in document["orders"]] == ["IL3"]
    (listed,) = json.loads((await verb("find", "chatwoot:1:7", "--json"))[1])
    assert listed.items() <= document.items(), "a show says what the list says under the same names"
    code, said = await verb("show", "IL3")
    assert code == 0
    for text in (known["luis"], "chatwoot:1:7", "IL3", "luis@example.com"):
        assert text in said


async def test_what_a_person_waits_for_is_shown_with_its_reason(db: Pool, known: dict[str, str], verb: Verb) -> None:
    event = Event(
        id=event_id("orders", "IL9"),
        type="order.received",
        source="orders",
        subject="+525555550142",
        time=NOON,
        data=b'{"order": {"id": "IL9"}}',
    )
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "")])
    (waiting,) = json.loads((await verb("show", known["luis"], "--json"))[1])["open"]
    assert waiting["id"] == event.id
    assert waiting["why"]["contact-sync"] == "no daemon runs: `ferryman run`"
    assert f"open                     {event.id}" in (await verb("show", known["luis"]))[1]


async def test_an_order_of_the_person_that_waits_for_its_first_sync_is_shown_too(
    db: Pool, known: dict[str, str]
) -> None:
    await db.execute(
        "INSERT INTO orders (order_id, client_phone_e164, cgb_sync_status, ordered_at, webhook_received_at, raw_body)"
        " VALUES ('IL9', '+525555550142', 'pending', $1, $1, '{}'), ('IL8', '+46701740605', 'pending', $1, $1, '{}')",
        NOON,
    )
    document = await people.show(db, known["luis"])
    assert {one["order_id"] for one in document["orders"]} == {"IL3", "IL9"}
    with pytest.raises(people.NoSuchContact, match="IL8 has no contact yet"):
        await people.show(db, "IL8")


async def test_an_order_that_was_corrected_to_another_person_is_no_newest_order_of_the_former_one(
    db: Pool, known: dict[str, str]
) -> None:
    await db.execute("UPDATE orders SET cbb_contact_uuid = $1::uuid WHERE order_id = 'IL1'", known["luis"])
    (noa,) = await people.find(db, NOA, 20)
    assert (noa["newest_order_id"], noa["newest_order_at"]) == (None, None)
    (dan,) = await people.find(db, DAN, 20)
    assert dan["newest_order_id"] == "IL2"


async def test_two_are_merged_and_taken_apart_by_an_operator(db: Pool, known: dict[str, str], verb: Verb) -> None:
    before = json.loads((await verb("show", known["dan"], "--json"))[1])
    code, said = await verb("merge", "IL1", "IL2", "--dry-run")
    assert (code, await counts(db)) == (0, (3, 0)), said
    assert "2 identities, 0 e-mails, 1 orders, 0 reports move" in said, "the address that both have stays where it is"
    code, said = await verb("merge", known["dan"], "nobody at all", "--yes")
    assert (code, "the second name: no contact has" in said) == (1, True), said
    assert (await verb("merge", known["dan"], NOA))[0] == 1, "without a terminal it needs --yes"
    assert await counts(db) == (3, 0)
    code, said = await verb("merge", known["dan"], NOA, "--yes")
    assert (code, await counts(db)) == (0, (2, 1)), said
    assert f"`ferryman contacts unmerge {known['dan']}` undoes it" in said

    document = json.loads((await verb("show", known["dan"], "--json"))[1])
    assert (document["id"], document["merged_id"], document["name"]) == (known["noa"], known["dan"], "Даниил Öberg")
    assert document["phones"] == [NOA, DAN]
    (past,) = document["merges"]
    assert (past["action"], past["merged"], past["actor"]) == ("contact.merged", known["dan"], getpass.getuser())
    assert f"{known['dan']} was merged into this contact" in (await verb("show", known["dan"][:18]))[1]
    assert f"{known['dan']} went into {known['noa']}, by" in (await verb("show", known["noa"]))[1]
    assert (await people.find(db, DAN, 20))[0]["id"] == known["noa"]

    code, said = await verb("unmerge", known["dan"], "--dry-run")
    assert (code, await counts(db)) == (0, (2, 1))
    assert "which keeps what came after the merge" in said
    assert (await verb("unmerge", known["dan"]))[0] == 1
    assert (await verb("unmerge", known["dan"], "--yes"))[0] == 0
    assert await counts(db) == (3, 0)
    after = json.loads((await verb("show", known["dan"], "--json"))[1])
    told = ("updated_at", "merges", "apart_from")
    assert {k: v for k, v in after.items() if k not in told} == {k: v for k, v in before.items() if k not in told}
    assert after["apart_from"] == [known["noa"]]
    actions = [one["action"] for one in json.loads((await verb("show", known["noa"], "--json"))[1])["merges"]]
    assert actions == ["contact.unmerged", "contact.merged"]
    assert f"{known['dan']} taken out of {known['noa']}, by" in (await verb("show", known["noa"]))[1]


async def test_what_cannot_be_meant_is_refused_and_changes_nothing(db: Pool, known: dict[str, str], verb: Verb) -> None:
    for code, argv, why in (
        (1, ["show", "nobody"], "no contact has"),
        (1, ["merge", "nobody", "IL1", "--yes"], "no contact has"),
        (1, ["merge", NOA, "IL1", "--yes"], "already"),
        (1, ["unmerge", known["noa"], "--yes"], "is not merged"),
        (2, ["show", "noa@example.com"], known["dan"]),
        (2, ["merge", "noa@example.com", "IL3", "--yes"], known["noa"]),
        (2, ["find", ""], "empty"),
    ):
        assert (got := await verb(*argv))[0] == code, got
        assert why in got[1]
    assert await counts(db) == (3, 0)


async def test_nothing_that_a_person_has_written_commands_a_terminal(db: Pool, verb: Verb) -> None:
    nasty = "\x1b]0;owned\x07\u202egpj.exe\u2066 Noa"
    await bought(db, NOA, 1, name=nasty, email=f"{nasty}@x.example")
    for argv in (["find", "noa"], ["show", "noa"], ["find", "noa", "--json"], ["show", "noa", "--json"]):
        code, said = await verb(*argv)
        assert code == 0
        assert said.replace("\n", "").isprintable()
        assert "\\u202e" in said

"""Which identities are one person's, whoever tells it, in whatever order, and from how many processes at once."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres import merges, people, pool
from adapters.postgres.people import LONGEST_VALUE, MOST_PHONES, Met
from adapters.postgres.pool import Connection, Pool
from schemas.phone import line
from tests.support.people import counts, identities, met, partition
from tests.support.until import until

BRAZIL, BRAZIL_OLD = "phone:+5511985550142", "phone:+551185550142"
MEXICO, MEXICO_OLD = "phone:+525555550142", "phone:+5215555550142"
ARGENTINA, ARGENTINA_OLD = "phone:+5491155550142", "phone:+541155550142"
ISRAEL, SWEDEN = "phone:+972505550142", "phone:+46701740605"
BSUID, MAIL = "bsuid:AR.77120", "email:a@b.example"

TABLE = [
    ([[ISRAEL], [ISRAEL]], [{ISRAEL}]),
    ([[ISRAEL], [SWEDEN]], [{ISRAEL}, {SWEDEN}]),
    ([[ISRAEL, "cgb:1"], ["cgb:1", "chatwoot:1:7"]], [{ISRAEL, "cgb:1", "chatwoot:1:7"}]),
    ([[BSUID], [ARGENTINA], [ARGENTINA_OLD, BSUID]], [{ARGENTINA, ARGENTINA_OLD, BSUID}]),
    ([[BRAZIL], [BRAZIL_OLD]], [{BRAZIL, BRAZIL_OLD}]),
    ([[MEXICO_OLD], [MEXICO]], [{MEXICO, MEXICO_OLD}]),
    ([["chatwoot:1:7", ISRAEL], ["chatwoot:1:7", SWEDEN]], [{"chatwoot:1:7", ISRAEL, SWEDEN}]),
    ([[ISRAEL, SWEDEN]], [{ISRAEL, SWEDEN}]),
    ([["chatwoot:1:7"], ["chatwoot:2:7"]], [{"chatwoot:1:7"}, {"chatwoot:2:7"}]),
    ([["wa_id:972505550142"], ["cgb:972505550142"]], [{"wa_id:972505550142"}, {"cgb:972505550142"}]),
    ([[ISRAEL, MAIL], [SWEDEN, MAIL]], [{ISRAEL, MAIL}, {SWEDEN, MAIL}]),
    ([[MAIL]], []),
    ([[ISRAEL, "chatwoot:"]], [{ISRAEL}]),
    ([[ISRAEL, "cgb:" + "9" * (LONGEST_VALUE + 1)]], [{ISRAEL}]),
]


@pytest.mark.parametrize(("groups", "expecting"), TABLE)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
async def test_identities_seen_together_are_one_persons(
    db: Pool, groups: list[list[str]], expecting: list[set[str]], together: bool, backwards: bool
) -> None:
    arriving = groups[::-1] if backwards else groups
    if together:
        await met(db, *arriving)
    else:
        for group in arriving:
            await met(db, group)
    assert await partition(db) == set(map(frozenset, expecting))
    assert (await counts(db))[0] == len(expecting)


async def test_each_group_is_told_its_contact(db: Pool) -> None:
    first, nobody, second = await met(db, [ISRAEL], [MAIL], [SWEDEN])
    assert nobody is None
    assert first != second
    assert await met(db, ["chatwoot:1:7", SWEDEN], [ISRAEL]) == [second, first]
    assert await met(db, ["chatwoot:1:7"]) == [second]
    assert await met(db) == []


async def test_a_person_without_a_contact_gets_none_where_nobody_wants_one(db: Pool) -> None:
    def asked(text: str, makes: bool) -> Met:
        return Met(identities(text), "test", makes=makes)

    async with db.acquire() as conn, conn.transaction():
        assert await people.meet(conn, [asked(MEXICO, False), asked(SWEDEN, False)]) == [None, None]
    assert await counts(db) == (0, 0)
    async with db.acquire() as conn, conn.transaction():
        nobody, one, same = await people.meet(conn, [asked(SWEDEN, False), asked(MEXICO, True), asked(MEXICO, False)])
        assert nobody is None
        assert one is not None
        assert await people.meet(conn, [asked(MEXICO_OLD, False)]) == [one] == [same]
    assert await counts(db) == (1, 0)


async def test_the_older_contact_stays(db: Pool) -> None:
    (older,) = await met(db, [SWEDEN])
    (younger,) = await met(db, ["chatwoot:1:7"])
    assert await met(db, ["chatwoot:1:7", SWEDEN]) == [older]
    assert await db.fetchval("SELECT merged_into FROM contacts WHERE id = $1", younger) == older


async def test_a_second_phone_joins_a_person_by_a_merge_that_can_be_undone(db: Pool) -> None:
    await met(db, [ISRAEL, "chatwoot:1:7"])
    await met(db, [SWEDEN, "chatwoot:1:7"])
    assert await counts(db) == (1, 1)
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'contact.merged'") == 1


async def test_another_notation_of_a_known_line_needs_no_merge(db: Pool) -> None:
    await met(db, [MEXICO])
    await met(db, [MEXICO_OLD, "cgb:5215555550142"])
    assert await counts(db) == (1, 0)


async def test_two_contacts_of_one_line_that_are_there_already_become_one(db: Pool) -> None:
    await db.execute(
        "WITH made AS (INSERT INTO contacts DEFAULT VALUES RETURNING id) INSERT INTO contact_identities"
        " (contact_id, kind, value) SELECT id, 'phone', '+525555550142' FROM made"
    )
    await db.execute(
        "WITH made AS (INSERT INTO contacts DEFAULT VALUES RETURNING id) INSERT INTO contact_identities"
        " (contact_id, kind, value) SELECT id, 'phone', '+5215555550142' FROM made"
    )
    await met(db, [MEXICO])
    assert await counts(db) == (1, 1)


async def test_an_id_that_a_system_gives_to_everybody_makes_no_more_than_a_few_one(db: Pool) -> None:
    for n in range(3 * MOST_PHONES):
        await met(db, [f"phone:+97250555{n:04d}", "cgb:1"])
    sizes = sorted(len(person) for person in await partition(db))
    assert sizes == [1] * (2 * MOST_PHONES) + [MOST_PHONES + 1]


PHONES = [BRAZIL, BRAZIL_OLD, MEXICO, MEXICO_OLD, ISRAEL, SWEDEN]
PROOFS = [*PHONES, *(f"{kind}:{n}" for kind in ("wa_id", "bsuid", "chatwoot", "cgb") for n in (1, 2))]
MAILS = [MAIL, "email:c@d.example"]


def expected(groups: list[list[str]]) -> set[frozenset[str]]:
    """The partition of proofs by the plain rule: what is in one group, or is one line, is one person's."""
    people: list[set[str]] = []
    for group in groups:
        one = {identity for identity in group if identity not in MAILS}
        lines = {_line(identity) for identity in one}
        for other in [person for person in people if lines & {_line(identity) for identity in person}]:
            people.remove(other)
            one |= other
            lines |= {_line(identity) for identity in one}
        if one:
            people.append(one)
    return set(map(frozenset, people))


def _line(identity: str) -> str:
    kind, value = identity.split(":", 1)
    return line(value) if kind == "phone" else identity


async def proofs_of(db: Pool) -> set[frozenset[str]]:
    """The proofs of each contact; one that was merged may have kept an address that both had."""
    people = {frozenset(identity for identity in person if identity not in MAILS) for person in await partition(db)}
    return people - {frozenset()}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    groups=st.lists(st.lists(st.sampled_from(PROOFS + MAILS), min_size=1, max_size=3), max_size=8),
    cuts=st.lists(st.integers(1, 4), max_size=8),
    rng=st.randoms(use_true_random=False),
)
async def test_people_are_the_same_whatever_the_order_and_the_batches(
    db: Pool, groups: list[list[str]], cuts: list[int], rng: Random
) -> None:
    await db.execute("TRUNCATE contacts CASCADE")
    arriving = list(groups)
    rng.shuffle(arriving)
    while arriving:
        size = cuts[len(arriving) % len(cuts)] if cuts else 1
        await met(db, *arriving[:size])
        arriving = arriving[size:]
    assert await proofs_of(db) == expected(groups)
    standing, _ = await counts(db)
    assert standing == len(expected(groups))


@pytest.mark.parametrize("seed", range(6))
async def test_people_met_by_many_processes_at_once_are_the_same(database_url: str, seed: int) -> None:
    rng = Random(seed)
    groups = [rng.sample(PROOFS, rng.choice((1, 2, 2))) for _ in range(6)] + [[MEXICO], [MEXICO_OLD]]
    async with pool.connect(database_url, size=8) as db:

        async def process(place: int) -> None:
            own = Random(seed * 100 + place)
            arriving = groups * 2
            own.shuffle(arriving)
            while arriving:
                size = own.randint(1, 4)
                await met(db, *arriving[:size])
                arriving = arriving[size:]

        await asyncio.gather(*(process(place) for place in range(8)))
        assert await proofs_of(db) == expected(groups)


async def waiting_for_locks(conn: Connection, count: int) -> bool:
    """Whether *count* connections to the database of *conn*, which has a transaction open, wait for a lock."""
    await conn.execute("SELECT pg_stat_clear_snapshot()")
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await conn.fetchval(query) == count)


@pytest.mark.parametrize(("first", "second"), [(MEXICO, MEXICO_OLD), (BRAZIL_OLD, BRAZIL), (ISRAEL, ISRAEL)])
async def test_who_comes_second_waits_for_the_contact_that_is_being_made(db: Pool, first: str, second: str) -> None:
    async with db.acquire() as conn, conn.transaction():
        made = await people.meet(conn, [Met(identities(first), "test")])
        later = asyncio.create_task(met(db, [second]))
        await until(lambda: waiting_for_locks(conn, 1), "the second waits")
    assert await later == made
    assert await counts(db) == (1, 0)


async def test_two_who_make_one_person_wait_for_each_other_whichever_notation_they_have(db: Pool) -> None:
    for mine, theirs in ((MEXICO, MEXICO_OLD), (ISRAEL, ISRAEL), ("chatwoot:1:7", "chatwoot:1:7")):
        await asyncio.gather(*(met(db, [identity]) for identity in (mine, theirs) * 10))
    assert (await counts(db))[0] == 3


async def test_a_merge_while_a_contact_is_in_use_loses_neither(db: Pool) -> None:
    """One transaction holds both contacts; the other has seen two, and finds one."""
    await met(db, [ISRAEL], ["chatwoot:1:7"])
    async with db.acquire() as conn, conn.transaction():
        await conn.execute("SELECT id FROM contacts ORDER BY id FOR UPDATE")
        waiting = [asyncio.create_task(met(db, [ISRAEL, "chatwoot:1:7"])) for _ in range(3)]
        await until(lambda: waiting_for_locks(conn, 3), "all have seen the two, and wait")
    assert len({contacts[0] for contacts in await asyncio.gather(*waiting)}) == 1
    assert await counts(db) == (1, 1)
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 1


async def test_a_known_person_who_is_merged_meanwhile_is_who_the_contact_has_become(db: Pool) -> None:
    (stays, merged, other) = await met(db, ["chatwoot:1:7"], [ISRAEL, "cgb:1"], [SWEDEN])
    assert stays is not None
    assert merged is not None
    async with db.acquire() as conn, conn.transaction():
        await merges.lock(conn, [stays, merged])
        later = asyncio.create_task(met(db, [SWEDEN], [ISRAEL, "cgb:1", MAIL]))
        await until(lambda: waiting_for_locks(conn, 1), "it has found the one that is being merged, and waits")
        await merges.merge(conn, stays=stays, merged=merged, actor="dana", why="the same person")
    assert await later == [other, stays]
    assert await partition(db) == {frozenset({"chatwoot:1:7", ISRAEL, "cgb:1", MAIL}), frozenset({SWEDEN})}


async def test_a_known_person_whose_contact_is_deleted_meanwhile_is_made_again(db: Pool) -> None:
    (gone,) = await met(db, [ISRAEL, "cgb:1"])
    async with db.acquire() as conn, conn.transaction():
        await conn.execute("DELETE FROM contacts")
        later = asyncio.create_task(met(db, [ISRAEL, "cgb:1"]))
        await until(lambda: waiting_for_locks(conn, 1), "it has found the contact, and waits")
    assert await later != [gone]
    assert await partition(db) == {frozenset({ISRAEL, "cgb:1"})}


async def test_a_known_person_who_is_taken_apart_meanwhile_is_the_one_who_has_the_identity_now(db: Pool) -> None:
    (stays,), (merged,) = await met(db, [ISRAEL]), await met(db, ["chatwoot:1:7"])
    assert merged is not None
    await met(db, [ISRAEL, "chatwoot:1:7"])
    async with db.acquire() as conn, conn.transaction():
        await merges.unmerge(conn, merged=merged, actor="dana")
        later = asyncio.create_task(met(db, ["chatwoot:1:7"], [ISRAEL]))
        await until(lambda: waiting_for_locks(conn, 1), "it has found one contact, and waits")
    assert await later == [merged, stays]


async def test_phones_are_counted_when_no_other_process_can_add_one(db: Pool) -> None:
    for n in range(MOST_PHONES - 1):
        await met(db, [f"phone:+97250555{n:04d}", "cgb:1"])
    async with db.acquire() as conn, conn.transaction():
        await people.meet(conn, [Met(identities(ISRAEL, "cgb:1"), "test")])
        later = asyncio.create_task(met(db, [SWEDEN, "cgb:1"]))
        await until(lambda: waiting_for_locks(conn, 1), "it has found a person who has room for one more, and waits")
    await later
    assert sorted(len(person) for person in await partition(db)) == [1, MOST_PHONES + 1]


async def test_a_group_of_one_contact_is_told_what_another_group_makes_of_it(db: Pool) -> None:
    (older,), (younger,) = await met(db, ["chatwoot:1:7"]), await met(db, [ISRAEL, "cgb:1"])
    assert await met(db, [ISRAEL], ["cgb:1", MAIL], ["cgb:1", "chatwoot:1:7"], [SWEDEN, "cgb:1"]) == [older] * 4
    assert await db.fetchval("SELECT merged_into FROM contacts WHERE id = $1", younger) == older
    assert await partition(db) == {frozenset({ISRAEL, SWEDEN, "cgb:1", "chatwoot:1:7", MAIL})}


async def test_what_a_process_of_an_older_version_gave_to_a_merged_contact_counts_for_the_person(db: Pool) -> None:
    await met(db, [ISRAEL], ["chatwoot:1:7"])
    (stays,) = await met(db, [ISRAEL, "chatwoot:1:7"])
    await db.execute(
        "INSERT INTO contact_identities (contact_id, kind, value)"
        " SELECT id, 'cgb', '1' FROM contacts WHERE merged_into IS NOT NULL"
    )
    assert await met(db, ["cgb:1"], ["cgb:1", SWEDEN]) == [stays, stays]

"""The worker record-sync: whom a record is about, whatever the order in which its changes are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres import merges
from adapters.postgres.pool import Pool
from adapters.postgres.records import people as rows
from adapters.postgres.records.people import Asked, Found
from daemon.bus.outcome import Done, Row, Turn
from daemon.operator import people
from daemon.records import record_sync
from daemon.records.models.rules import MODELS
from daemon.records.record_sync import RecordDeps
from daemon.rules.files import SHIPPED
from schemas.envelope import Event, event_id
from schemas.errors import Malformed
from tests.support.contacts_verb import contacts_verb
from tests.support.people import bought
from tests.support.plans import assert_reads_few
from tests.support.toy import NOON

NOA, DAN, NOBODY = "+972505550001", "+972505550002", "+972505550009"
PHONES: Final = {name: model.phone for name, model in SHIPPED(MODELS).models.items() if model.phone}
MANY: Final = 4000

_STATE: Final = """
WITH clock AS (UPDATE sync_clock SET seq = seq + 1 RETURNING seq)
INSERT INTO records AS r (model, record_id, version, prev, seq, owner_id, branch, deleted, data, changed_at)
SELECT 'Lead', $1, $2::bigint, $2::bigint - 1, seq, 'u-1', $5, $4, $3::jsonb, now() FROM clock
ON CONFLICT (model, record_id) DO UPDATE
SET version = excluded.version, seq = excluded.seq, data = excluded.data, deleted = excluded.deleted
"""


@dataclass
class Leads:
    """Leads in a database, and the worker on it, without the bus. *woken*: how often its process was told."""

    db: Pool
    woken: int = 0
    versions: dict[str, int] = field(default_factory=dict)

    async def write(self, id: str, phone: Any, *, deleted: bool = False, branch: str | None = None) -> Event:
        """A lead with this phone; the event that tells of it."""
        version = self.versions[id] = self.versions.get(id, 0) + 1
        data = json.dumps({"name": "Somebody", "phone": phone})
        await self.db.execute(_STATE, id, version, data, deleted, branch)
        return changed(id, version)

    async def handle(self, event: Event) -> Done:
        outcome = await record_sync.handle(event, self._deps(), Turn(NOON))
        assert isinstance(outcome, Done)
        return outcome

    async def record(self, batch: Sequence[Row]) -> None:
        async with self.db.acquire() as conn, conn.transaction():
            await record_sync.record(conn, batch)

    async def told(self, *events: Event) -> None:
        """*events* are handled, one after the other."""
        for event in events:
            await self.record((await self.handle(event)).rows)

    async def line(self, id: str) -> str | None:
        found: str | None = await self.db.fetchval("SELECT line FROM record_people WHERE record_id = $1", id)
        return found

    async def of(self, who: str) -> list[str]:
        """The leads that are shown of a person."""
        return [one["id"] for one in (await people.show(self.db, who))["records"]]

    def _deps(self) -> RecordDeps:
        async def find(asked: Asked) -> Found | None:
            (found,) = await rows.find(self.db, [asked])
            return found

        return RecordDeps(phones=PHONES, find=find, wake=partial(_count, self))


def _count(leads: Leads) -> None:
    leads.woken += 1


def changed(id: str, version: int, model: str = "Lead") -> Event:
    data = {"model": model, "id": id, "version": version, "fields": ["phone"], "origin": "r1", "deleted": False}
    return Event(
        id=event_id("records", model, id, str(version)),
        type="record.changed",
        source="records",
        subject=f"{model}:{id}",
        time=NOON + timedelta(seconds=version),
        data=json.dumps(data).encode(),
    )


@pytest.fixture
def leads(db: Pool) -> Leads:
    return Leads(db)


async def merged(db: Pool, stays: UUID, other: UUID) -> None:
    async with db.acquire() as conn, conn.transaction():
        await merges.lock(conn, [stays, other])
        await merges.merge(conn, stays=stays, merged=other, actor="dana", why="the same person")


async def test_a_record_is_shown_with_its_person_by_whatever_notation_of_the_phone(db: Pool, leads: Leads) -> None:
    await bought(db, NOA, 1)
    brazil = "+5511987650142"
    await bought(db, brazil, 2)
    await leads.told(await leads.write("a", "+972 50-555-0001"), await leads.write("b", "050 555 0001", branch="il"))
    await leads.told(await leads.write("c", "+55 11 8765-0142"), await leads.write("d", "050 555 0001"))
    await leads.told(await leads.write("e", None), await leads.write("f", "ask him"), await leads.write("g", {"x": 1}))
    assert sorted(await leads.of(NOA)) == ["a", "b"], "a number without its country is nobody's"
    assert await leads.of(brazil) == ["c"], "an older notation of the same line"


async def test_what_is_shown_of_a_record_is_not_what_it_says(
    db: Pool, leads: Leads, redis_url: str, database_url: str
) -> None:
    await bought(db, NOA, 1)
    await leads.told(await leads.write("a", NOA))
    (shown,) = (await people.show(db, NOA))["records"]
    assert shown.keys() == {"model", "id", "version", "owner_id", "branch", "changed_at"}
    code, said = await contacts_verb(redis_url, database_url)("show", NOA)
    assert code == 0
    (line,) = [line for line in said.splitlines() if line.startswith("record ")]
    assert line.split()[1:5] == ["Lead", "a", "version", "1"]
    assert line.endswith("owner u-1")
    assert "Somebody" not in said


async def test_the_person_is_the_one_of_the_record_as_it_stands(db: Pool, leads: Leads) -> None:
    await bought(db, NOA, 1)
    await bought(db, DAN, 2)
    first, then = await leads.write("a", NOA), await leads.write("a", DAN)
    await leads.told(then, first, then, first)
    assert (await leads.of(NOA), await leads.of(DAN)) == ([], ["a"])
    await leads.told(await leads.write("a", DAN, deleted=True))
    assert (await leads.of(DAN), await leads.line("a")) == ([], None)
    await leads.told(await leads.write("a", NOA))
    assert await leads.of(NOA) == ["a"], "it was revived"


async def test_a_record_that_went_is_forgotten_and_one_that_came_back_is_not(db: Pool, leads: Leads) -> None:
    first = await leads.write("a", NOA)
    await leads.told(first)
    await db.execute("DELETE FROM records")
    late = await leads.handle(first)
    await leads.told(await leads.write("b", NOA), await leads.write("a", NOA))
    await leads.record(late.rows)
    assert (await leads.line("a"), await leads.line("b")) == (NOA, NOA), "it came back before its end was recorded"
    await db.execute("DELETE FROM records")
    await leads.told(first)
    assert (await leads.line("a"), await leads.line("b")) == (None, NOA)


async def test_what_is_known_already_costs_no_write(leads: Leads) -> None:
    event = await leads.write("a", NOA)
    await leads.told(event)
    assert await leads.handle(event) == Done(skipped="known already")
    assert (await leads.handle(changed("p", 1, model="Payment"))).skipped == "its model names no phone"
    assert (await leads.handle(changed("p", 1, model="Former"))).skipped == "its model names no phone"
    assert leads.woken == 4, "an edge has something to push whatever the record is about"


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"{}", b'{"model": "Lead"}', b'{"model": 1, "id": "a"}'])
async def test_an_event_that_names_no_record_is_malformed(leads: Leads, data: bytes) -> None:
    with pytest.raises(Malformed):
        await leads.handle(changed("a", 1)._replace(data=data))


async def test_a_contact_that_comes_later_has_the_records_of_before(db: Pool, leads: Leads) -> None:
    await leads.told(await leads.write("a", NOA))
    await bought(db, NOA, 1)
    assert await leads.of(NOA) == ["a"]


async def test_records_go_with_a_merge_and_back_with_its_undoing(db: Pool, leads: Leads) -> None:
    noa, dan = await bought(db, NOA, 1), await bought(db, DAN, 2)
    await leads.told(await leads.write("a", NOA), await leads.write("b", DAN))
    await merged(db, noa, dan)
    assert sorted(await leads.of(NOA)) == sorted(await leads.of(DAN)) == ["a", "b"]
    await leads.told(await leads.write("c", DAN))
    async with db.acquire() as conn, conn.transaction():
        await merges.unmerge(conn, merged=dan, actor="dana")
    assert await leads.of(NOA) == ["a"]
    assert sorted(await leads.of(DAN)) == ["b", "c"], "also what came meanwhile is of whoever has the phone"


@given(
    phones=st.lists(st.sampled_from([NOA, DAN, NOBODY, None, "gone"]), min_size=1, max_size=6),
    data=st.data(),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_changes_that_are_told_twice_or_reversed_end_with_the_newest(
    db: Pool, phones: list[Any], data: Any
) -> None:
    leads = Leads(db)
    await db.execute("TRUNCATE records, record_people")
    found: list[Row] = []
    for phone in phones:
        deleted = phone == "gone"
        event = await leads.write("a", NOA if deleted else phone, deleted=deleted)
        found += (await leads.handle(event)).rows
    order = data.draw(st.lists(st.sampled_from(range(len(found))), max_size=6)) + data.draw(
        st.permutations(range(len(found)))
    )
    while order:
        size = data.draw(st.integers(1, len(order)))
        await leads.record([found[n] for n in order[:size]])
        order = order[size:]
    assert await leads.line("a") == (None if phones[-1] == "gone" else phones[-1])


_FILL: Final = """
WITH made AS (SELECT n FROM generate_series($1::int, $2::int) n),
told AS (INSERT INTO record_people (model, record_id, seq, line) SELECT 'Lead', 'l' || n, n, '+97250' || n FROM made)
INSERT INTO records (model, record_id, version, prev, seq, data, changed_at)
SELECT 'Lead', 'l' || n, 1, 0, n, '{}', now() FROM made
"""


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        (rows._OF_PERSON, "text[], int", "ARRAY['+97250333', '+97250444'], 200"),
        (rows._FIND, "text[], text[], text[]", "ARRAY['Lead'], ARRAY['l777'], ARRAY['phone']"),
    ],
)
async def test_the_questions_read_few_of_many_rows(db: Pool, query: str, types: str, arguments: str) -> None:
    await assert_reads_few(db, ("records", "record_people"), (_FILL,), MANY, query, types, arguments, 40)

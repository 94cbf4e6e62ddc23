"""A person who is everywhere is nowhere after the erasure, wherever it was killed; and the neighbour is untouched."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from adapters.postgres.operator.privacy import rows
from adapters.postgres.operator.privacy.erasures import Erasure
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_keys
from daemon.operator.audit import audit_workers
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.privacy import ledger, verifying
from daemon.operator.privacy.erasing import IDS_AT_ONCE, told_of
from daemon.stores.embedded.binaries import postgres_root
from schemas.envelope import TOPICS, event_id
from schemas.subscriptions import body_of
from tests.integration.operator.privacy.conftest import House
from tests.support import planted


class Killed(BaseException):
    """The process has died."""


async def everything(db: Pool, bus: Streams, database_url: str) -> str:
    """All that both stores say: a dump of the database, and the streams."""
    said = [await dumped(database_url)]
    for key in stream_keys(TOPICS, range(bus.partitions)):
        for entry_id, fields in await bus.redis.xrange(key) or ():
            said.append(f"{entry_id!r} {fields!r}")
    return "\n".join(said)


async def dumped(database_url: str) -> str:
    """By the server's own program."""
    argv = [str(postgres_root() / "bin" / "pg_dump"), "--data-only", database_url]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return re.sub(r"^.(un)?restrict .*$", "", said, flags=re.M)  # a word that is another one each time


async def nothing_is_left(house: House, database_url: str) -> None:
    text = await everything(house.db, house.bus, database_url)
    assert [word for word in planted.WORDS if word in text] == []
    for bucket, path in (planted.OBJECT, planted.VOICE):
        assert not (house.settings.ferryman_data_dir / "archive" / bucket / path).exists()
    for person in (planted.PHONE, planted.EMAIL, planted.ORDER, str(house.ids["person"])):
        assert await verifying.verify(house.db, house.bus, house.settings, person) == []
    audit = await audit_workers(house.db)
    assert audit.balanced, audit.document()
    assert house.crm.deleted == ["3:902"]
    assert await house.db.fetchval("SELECT count(*) FROM erasure_subjects") == 0


async def the_neighbour_stands(db: Pool) -> None:
    assert await db.fetchval("SELECT name FROM contacts") == planted.OTHER_NAME
    assert await db.fetchval("SELECT order_id FROM orders") == planted.OTHER_ORDER
    assert await db.fetchval("SELECT phone FROM messages") == planted.OTHER_PHONE
    assert await db.fetchval("SELECT name FROM campaign_recipients") == planted.OTHER_NAME
    said = await db.fetchval("SELECT data FROM event_journal WHERE subject = $1", planted.OTHER_PHONE)
    assert planted.OTHER_NAME in said


async def test_a_person_is_in_every_table_that_an_erasure_goes_through(house: House) -> None:
    plan = await house.eraser.plan(planted.PHONE)
    assert {one.table for one in rows.ROWS} - set(plan["rows"]) == set()


async def test_a_plan_counts_and_changes_nothing(house: House, database_url: str) -> None:
    before = await everything(house.db, house.bus, database_url)
    plan = await house.eraser.plan("050-555 0142")
    assert (plan["entries"], plan["records"]) == (4, 1)
    assert plan["objects"] >= 2
    assert {told["system"] for told in plan["outside"]} >= {"Chatwoot", "CGB", "Vizi"}
    assert await everything(house.db, house.bus, database_url) == before


@pytest.mark.parametrize("person", [planted.PHONE, "050-5550142", planted.EMAIL.upper(), planted.ORDER])
async def test_an_erased_person_is_nowhere_and_the_accounts_balance(
    house: House, database_url: str, person: str
) -> None:
    receipt = await house.eraser.erase(person)
    await nothing_is_left(house, database_url)
    await the_neighbour_stands(house.db)
    assert receipt["counts"]["orders"] == 1
    assert receipt["finished_at"] is not None
    ends = await house.db.fetch("SELECT reason FROM inbox WHERE event_id = $1", house.ids["open"])
    assert "erased" in {row["reason"] for row in ends}
    logged = await house.db.fetchval("SELECT detail::text FROM audit_log WHERE action = 'person.erased'")
    assert orjson.loads(logged)["sha256"] == receipt["sha256"]


STEPS = ("fence", "found", "stopped", "ended", "inbox", "contacts", "streams", "objects", "records", "outside", "round")


@pytest.mark.parametrize("step", STEPS)
async def test_an_erasure_that_was_killed_after_any_step_goes_on_to_its_end(
    house: House, database_url: str, step: str
) -> None:
    def reached(now: str) -> None:
        if now == step:
            raise Killed

    with pytest.raises(Killed):
        await replace(house.eraser, reached=reached).erase(planted.PHONE)
    await house.eraser.erase(planted.PHONE)
    await nothing_is_left(house, database_url)
    await the_neighbour_stands(house.db)


async def test_an_erasure_that_is_killed_one_table_later_each_time_comes_to_its_end(
    house: House, database_url: str
) -> None:
    deaths = 0
    for last in range(1, len(rows.ROWS) + 1, 4):
        done: list[str] = []

        def reached(step: str, done: list[str] = done, last: int = last) -> None:
            done += [step] if step in {one.table for one in rows.ROWS} else []
            if len(done) == last:
                raise Killed

        with pytest.raises(Killed):
            await replace(house.eraser, reached=reached).erase(planted.PHONE)
        deaths += 1
    await house.eraser.erase(planted.PHONE)
    assert deaths > 5
    await nothing_is_left(house, database_url)


async def test_an_opt_out_outlives_the_person_as_a_digest(house: House) -> None:
    await house.eraser.erase(planted.PHONE)
    (kept,) = await house.db.fetch("SELECT line, opted_out FROM opt_outs")
    assert kept["opted_out"]
    assert kept["line"].startswith("erased:")
    assert planted.PHONE[1:] not in kept["line"]


async def test_subscribers_are_told_of_an_erasure_by_the_ids_of_events_and_by_no_name(house: House) -> None:
    await house.eraser.erase(planted.PHONE)
    (told,) = await house.db.fetch("SELECT id, subject, data FROM outbox WHERE type = 'contact.erased'")
    number = await house.db.fetchval("SELECT id FROM erasures")
    assert told["subject"] == f"erasure:{number}"
    assert set(orjson.loads(told["data"])["event_ids"]) >= {house.ids[name] for name in ("open", "ended", "wrong")}
    assert house.ids["others"] not in told["data"]
    assert [word for word in planted.WORDS if word in told["data"]] == []


def test_a_person_of_many_events_is_told_of_in_bodies_that_may_go_out() -> None:
    ids = [event_id("test", str(number)) for number in range(2 * IDS_AT_ONCE + 1)]
    told = told_of(ids, Erasure(7, "me", datetime(2031, 2, 14, tzinfo=UTC), None, {}, ()))
    bodies = [orjson.loads(body_of(event, full=full)) for event in told for full in (True, False)]
    assert [one for body in bodies[::2] for one in body["data"]["event_ids"]] == ids
    assert [one for body in bodies[1::2] for one in body["data"]["event_ids"]] == ids
    assert all("subject" in body for body in bodies[::2]), "a full body was too long"
    assert len({event.id for event in told}) == 3


async def test_what_waits_behind_a_delivery_that_was_erased_goes_out(house: House) -> None:
    await house.eraser.erase(planted.PHONE)
    (left,) = await house.db.fetch("SELECT event_id, next_at <= now() AS due FROM webhook_deliveries")
    assert (left["event_id"], left["due"]) == ("strangers", True)


async def test_who_is_not_known_is_not_erased_and_who_may_be_two_is_asked_for(house: House) -> None:
    with pytest.raises(NotThere):
        await house.eraser.erase("+972505559999")
    await planted.insert(house.db, "contact_emails", contact_id=house.ids["other"], email=planted.EMAIL)
    with pytest.raises(Unusable, match="2 people"):
        await house.eraser.erase(planted.EMAIL)


async def test_an_address_that_another_has_too_leads_to_nobody_else(house: House, database_url: str) -> None:
    await planted.insert(house.db, "contact_emails", contact_id=house.ids["other"], email=planted.EMAIL)
    await house.eraser.erase(planted.PHONE)
    await the_neighbour_stands(house.db)
    assert await house.db.fetchval("SELECT email FROM contact_emails") == planted.EMAIL


async def test_verify_finds_what_is_planted_and_says_where(house: House) -> None:
    found = {one.place for one in await verifying.verify(house.db, house.bus, house.settings, planted.PHONE)}
    assert found >= {
        "contact_identities.value",
        "orders.raw_body",
        "event_journal.data",
        "stream:orders",
        "archive_objects",
    }


async def test_a_restored_database_is_erased_again(house: House, database_url: str) -> None:
    await house.eraser.erase(planted.PHONE)
    entries = ledger.read(ledger.path_of(house.settings).read_bytes())
    for table in (
        "erasures",
        "erasure_subjects",
        "inbox",
        "event_journal",
        "dead_letters",
        "audit_log",
        "workers",
        "contacts",
        "orders",
        "ferryman_meta",
    ):
        await house.db.execute(f"DELETE FROM {table}")
    house.crm.deleted.clear()
    await house.db.execute("DELETE FROM refused_requests")
    for table in (
        *("replays", "messages", "campaigns", "opt_outs", "spool", "outbox", "records", "user_bucket_mapping"),
        *("attempt_history", "subscribers", "operators"),
    ):
        await house.db.execute(f"TRUNCATE {table} CASCADE")
    await house.bus.redis.flushdb()
    await planted.plant(house.db, house.bus)
    assert await ledger.reapply(house.eraser, entries) == 1
    text = await dumped(database_url)
    assert [word for word in planted.WORDS if word in text] == []
    assert await ledger.reapply(house.eraser, entries) == 0


async def test_the_ledger_of_the_database_is_that_of_the_file(house: House) -> None:
    await house.eraser.erase(planted.PHONE)
    (of_file,) = ledger.read(ledger.path_of(house.settings).read_bytes())
    assert ledger.read(await ledger.written(house.db)) == [of_file]
    assert ledger.path_of(house.settings).stat().st_mode & 0o777 == 0o600


async def test_without_a_place_for_the_ledger_nothing_is_begun(house: House) -> None:
    file = house.settings.ferryman_data_dir / "file"
    file.touch()
    settings = house.settings.model_copy(update={"ferryman_data_dir": file / "data"})
    with pytest.raises(Unusable, match="FERRYMAN_DATA_DIR"):
        await replace(house.eraser, settings=settings).erase(planted.PHONE)
    assert await house.db.fetchval("SELECT count(*) FROM erasures") == 0

"""The table of templates on a real Postgres: a whole list or nothing, what webhooks tell between two lists, whose turn
it is to read one, and the reading by the clock against a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres import templates
from adapters.postgres.pool import Pool
from adapters.postgres.templates import Difference, Standing, Stored, Told, difference
from daemon.bus.outcome import Done, Turn
from daemon.bus.worker import Outside
from daemon.messages import outbound, template_sync
from daemon.messages.metrics import METRICS
from daemon.messages.template_sync import duties, sync
from daemon.messages.wiring import MessageDeps
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import WABA_ID, change, definition
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.envelope import Event
from schemas.errors import Malformed, Transient
from schemas.templates import Known, TemplateDefinition
from schemas.webhooks.meta import events_from
from tests.support.toy import NOON

MINUTE: Final = timedelta(minutes=1)
AN_HOUR_AGO: Final = """
UPDATE template_syncs SET synced_at = now() - interval '61 minutes', tried_at = now() - interval '61 minutes'
"""
NOTHING: Final = cast(MessageDeps, None)
"""What is told of a template asks for nothing outside."""

BODY: Final = ({"type": "BODY", "text": "For {{1}}"},)


def made(name: str = "parcel_ready", language: str = "en_US", **given: Any) -> TemplateDefinition:
    told = {"category": "UTILITY", "components": list(BODY), "quality": "GREEN", "provider_id": f"{name}.{language}"}
    return TemplateDefinition(name=name, language=language, **told | given)


async def store(db: Pool, *read: TemplateDefinition, at: datetime = NOON, account: str = "default") -> Difference:
    async with db.acquire() as conn, conn.transaction():
        return await templates.store(conn, "meta", account, read, at)


async def tell(db: Pool, *told: Told) -> None:
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, told)


def told(name: str = "parcel_ready", language: str = "en_US", *, at: datetime = NOON + MINUTE, **news: Any) -> Told:
    return Told("meta", name, language, news.pop("id", f"{name}.{language}"), at, **news)


async def stands(db: Pool, name: str = "parcel_ready", account: str = "default") -> Standing | None:
    return await templates.standing(db, "meta", account, name, "en_US")


async def names(db: Pool) -> list[str]:
    rows = await db.fetch("SELECT name FROM templates WHERE gone_at IS NULL ORDER BY name")
    return [row["name"] for row in rows]


# lists


async def test_a_list_is_stored_whole_and_the_next_one_says_what_is_new_changed_and_gone(db: Pool) -> None:
    first = await store(db, made("a"), made("b"), made("c"))
    assert ([one.name for one in first.new], first.changed, first.gone) == (["a", "b", "c"], [], [])
    paused = made("b", status="PAUSED")
    second = await store(db, made("a"), paused, made("d"), at=NOON + MINUTE)
    assert (second.new, second.changed, second.gone) == ([made("d")], [paused], [made("c")])
    assert await names(db) == ["a", "b", "d"]
    assert await templates.known(db, "meta", "default", "b") == Known("b", [paused], NOON + MINUTE)
    again = await store(db, made("a"), made("b"), made("c"), made("d"), at=NOON + 2 * MINUTE)
    assert (again.new, again.changed, again.gone) == ([made("c")], [made("b")], [])


async def test_the_same_list_again_changes_nothing_but_the_time(db: Pool) -> None:
    await store(db, made("a"))
    assert await store(db, made("a"), at=NOON + MINUTE) == Difference([], [], [])
    rows = await db.fetch("SELECT synced_at FROM templates UNION ALL SELECT synced_at FROM template_syncs")
    assert [row["synced_at"] for row in rows] == [NOON + MINUTE] * 2


async def test_a_list_that_was_read_before_the_stored_one_changes_nothing(db: Pool) -> None:
    await store(db, made("a"), at=NOON + MINUTE)
    assert await store(db, made("b")) == Difference((), (), ())
    assert await names(db) == ["a"]


async def test_accounts_have_templates_of_their_own(db: Pool) -> None:
    await store(db, made("a"))
    await store(db, made("a", status="PAUSED"), made("b"), account="second")
    await store(db, account="second", at=NOON + MINUTE)
    assert await names(db) == ["a"]
    assert await stands(db, "a") == Standing("APPROVED", gone=False)
    assert await stands(db, "a", "second") == Standing("PAUSED", gone=True)


async def test_nothing_is_known_of_an_account_until_its_list_was_read_be_it_an_empty_one(db: Pool) -> None:
    assert await templates.known(db, "meta", "default", "a") is None
    assert await templates.take_turn(db, "meta", "default", older_s=60, tried_s=60)
    assert await templates.known(db, "meta", "default", "a") is None, "it was begun, and not read"
    await store(db)
    assert await templates.known(db, "meta", "default", "a") == Known("a", [], NOON)


class Reader:
    """A list of templates. *error*: what reading it raises."""

    def __init__(self, *read: TemplateDefinition, error: Exception | None = None) -> None:
        self.templates = list(read)
        self.error = error

    async def read(self) -> list[TemplateDefinition]:
        if self.error is not None:
            raise self.error
        return self.templates


async def test_a_list_that_cannot_be_read_and_a_dry_run_change_nothing(db: Pool) -> None:
    await sync(db, "meta", Reader(made("a")))
    with pytest.raises(Transient):
        await sync(db, "meta", Reader(error=Transient("Meta: HTTP 502")))
    found = await sync(db, "meta", Reader(made("b")), dry_run=True)
    assert ([one.name for one in found.changes.new], [one.name for one in found.changes.gone]) == (["b"], ["a"])
    assert await names(db) == ["a"]


async def test_lists_that_are_stored_at_once_end_as_the_newest_one(db: Pool) -> None:
    async def one(n: int) -> None:
        await store(db, *(made(f"t{m}") for m in range(n)), at=NOON + n * MINUTE)

    await asyncio.gather(*map(one, (3, 1, 5, 2, 4)))
    assert await names(db) == [f"t{m}" for m in range(5)]


STATES = st.sampled_from([None, "APPROVED", "PAUSED"])


@given(st.lists(st.tuples(STATES, st.booleans(), st.sampled_from([None, -1, 1]), STATES), max_size=6))
def test_a_list_makes_the_table_what_it_says_but_for_what_was_told_since(
    rows: Sequence[tuple[str | None, bool, int | None, str | None]],
) -> None:
    """Each row: its status in the table (None: it is not there), whether it is gone, when a webhook has told of it
    (before or after the list was begun), and its status in the list."""
    before, read = {}, []
    for n, (stored, gone, since, listed) in enumerate(rows):
        at = None if since is None else NOON + since * MINUTE
        if stored is not None:
            before[f"t{n}"] = Stored(made(f"t{n}", status=stored), at, gone)
        if listed is not None:
            read.append(made(f"t{n}", status=listed))
    found = difference(list(before.values()), read, NOON)
    table = {name: one.definition.status for name, one in before.items() if not one.gone}
    table |= {one.name: one.status for one in (*found.new, *found.changed)}
    table = {name: status for name, status in table.items() if name not in {one.name for one in found.gone}}
    wanted = {}
    for one in read:
        was = before.get(one.name)
        newer = was is not None and was.told_at is not None and was.told_at > NOON
        if was is None or not newer:
            wanted[one.name] = one.status
        elif not was.gone:
            wanted[one.name] = was.definition.status
    assert table == wanted
    assert not {one.name for one in found.new} & {n for n, one in before.items() if not one.gone}


async def test_a_list_of_flows_that_is_read_again_changes_nothing(db: Pool) -> None:
    flows = [TemplateDefinition(name="order_received", provider_id="1")]  # CGB tells nothing of what is in them
    async with db.acquire() as conn:
        first = await templates.store(conn, "cgb", "default", flows, NOON)
        again = await templates.store(conn, "cgb", "default", flows, NOON + MINUTE)
    assert ([one.name for one in first.new], first.changed) == (["order_received"], [])
    assert (again.new, again.changed, again.gone) == ([], [], [])


# what is told between two lists


async def test_what_is_told_of_a_template_counts_until_a_later_list(db: Pool) -> None:
    await store(db, made())
    await tell(db, told(status="PAUSED"))
    assert await stands(db) == Standing("PAUSED", gone=False)
    await store(db, made(), at=NOON + timedelta(seconds=30))
    assert await stands(db) == Standing("PAUSED", gone=False), "the list was begun before that"
    await store(db, made(), at=NOON + 2 * MINUTE)
    assert await stands(db) == Standing("APPROVED", gone=False)


async def test_what_comes_late_takes_no_newer_word_back(db: Pool) -> None:
    await store(db, made())
    await tell(db, told(status="APPROVED", at=NOON + 2 * MINUTE), told(status="PAUSED"))
    await tell(db, told(status="DISABLED"))
    assert await stands(db) == Standing("APPROVED", gone=False)


async def test_what_is_told_days_late_is_known_from_the_list_already(db: Pool) -> None:
    await store(db, made())
    await tell(db, told(status="PAUSED", at=NOON - timedelta(days=2)))
    assert await stands(db) == Standing("APPROVED", gone=False)


async def test_each_word_changes_its_own_column_alone(db: Pool) -> None:
    await store(db, made())
    await tell(db, told(category="MARKETING"), told(quality="RED", at=NOON + 2 * MINUTE))
    found = await templates.known(db, "meta", "default", "parcel_ready")
    assert found is not None
    assert found.definitions == [made(category="MARKETING", quality="RED")]


async def test_a_deleted_template_is_gone_at_once(db: Pool) -> None:
    await store(db, made())
    await tell(db, told(status="DELETED", deleted=True))
    assert await stands(db) == Standing("DELETED", gone=True)
    assert await templates.known(db, "meta", "default", "parcel_ready") == Known("parcel_ready", [], NOON)


async def test_a_template_of_the_same_name_in_another_account_is_left_as_it_is(db: Pool) -> None:
    await store(db, made())
    await store(db, made(provider_id="77"), account="second")
    await tell(db, told(status="PAUSED", id="77"))
    assert await stands(db) == Standing("APPROVED", gone=False)
    assert await stands(db, account="second") == Standing("PAUSED", gone=False)
    await tell(db, told(status="PAUSED", id="78"))
    assert await stands(db) == Standing("APPROVED", gone=False)


async def test_standings_are_answered_in_the_order_of_the_questions(db: Pool) -> None:
    await store(db, made("a"), made("b", status="PAUSED"))
    asked = [templates.Asked("meta", "default", name, "en_US") for name in ("b", "nothing", "a", "b")]
    found = await templates.standings(db, asked)
    assert [one and one.status for one in found] == ["PAUSED", None, "APPROVED", "PAUSED"]
    assert await templates.standings(db, []) == []


# whose turn it is


async def turn(db: Pool, older_s: float = 3600, tried_s: float = 0) -> bool:
    return await templates.take_turn(db, "meta", "default", older_s=older_s, tried_s=tried_s)


async def test_of_many_processes_one_reads_the_list(db: Pool) -> None:
    assert sorted(await asyncio.gather(*(turn(db, tried_s=60) for _ in range(8)))) == [False] * 7 + [True]


async def test_a_list_is_read_anew_when_it_is_old_or_something_tells_that_it_is_another_one(db: Pool) -> None:
    now = await templates.clock(db)
    await store(db, made(), at=now)
    assert not await turn(db)
    assert await turn(db, older_s=0)
    for news in (told(again=True), told("new_one", status="APPROVED"), told(id="78", status="PAUSED")):
        await store(db, made(), at=await templates.clock(db))
        assert not await turn(db)
        await tell(db, replace(news, at=now))
        assert await turn(db), news
    await store(db, made(), at=await templates.clock(db))
    await tell(db, told(status="PAUSED", at=now))
    assert not await turn(db), "that says all"


# Meta's webhooks, through the worker


async def handled(document: dict[str, Any]) -> Event:
    (event,) = events_from(document, source="meta", now=NOON + timedelta(days=1))
    return event


async def heard(db: Pool, field: str, row: dict[str, Any], **news: Any) -> None:
    event = await handled(change(field, row, at=int((NOON + MINUTE).timestamp()), **news))
    done = await outbound.handle(event, NOTHING, Turn(now=NOON))
    assert isinstance(done, Done)
    async with db.acquire() as conn, conn.transaction():
        await outbound.record(conn, done.rows)


@pytest.mark.parametrize(
    ("field", "news", "change"),
    [
        ("message_template_status_update", {"event": "PAUSED", "reason": "NONE"}, {"status": "PAUSED"}),
        ("message_template_status_update", {"event": "DISABLED"}, {"status": "DISABLED"}),
        ("message_template_status_update", {"event": "FLAGGED"}, {}),
        ("message_template_status_update", {"event": "REINSTATED"}, {"status": "APPROVED"}),
        (
            "message_template_status_update",
            {"event": "REJECTED", "message_template_category": "MARKETING"},
            {"status": "REJECTED", "category": "MARKETING"},
        ),
        (
            "template_category_update",
            {"previous_category": "UTILITY", "new_category": "MARKETING"},
            {"category": "MARKETING"},
        ),
        (
            "template_category_update",
            {"correct_category": "MARKETING", "new_category": "UTILITY"},
            {"category": "UTILITY"},
        ),
        ("message_template_quality_update", {"new_quality_score": "RED"}, {"quality": "RED"}),
        ("message_template_components_update", {"message_template_element": "New {{1}}"}, {}),
        ("message_template_status_update", {"event": "A_WORD_OF_2032"}, {}),
    ],
    ids=str,
)
async def test_what_meta_tells_of_a_template_is_kept(
    db: Pool, field: str, news: dict[str, Any], change: dict[str, Any]
) -> None:
    row = definition(body="For {{1}}")
    await store(db, before := made(provider_id=row["id"]))
    await heard(db, field, row, **news)
    found = await templates.known(db, "meta", "default", "parcel_ready")
    assert found is not None
    assert found.definitions == [replace(before, **change)]
    wanted = await db.fetchval("SELECT wanted_at FROM template_syncs")
    assert (wanted is not None) is (field.endswith("components_update") or news.get("event") == "A_WORD_OF_2032")


async def test_a_change_that_names_no_template_fails_visibly() -> None:
    row = definition()
    odd = {"message_template_name": 7, "message_template_language": "en"}
    values: list[Any] = [{"event": "PAUSED"}, [], None, 7, odd]
    for value in values:
        document = change("message_template_status_update", row)
        document["entry"][0]["changes"][0]["value"] = value
        with pytest.raises(Malformed):
            await outbound.handle(await handled(document), NOTHING, Turn(now=NOON))


async def test_the_same_change_at_another_time_is_another_event_and_delivered_twice_it_is_one() -> None:
    row = definition()
    one = [await handled(change("message_template_status_update", row, at=at, event="PAUSED")) for at in (10**9, 10**9)]
    other = await handled(change("message_template_status_update", row, at=2 * 10**9, event="PAUSED"))
    assert one[0].id == one[1].id != other.id
    assert one[0].subject == other.subject, "they are handled one after the other"


# by the clock


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
def outside(db: Pool, redis: Redis, session: ClientSession, meta: MetaSandbox) -> Outside:
    settings = Settings(
        meta_graph_url=meta.url, meta_waba_id=WABA_ID, meta_access_token=SecretStr(meta.token), cgb_api_key=None
    )
    return Outside(
        settings=settings,
        secret=lambda name: meta.token,
        pool=db,
        redis=redis,
        session=session,
        channels=Channels(("meta",)),
        metrics=Metrics(METRICS, providers=("meta",)),
        now=lambda: NOON,
    )


def count(outside: Outside, outcome: str) -> float:
    text = outside.metrics.render()[0].decode()
    name = f'ferryman_template_syncs_total{{outcome="{outcome}",provider="meta"}}'
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


async def test_the_list_is_read_at_the_start_and_then_when_it_is_old(
    outside: Outside, meta: MetaSandbox, db: Pool
) -> None:
    meta.switches.templates = [definition("a"), definition("b")]
    (duty,) = duties(outside)
    await duty.act()
    assert await names(db) == ["a", "b"]
    meta.switches.templates = [definition("a")]
    await duty.act()
    assert (await names(db), count(outside, "done")) == (["a", "b"], 1)
    await db.execute(AN_HOUR_AGO)
    await duty.act()
    assert (await names(db), count(outside, "done")) == (["a"], 2)


async def test_a_process_that_starts_reads_the_list_however_new_it_is_but_not_each_of_several(
    outside: Outside, meta: MetaSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(duties(outside)[0].act() for _ in range(4)))
    assert len(meta.ledger.entries) == 1
    monkeypatch.setattr(template_sync, "TRIED_AT_START_S", 0.0)
    await duties(outside)[0].act()
    assert len(meta.ledger.entries) == 2


async def test_a_failure_is_counted_and_stops_nothing_else(
    outside: Outside, meta: MetaSandbox, db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_sync, "TRIED_S", 0.0)
    meta.faults.add("bad_token", times=None)
    (duty,) = duties(outside)
    for _ in range(6):
        await duty.act()
    assert count(outside, "failed") == 6
    assert outside.channels["meta"].closed, "messages go on"
    assert await templates.known(db, "meta", "default", "a") is None


async def test_a_paused_provider_is_not_asked(outside: Outside, meta: MetaSandbox) -> None:
    outside.channels["meta"].paused = True
    (duty,) = duties(outside)
    await duty.act()
    assert meta.ledger.entries == []


@pytest.mark.parametrize("missing", ["meta_waba_id", "meta_access_token"])
def test_without_an_account_nothing_is_read_by_the_clock(outside: Outside, missing: str) -> None:
    settings = outside.settings.model_copy(update={missing: None})
    assert duties(replace(outside, settings=settings)) == []

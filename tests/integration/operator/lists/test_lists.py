"""The lists of operators: every page of them, forth and back, and nothing personal on any."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import orjson
import pytest

from adapters.postgres.pool import Pool
from daemon.operator.lists import (
    audit_log,
    campaigns,
    conversations,
    cursors,
    dead_letters,
    events,
    messages,
    orders,
    people,
    recipients,
    refused,
    replays,
    syncs,
    templates,
)
from daemon.operator.lists.cursors import BadCursor
from daemon.operator.lists.pages import Page, Position
from schemas.api import lists as models
from tests.support.answers import check_fields
from tests.support.list_rows import CAMPAIGN, CANARIES, fill

ROWS: Final = 23
Read = Callable[[Pool, Any, Position], Awaitable[Page]]


async def of_the_campaign(pool: Pool, wanted: models.RecipientFilter, at: Position) -> Page:
    return await recipients.page(pool, UUID(CAMPAIGN), wanted, at)


LISTS: Final[dict[str, tuple[Read, Any, Any]]] = {
    "orders": (orders.page, models.OrderFilter, models.OrderRow),
    "messages": (messages.page, models.MessageFilter, models.MessageRow),
    "events": (events.page, models.EventFilter, models.EventRow),
    "dead letters": (dead_letters.page, models.LetterFilter, models.LetterRow),
    "refused": (refused.page, models.RefusedFilter, models.RefusedRow),
    "campaigns": (campaigns.page, models.CampaignFilter, models.CampaignRow),
    "recipients": (of_the_campaign, models.RecipientFilter, models.RecipientRow),
    "templates": (templates.page, models.TemplateFilter, models.TemplateRow),
    "conversations": (conversations.page, models.ConversationFilter, models.ConversationRow),
    "replays": (replays.page, models.ReplayFilter, models.ReplayRow),
    "syncs": (syncs.page, models.SyncFilter, models.SyncRow),
    "audit log": (audit_log.page, models.AuditFilter, models.AuditRow),
    "people": (people.page, models.PeopleFilter, models.PersonRow),
}
IDENTITY: Final = ("number", "order_id", "id", "line", "name")


def ids(page: Page) -> list[Any]:
    return [next(row[name] for name in IDENTITY if name in row) for row in page.rows]


@pytest.fixture
async def filled(db: Pool) -> Pool:
    await fill(db, ROWS)
    return db


@pytest.mark.parametrize("name", LISTS)
async def test_every_row_is_on_one_page_forth_and_back(filled: Pool, name: str) -> None:
    read, filter, _ = LISTS[name]
    whole = await read(filled, filter(), Position(limit=100))
    assert (len(whole.rows), whole.next, whole.prev) == (ROWS, None, None)
    forth = [await read(filled, filter(), Position(limit=5))]
    while cursor := forth[-1].next:
        forth.append(await read(filled, filter(), Position(cursor, 5)))
    assert [one for page in forth for one in ids(page)] == ids(whole)
    back = [forth[-1]]
    while cursor := back[-1].prev:
        back.append(await read(filled, filter(), Position(cursor, 5)))
    assert [ids(page) for page in back if page.rows] == [ids(page) for page in reversed(forth)]


@pytest.mark.parametrize("name", LISTS)
async def test_a_row_has_the_fields_of_its_model_and_nothing_of_a_person(filled: Pool, name: str) -> None:
    read, filter, row = LISTS[name]
    page = await read(filled, filter(), Position())
    for each in page.rows:
        check_fields(row, json.loads(orjson.dumps(each)))
    told = orjson.dumps(page.rows).decode()
    assert [canary for canary in CANARIES if canary in told] == []


@pytest.mark.parametrize(
    ("name", "wanted", "count"),
    [
        ("orders", {"status": "failed"}, 1),
        ("orders", {"branch": "th"}, 1),
        ("orders", {"error": "was refused", "status": "failed"}, 1),
        ("orders", {"error": "nothing like it"}, 0),
        ("messages", {"status": "uncertain"}, 1),
        ("messages", {"provider": "twilio"}, 1),
        ("messages", {"direction": "in"}, 1),
        ("events", {"type": "template.changed"}, 1),
        ("events", {"source": "whapi"}, 1),
        ("events", {"source": "whapi", "type": "order.received"}, 0),
        ("events", {"worker": "contact-sync"}, 11),
        ("events", {"worker": "contact-sync", "outcome": "skipped"}, 1),
        ("events", {"worker": "contact-sync", "outcome": "open"}, 1),
        ("events", {"worker": "contact-sync", "outcome": "done"}, 9),
        ("events", {"type": "no.such"}, 0),
        ("dead letters", {"worker": "crm-labels"}, 1),
        ("dead letters", {"error_class": "Refused"}, 1),
        ("dead letters", {"state": "open"}, 1),
        ("dead letters", {"fingerprint": "rare"}, 1),
        ("refused", {"source": "meta"}, 1),
        ("refused", {"reason": "too large"}, 1),
        ("campaigns", {"status": "paused"}, 1),
        ("recipients", {"status": "failed"}, 1),
        ("templates", {"provider": "twilio"}, 1),
        ("templates", {"status": "PAUSED"}, 1),
        ("conversations", {"status": "snoozed"}, 1),
        ("conversations", {"escalated": True}, 1),
        ("conversations", {"escalated": False}, 22),
        ("replays", {"worker": "crm-labels"}, 1),
        ("audit log", {"actor": "ops"}, 1),
        ("audit log", {"action": "person.revealed"}, 1),
        ("audit log", {"subject": "person:1"}, 1),
    ],
)
async def test_a_filter_finds_what_it_names(filled: Pool, name: str, wanted: dict[str, Any], count: int) -> None:
    read, filter, _ = LISTS[name]
    assert len((await read(filled, filter(**wanted), Position())).rows) == count


@pytest.mark.parametrize("name", ["orders", "messages", "events", "refused", "audit log", "people"])
async def test_from_and_to_bound_the_time(filled: Pool, name: str) -> None:
    read, filter, _ = LISTS[name]
    now = await filled.fetchval("SELECT now()")
    times = await filled.fetch(
        "SELECT $1::timestamptz - make_interval(secs => n) AS at FROM generate_series(0, 60) n", now
    )
    found = [
        await read(filled, filter(**{"from": times[n + 1]["at"], "to": times[n]["at"]}), Position()) for n in range(60)
    ]
    whole = await read(filled, filter(), Position(limit=100))
    assert sorted(map(str, (one for page in found for one in ids(page)))) == sorted(map(str, ids(whole)))
    assert max(len(page.rows) for page in found) <= 4


async def test_a_cursor_that_was_changed_is_refused(filled: Pool) -> None:
    cursor = (await orders.page(filled, models.OrderFilter(), Position(limit=5))).next or ""
    flipped = [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor) - 1)]
    for wrong in ("", "x", "ü", cursor[:-4], cursor + "AAAA", *flipped):
        with pytest.raises(BadCursor):
            await orders.page(filled, models.OrderFilter(), Position(wrong, 5))


async def test_a_cursor_is_of_one_list_with_one_filter(filled: Pool) -> None:
    cursor = (await syncs.page(filled, models.SyncFilter(), Position(limit=5))).next
    with pytest.raises(BadCursor):
        await replays.page(filled, models.ReplayFilter(), Position(cursor, 5))
    cursor = (await orders.page(filled, models.OrderFilter(), Position(limit=5))).next
    with pytest.raises(BadCursor):
        await orders.page(filled, models.OrderFilter(branch="il"), Position(cursor, 5))
    cursor = (await events.page(filled, models.EventFilter(), Position(limit=5))).next
    with pytest.raises(BadCursor):
        await events.page(filled, models.EventFilter(source="vizi"), Position(cursor, 5))


async def test_a_cursor_of_another_installation_is_refused(filled: Pool) -> None:
    cursor = (await orders.page(filled, models.OrderFilter(), Position(limit=5))).next
    await filled.execute("DELETE FROM ferryman_meta WHERE key = $1", cursors.KEY)
    with pytest.raises(BadCursor):
        await orders.page(filled, models.OrderFilter(), Position(cursor, 5))


async def test_what_comes_meanwhile_moves_no_row_to_another_page(filled: Pool) -> None:
    first = await orders.page(filled, models.OrderFilter(), Position(limit=5))
    second = await orders.page(filled, models.OrderFilter(), Position(first.next, 5))
    await filled.execute(
        "INSERT INTO orders (order_id, ordered_at, raw_body, webhook_received_at) VALUES ('NEW', now(), '{}', now())"
    )
    assert ids(await orders.page(filled, models.OrderFilter(), Position(first.next, 5))) == ids(second)
    newest = await orders.page(filled, models.OrderFilter(), Position(second.prev, 5))
    assert ids(newest) == ids(first)
    assert ids(await orders.page(filled, models.OrderFilter(), Position(newest.prev, 5))) == ["NEW"]


async def test_a_filter_by_outcome_goes_on_where_it_stopped(filled: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = models.EventFilter(worker="contact-sync", outcome="done")
    whole = ids(await events.page(filled, wanted, Position()))
    monkeypatch.setattr("adapters.postgres.operator.event_list.WINDOW", 7)
    page = await events.page(filled, wanted, Position(limit=2))
    found = ids(page)
    for _ in range(ROWS):
        if page.next is None:
            break
        page = await events.page(filled, wanted, Position(page.next, 2))
        found += ids(page)
    assert found == whole
    assert len(found) == 9

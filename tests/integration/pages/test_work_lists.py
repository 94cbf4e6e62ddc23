"""The pages of work that waits for somebody: empty, filled, masked, with hostile text, page by page."""

from __future__ import annotations

import re
from typing import Final

import pytest

from adapters.postgres.pool import Pool
from tests.support.browsers import Office
from tests.support.list_rows import CAMPAIGN, CANARIES, fill

LISTS: Final = (
    "/dead-letters", "/letters", "/messages", "/messages/uncertain", "/orders", "/syncs", "/campaigns", "/templates",
    "/refused",
)  # fmt: skip
HOSTILE: Final = "<img src=x onerror=alert(1)></script>\u202e"
SPOILT: Final = (
    "UPDATE orders SET branch = $1, cgb_sync_error = $1, client_name = $1",
    "UPDATE messages SET status = 'uncertain', error = $1, error_code = $1, account = $1,"
    " provider_message_id = id || $1, evidence = jsonb_build_object('at', null, 'found', null, 'text', $1::text),"
    " content = jsonb_build_object('text', $1::text, 'type', $1::text)",
    "UPDATE dead_letters SET state = 'open', worker = $1, error_class = $1, error_text = $1, error_code = $1,"
    " source = $1, subject = $1, settled_by = $1, data = to_json($1::text)::text",
    "UPDATE refused_requests SET source = $1, reason = $1, path = $1, body = convert_to($1, 'UTF8'),"
    " headers = jsonb_build_object($1::text, $1::text)",
    "UPDATE campaigns SET reason = $1, provider = $1, account = $1, template = $1, language = $1, created_by = $1,"
    " name = id || $1",
    "UPDATE campaign_recipients SET error = $1, error_code = $1, status = 'failed', name = $1",
    "UPDATE templates SET status = $1, quality = $1, category = $1, name = name || $1, account = $1",
    "UPDATE sync_runs SET begun_by = $1",
)


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_without_rows_says_what_comes_here(office: Office, path: str) -> None:
    answer = await (await office.logged_in("read")).get(path)
    assert answer.status == 200
    assert "Nothing yet. " in answer.text


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_shows_rows_and_nobody(office: Office, db: Pool, path: str) -> None:
    await fill(db, 12)
    answer = await (await office.logged_in("admin")).get(path)
    assert answer.status == 200
    assert answer.text.count("<tr>") > 1
    assert [canary for canary in CANARIES if canary in answer.text] == []


@pytest.mark.parametrize("path", ["/letters", "/messages", "/orders", "/syncs", "/campaigns", "/templates", "/refused"])
async def test_a_long_list_goes_on_and_back(office: Office, db: Pool, path: str) -> None:
    await fill(db, 60)
    browser = await office.logged_in("read")
    first = await browser.get(path)
    (older,) = re.findall(r'rel="next" href="([^"]*)"', first.text)
    second = await browser.get(older)
    rows = re.compile(r"<tr><td.*?</tr>", re.DOTALL)
    assert (len(rows.findall(first.text)) >= 50, len(rows.findall(second.text)) >= 10) == (True, True)
    (newer,) = re.findall(r'rel="prev" href="([^"]*)"', second.text)
    again = await browser.get(newer)
    ages = re.compile(r">\s*[^<>]*(?: ago|now)<")  # they go on meanwhile
    assert [ages.sub("", one) for one in rows.findall(again.text)] == [
        ages.sub("", one) for one in rows.findall(first.text)
    ]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/orders?status=nonsense", 422, "status: "),
        ("/orders?from=yesterday", 422, "from"),
        ("/orders?cursor=x", 400, "begin at its first one"),
        ("/messages?status=failed", 200, "Nothing matches."),
    ],
)
async def test_a_filter_that_is_wrong_or_finds_nothing_says_so(
    office: Office, path: str, status: int, text: str
) -> None:
    answer = await (await office.logged_in("read")).get(path)
    assert (answer.status, text in answer.text) == (status, True), answer.text


async def things(db: Pool) -> list[str]:
    """The pages of one thing each."""
    letter, message = (
        await db.fetchval("SELECT min(id) FROM dead_letters"),
        await db.fetchval("SELECT id FROM messages"),
    )
    refused = await db.fetchval("SELECT min(id) FROM refused_requests")
    order, sync = await db.fetchval("SELECT order_id FROM orders"), await db.fetchval("SELECT id FROM sync_runs")
    found = [f"/letters/{letter}", f"/messages/{message}", f"/refused/{refused}", f"/orders/{order}", f"/syncs/{sync}"]
    return [*found, f"/campaigns/{CAMPAIGN}", f"/campaigns/{CAMPAIGN}/live", f"/syncs/{sync}/live"]


async def test_a_page_of_one_thing_tells_nobody_who_it_is_about(office: Office, db: Pool) -> None:
    await fill(db, 12)
    browser = await office.logged_in("admin")
    for path in await things(db):
        answer = await browser.peek(path)
        assert answer.status == 200, (path, answer.text)
        assert [canary for canary in CANARIES if canary in answer.text] == [], path


async def test_hostile_text_is_shown_as_text(office: Office, db: Pool) -> None:
    await fill(db, 5)
    for change in SPOILT:
        await db.execute(change, HOSTILE)
    browser = await office.logged_in("admin")
    shown = 0
    for path in [*LISTS, *await things(db)]:
        answer = await browser.peek(path)
        assert answer.status == 200, (path, answer.text)
        assert "<img" not in answer.text, path
        assert "\u202e" not in answer.text, path
        shown += "&lt;img" in answer.text
    assert shown >= 12


@pytest.mark.parametrize("path", ["/letters/7", "/letters/x", "/messages/x", "/orders/x", "/syncs/x", "/refused/9999"])
async def test_what_is_not_there_is_a_page_that_says_so(office: Office, path: str) -> None:
    assert (await (await office.logged_in("read")).get(path)).status == 404

"""What pages of rows are made of: the list, its selection, and the question before a verb."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.settings.model import Settings
from tests.support.browsers import Browser, Office, opened_office
from tests.support.listed_page import ROWS, TABLE, Page, row


@pytest.fixture(autouse=True)
def a_page_of_two() -> None:
    ROWS.update(pages=[Page([row(1), row(2)], next="older", prev="newer")], asked=[], done=[])


@pytest.fixture
async def office(redis: Redis, db: Pool, settings: Settings) -> AsyncIterator[Office]:
    async with opened_office(redis, db, settings, table=TABLE) as opened:
        yield opened


@pytest.fixture
async def browser(office: Office) -> Browser:
    return await office.logged_in("operate", "Noa")


async def test_a_row_is_shown_by_the_kind_of_its_columns(browser: Browser) -> None:
    html = (await browser.get("/letters")).text
    assert '<time datetime="2026-01-02T03:04:05Z" title="2026-01-02 03:04:05 UTC">' in html
    assert ">12,345<" in re.sub(r"\s+<", "<", re.sub(r">\s+", ">", html))
    for text in ("1 d 1 h", 'class="state bad">dead', "+972…42", "<pre>{&#34;n&#34;: 1}</pre>", 'href="/letters/1"'):
        assert text in html
    assert html.count("<tr>") == 3


async def test_times_are_shown_in_the_zone_that_was_chosen(browser: Browser) -> None:
    assert (await browser.post("/zone", {"zone": "Asia/Jerusalem", "back": "/letters"})).leads_to == "/letters"
    title = 'title="2026-01-02 05:04:05 Asia/Jerusalem (2026-01-02 03:04:05 UTC)"'
    assert title in (await browser.get("/letters")).text
    await browser.post("/zone", {"zone": "../../etc/passwd"})
    assert 'title="2026-01-02 03:04:05 UTC"' in (await browser.get("/letters")).text


async def test_filters_and_the_cursor_stand_in_the_address(browser: Browser) -> None:
    html = (await browser.get("/letters?worker=journal&class=a%26b&cursor=c")).text
    assert ROWS["asked"][-1] == ({"worker": "journal", "class": "a&b"}, "c")
    links = [unescape(found) for found in re.findall(r'rel="(?:next|prev)" href="([^"]*)"', html)]
    assert links == [
        "/letters?worker=journal&class=a%26b&cursor=newer",
        "/letters?worker=journal&class=a%26b&cursor=older",
    ]
    assert "<option selected>journal</option>" in html
    assert 'name="filter.class" value="a&amp;b"' in html


async def test_a_filter_that_the_list_has_not_is_refused(browser: Browser) -> None:
    assert (await browser.get("/letters?phone=1")).status == 400
    assert ROWS["asked"] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/letters", "Nothing yet. Letters that no worker could handle will stand here."),
        ("/letters?worker=journal", "Nothing matches."),
    ],
)
async def test_an_empty_list_says_why(browser: Browser, path: str, text: str) -> None:
    ROWS["pages"] = [Page()]
    answer = await browser.get(path)
    assert (answer.status, text in answer.text, "<table>" in answer.text) == (200, True, False)


async def test_a_list_that_cannot_be_read_offers_another_try(browser: Browser) -> None:
    ROWS["pages"] = [TimeoutError()]
    answer = await browser.get("/letters?worker=journal")
    assert answer.status == 503
    assert '<a href="/letters?worker=journal">Try again</a>' in answer.text


async def test_verbs_and_reveals_are_absent_for_who_may_not(office: Office, browser: Browser) -> None:
    reader = await office.logged_in("read")
    mine, theirs = (await browser.get("/letters")).text, (await reader.get("/letters")).text
    for text in ("/letters/retry", 'type="checkbox"', 'action="/reveal"'):
        assert text in mine
        assert text not in theirs
    assert "+972…42" in theirs
    assert (await reader.post("/letters/retry", {"id": "1"})).status == 403


async def test_what_is_revealed_is_offered_no_more(browser: Browser) -> None:
    answer = await browser.post("/reveal", {"subject": "contact:c1", "reason": "a call", "back": "/letters"})
    assert answer.leads_to == "/letters"
    assert 'action="/reveal"' not in (await browser.get("/letters")).text


async def test_a_verb_asks_with_the_exact_count_and_then_acts_on_what_was_shown(browser: Browser) -> None:
    asked = await browser.post("/letters/retry", {"id": ["1", "2"], "filter.worker": "journal"})
    assert asked.status == 200
    assert "retry letters: 2" in asked.text
    assert "2: &lt;erased&gt;" in asked.text
    assert ROWS["done"] == []
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', asked.text.partition("<main")[2]):
        if name not in ("back", "csrf"):
            fields.setdefault(name, []).append(unescape(value))
    assert (await browser.post("/letters/retry", fields)).leads_to == "/letters"
    ((chosen, yes),) = ROWS["done"]
    assert (list(chosen.ids), chosen.everything, chosen.filters) == (["1", "2"], False, {"worker": "journal"})
    assert (yes.count, yes.upto) == (2, 99)
    assert "2 retried." in (await browser.get("/letters")).text


async def test_all_that_match_is_more_than_what_is_shown(browser: Browser) -> None:
    assert "All 1,234 that match" in (await browser.get("/letters")).text
    asked = await browser.post("/letters/retry", {"everything": "1", "filter.class": "Timeout"})
    assert "retry letters: 1,234" in asked.text
    await browser.post("/letters/retry", {"everything": "1", "filter.class": "x", "confirmed": "1234", "upto": "99"})
    ((chosen, _),) = ROWS["done"]
    assert (chosen.everything, chosen.filters) == (True, {"class": "x"})


@pytest.mark.parametrize(("typed", "status"), [("1234", 303), ("1,234", 303), ("123", 422), ("", 422)])
async def test_a_count_that_has_to_be_typed_has_to_be_right(browser: Browser, typed: str, status: int) -> None:
    asked = await browser.post("/letters/retry", {"everything": "1", "careful": "1"})
    assert 'name="typed"' in asked.text
    fields = {"everything": "1", "careful": "1", "confirmed": "1234", "upto": "99", "typed": typed}
    assert (await browser.post("/letters/retry", fields)).status == status
    assert len(ROWS["done"]) == (status == 303)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 422),
        ({"id": [str(n) for n in range(101)]}, 400),
        ({"id": "1", "filter.phone": "1"}, 400),
        ({"id": "1", "confirmed": "x"}, 400),
    ],
)
async def test_a_selection_that_no_page_makes_is_refused(
    browser: Browser, fields: dict[str, object], status: int
) -> None:
    assert (await browser.post("/letters/retry", fields)).status == status
    assert ROWS["done"] == []

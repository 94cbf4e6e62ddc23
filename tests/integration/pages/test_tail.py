"""The tail: the newest events, moving, filtered, and honest about what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from adapters.postgres.bus import journal, workers
from adapters.postgres.bus.journal import Journaled
from daemon.operator import tail
from daemon.operator.tail import A_SECOND, KEPT, SHOWN, Tail, TailFilter
from daemon.workers import WORKERS
from schemas.envelope import Event
from tests.support.browsers import Office
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.toy import make_event

PHONE = "+972505550142"


async def journaled(office: Office, events: Iterable[Event]) -> None:
    await workers.register(office.db, [worker.entry for worker in WORKERS], [])
    async with office.db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(event, "") for event in events])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "EVERY_S", 0.0)


async def test_it_says_what_to_do_first_where_nothing_has_come(office: Office) -> None:
    html = (await (await office.logged_in("read")).get("/tail")).text
    assert "Nothing has come yet." in html
    assert "ferryman send-test orders" in html


async def test_it_shows_the_newest_first_masked_with_how_workers_end(office: Office) -> None:
    await journaled(office, [make_event(PHONE, n) for n in range(3)])
    await office.db.execute(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash, at)"
        " SELECT 'contact-sync', id, 'done', 'x', time + interval '250 ms'"
        " FROM event_journal WHERE seq = (SELECT max(seq) FROM event_journal)"
    )
    browser = await office.logged_in("read")
    html = (await browser.get("/tail")).text
    assert html.count('<tr id="tail-') == 3
    assert html.index(make_event(PHONE, 2).id) < html.index(make_event(PHONE, 0).id)
    assert PHONE not in html
    assert "+972…42" in html
    assert "done" in html
    live = (await browser.peek("/tail/live")).text
    assert live.count("tail-") == 3


async def test_a_filter_leaves_what_it_means(office: Office) -> None:
    await journaled(office, [make_event(PHONE, 1), make_event(PHONE, 2)._replace(source="orders")])
    browser = await office.logged_in("read")
    assert (await browser.get("/tail?source=orders")).text.count('<tr id="tail-') == 1
    assert (await browser.peek("/tail/live?source=orders")).text.count("tail-") == 1
    assert (await browser.get("/tail?outcome=open")).text.count('<tr id="tail-') == 2
    html = (await browser.get("/tail?outcome=dead")).text
    assert "None of the last events matches." in html


@pytest.mark.parametrize("query", ["key=%2B972505550142", "outcome=x", "type=x", "worker=x", f"source={'x' * 101}"])
async def test_a_filter_that_it_has_not_is_refused(office: Office, query: str) -> None:
    browser = await office.logged_in("read")
    for path in ("/tail", "/tail/live"):
        assert (await browser.get(f"{path}?{query}")).status == 400


async def test_with_live_off_it_stays_and_keeps_its_filters(office: Office) -> None:
    html = (await (await office.logged_in("read")).get("/tail?source=orders&live=off")).text
    assert "hx-sse:connect" not in html
    assert 'href="/tail?source=orders">Go on' in html


@pytest.mark.usefixtures("at_once")
async def test_more_than_anybody_can_read_is_sampled_and_said(office: Office) -> None:
    one = Tail(office.db)
    await journaled(office, [make_event("a", 0)])
    await one.look()
    assert one.left_out == 0
    await journaled(office, [make_event("b", n) for n in range(1000)])
    await one.look()
    assert one.left_out == 1000 - A_SECOND
    assert len(one.shown(TailFilter())) == A_SECOND + 1
    assert one.shown(TailFilter())[0]["id"] == make_event("b", 999).id
    await one.look()
    assert one.left_out == 0, "what was left out does not come again"
    assert len(one.shown(TailFilter())) == A_SECOND + 1


@pytest.mark.usefixtures("at_once")
async def test_each_event_comes_once_and_no_more_than_so_many_are_kept(office: Office) -> None:
    one = Tail(office.db)
    await one.look()
    for n in range(14):
        await journaled(office, [make_event(f"k{n}", m) for m in range(40)])
        await one.look()
        assert one.left_out == 0
    assert len(one._rows) == KEPT
    ids = [row["id"] for row in one.shown(TailFilter())]
    assert len(ids) == len(set(ids)) == SHOWN


@pytest.mark.usefixtures("at_once")
async def test_a_number_that_becomes_visible_late_is_shown(office: Office) -> None:
    one = Tail(office.db)
    await journaled(office, [make_event("a", 0)])
    late = office.db.acquire()
    async with late as conn, conn.transaction():
        await journal.append(conn, [Journaled(make_event("late", 0), "")])
        await journaled(office, [make_event("b", 0)])
        await one.look()
        assert len(one.shown(TailFilter())) == 2
    await one.look()
    assert len(one.shown(TailFilter())) == 3


async def test_all_who_look_share_one_reading(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await journaled(office, [make_event("a", 0)])
    browser = await office.logged_in("read")
    await browser.get("/tail")
    await journaled(office, [make_event("b", 0)])
    assert (await browser.get("/tail?source=test")).text.count('<tr id="tail-') == 1, "not read again within a second"


async def test_what_others_wrote_is_shown_as_text(office: Office) -> None:
    await journaled(office, [make_event("order:" + HOSTILE, 1)._replace(source=HOSTILE)])
    browser = await office.logged_in("read")
    assert_harmless((await browser.get("/tail")).text)
    assert_harmless((await browser.peek("/tail/live")).text)

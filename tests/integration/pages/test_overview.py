"""The overview: one sentence, what needs a person, and what may be paused."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from adapters.postgres.bus import flow, members, pauses, workers
from adapters.postgres.bus.flow import Flow, Lag
from daemon.telemetry.report import ProviderReport, Report
from daemon.workers import WORKERS
from tests.support.browsers import Office
from tests.support.conversations import insert
from tests.support.hostile import HOSTILE, assert_harmless

SYNC = "contact-sync"


async def tell(office: Office, **report: object) -> None:
    """A process runs the sync."""
    given = Report(host="h", workers=tuple(worker.name for worker in WORKERS), **report)  # type: ignore[arg-type]
    await members.tell(office.db, "a", orjson.dumps(given.document()).decode())
    await workers.register(office.db, [worker.entry for worker in WORKERS], [])


async def buried(office: Office, text: str = "no") -> None:
    await insert(
        office.db,
        "dead_letters",
        worker=SYNC,
        event_id="e1",
        type="order.received",
        source="orders",
        subject="+972505550142",
        time=await office.db.fetchval("SELECT now()"),
        data="{}",
        traceparent="",
        causationid="",
        schemaversion=1,
        error_class="Refused",
        error_text=text,
        attempts=1,
    )


async def test_an_installation_that_has_seen_nothing_says_what_to_do_first(office: Office) -> None:
    html = (await (await office.logged_in("read")).get("/")).text
    for text in ("ferryman doctor", "<code>ferryman run</code>", "No process tells of a provider"):
        assert text in html


async def test_it_shows_flow_workers_providers_and_stores(office: Office) -> None:
    await tell(office, providers={"cgb": ProviderReport(state="closed")})
    now = await office.db.fetchval("SELECT date_trunc('minute', now())")
    counts = {
        Flow(now - timedelta(minutes=5), "in", "orders", "accepted"): 1200,
        Flow(now - timedelta(minutes=4), "out", SYNC, "done"): 7,
    }
    await flow.add(office.db, counts)
    await flow.put(office.db, [Lag(SYNC, 12, 3, 90_061.0)])
    html = (await (await office.logged_in("read")).get("/")).text
    for text in (
        "in from orders",
        "1,200 accepted",
        "done by contact-sync",
        "<polyline points=",
        "1 d 1 h",
        "cgb",
        "Loss window",
        "Redis",
        "/overview/live",
    ):
        assert text in html, text
    assert "style=" not in html


async def test_with_live_off_it_stays_as_it_is(office: Office) -> None:
    html = (await (await office.logged_in("read")).get("/?live=off")).text
    assert "hx-sse:connect" not in html
    assert '<a class="pause" href="/">Go on</a>' in html


async def test_what_needs_a_person_is_counted_and_leads_there(office: Office) -> None:
    await tell(office)
    await buried(office)
    html = (await (await office.logged_in("read")).get("/")).text
    assert "things need somebody." in html or "1 thing needs somebody." in html
    assert 'href="/dead-letters' in html
    assert "dead letters of contact-sync (Refused: no), of 1 persons" in html


async def test_a_worker_is_paused_for_a_reason_and_resumed(office: Office) -> None:
    await tell(office)
    browser = await office.logged_in("operate", "Noa")
    answer = await browser.post("/pause", {"name": SYNC, "reason": "CGB moves"})
    assert (answer.status, answer.leads_to) == (303, "/")
    html = (await browser.get("/")).text
    for text in ("contact-sync is paused.", "is paused by Noa", "CGB moves", "Resume contact-sync"):
        assert text in html, text
    assert list(await pauses.listed(office.db)) == [SYNC]
    await browser.post("/resume", {"name": SYNC})
    assert await pauses.listed(office.db) == {}
    rows = await office.db.fetch("SELECT action, subject FROM audit_log WHERE actor = 'Noa' AND subject LIKE 'part:%'")
    assert [(row["action"], row["subject"]) for row in rows] == [
        ("operator.paused", f"part:{SYNC}"),
        ("operator.resumed", f"part:{SYNC}"),
    ]


@pytest.mark.parametrize("fields", [{"name": SYNC, "reason": " "}, {"name": "nothing", "reason": "a call"}])
async def test_nothing_is_paused_without_a_reason_or_a_name(office: Office, fields: dict[str, str]) -> None:
    browser = await office.logged_in("operate")
    assert (await browser.post("/pause", fields)).status == 422
    assert await pauses.listed(office.db) == {}


async def test_who_may_only_read_is_offered_no_pause(office: Office) -> None:
    await tell(office)
    html = (await (await office.logged_in("read")).get("/")).text
    assert 'action="/pause"' not in html


async def test_what_others_wrote_is_shown_as_text(office: Office) -> None:
    await tell(office, providers={"cgb": ProviderReport(state="refused", error=HOSTILE)})
    await buried(office, HOSTILE)
    await flow.add(office.db, {Flow(await office.db.fetchval("SELECT now()"), "in", HOSTILE, "accepted"): 1})
    await pauses.pause(office.db, SYNC, HOSTILE, HOSTILE)
    browser = await office.logged_in("operate")
    assert_harmless((await browser.get("/")).text, times=4)
    assert_harmless((await browser.peek("/overview/live")).text, times=3)

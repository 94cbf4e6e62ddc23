"""Pages of what runs: the bus, replays, providers, settings, the audit log, conversations."""

from __future__ import annotations

import re
from html import unescape

import orjson
import pytest

from adapters.postgres.bus import epochs, members
from adapters.redis.lease_table import LeaseTable
from daemon.telemetry.report import ProviderReport, Report
from tests.support.browsers import Office
from tests.support.list_rows import CANARIES, fill
from tests.support.until import until

HOSTILE = "<script>alert(1)</script>"


async def runs(office: Office) -> str:
    """A process that owns partition 3 of contact-sync; its id."""
    me = "a1b2c3d4" * 4
    report = Report(
        host=HOSTILE,
        version="9.9.9",
        workers=("contact-sync",),
        rss_bytes=123_456_789,
        loop_late_s=0.042,
        providers={"whapi": ProviderReport(state="refused", error=HOSTILE, waiting=4)},
    )
    await members.tell(office.db, me, orjson.dumps(report.document()).decode())
    table = LeaseTable(office.rig.redis, me, ["contact-sync"], 60.0)
    await table.tick([], [])
    await table.acquire([("contact-sync", 3)])
    for _ in range(7):
        await epochs.take(office.db, "contact-sync", [3], me)
    return me


async def test_the_bus_says_who_owns_what_and_how_each_process_is(office: Office) -> None:
    browser = await office.logged_in("read")
    assert "No process runs." in (await browser.get("/bus")).text
    me = await runs(office)
    html = (await browser.get("/bus")).text
    flat = re.sub(r">\s+|\s+<", lambda found: found[0].strip(), html)
    for text in ("123 MB", "42 ms", "9.9.9", HOSTILE):
        assert text in unescape(html)
    assert HOSTILE not in html
    owner = f'<td data-label="Partition">3</td><td data-label="Owner"><code>{me[:8]}</code></td>'
    assert owner + '<td data-label="Epoch" class="number">7</td>' in flat
    part = await browser.peek("/bus/live")
    assert me[:8] in part.text
    assert "hx-sse:connect" not in (await browser.get("/bus?live=off")).text


async def test_a_replay_is_planned_confirmed_and_followed_to_its_end(office: Office) -> None:
    await fill(office.db, 3)
    await office.db.execute("DELETE FROM replays")
    browser = await office.logged_in("operate", "Noa")
    assert "plan one below" in (await browser.get("/replays")).text
    fields = {"worker": "contact-sync", "types": "order.received"}
    asked = await browser.post("/replays", fields)
    count = await office.db.fetchval("SELECT count(*) FROM event_journal WHERE type = 'order.received'")
    upto = re.search(r'name="upto" value="(\d+)"', asked.text)
    assert ("<strong>deliver to contact-sync once more" in asked.text, upto is not None) == (True, True)
    assert await office.db.fetchval("SELECT count(*) FROM replays") == 0
    yes = fields | {"confirmed": str(count), "upto": upto[1] if upto else "", "typed": str(count)}
    begun = await browser.post("/replays", yes)
    assert begun.leads_to.startswith("/replays/contact-sync:")

    async def ended() -> bool:
        return bool(await office.db.fetchval("SELECT finished_at FROM replays"))

    await until(ended, "the end of the replay")
    assert f"{count} of {count} events are on their way" in (await browser.get(begun.leads_to)).text
    assert begun.leads_to.replace(":", "%3A") in (await browser.get("/replays?worker=contact-sync")).text
    assert await office.db.fetchval("SELECT actor FROM audit_log WHERE action = 'replay.begun'") == "Noa"
    assert f"{count} of {count}" in (await browser.peek(f"{begun.leads_to}/live")).text


@pytest.mark.parametrize(
    "fields",
    [
        {"worker": "nobody"},
        {"worker": "contact-sync", "from": "yesterday"},
        {"worker": "contact-sync", "types": "template.changed"},
        {"worker": "contact-sync", "event": "none"},
    ],
)
async def test_a_replay_of_nothing_is_refused(office: Office, fields: dict[str, str]) -> None:
    browser = await office.logged_in("operate")
    assert (await browser.post("/replays", fields)).status == 422
    assert await office.db.fetchval("SELECT count(*) FROM replays") == 0


async def test_who_may_only_look_is_offered_no_replay(office: Office) -> None:
    reader = await office.logged_in("read")
    assert "Plan one" not in (await reader.get("/replays")).text
    assert (await reader.get("/replays/none")).status == 404


async def test_providers_say_what_they_lack_and_why_they_are_stopped(office: Office) -> None:
    browser = await office.logged_in("operate")
    empty = (await browser.get("/providers")).text
    assert "No process runs" in empty
    assert "TWILIO_ACCOUNT_SID" in empty
    await runs(office)
    html = (await browser.get("/providers")).text
    assert (HOSTILE in html, HOSTILE in unescape(html), "No process runs" in html) == (False, True, False)
    assert "no account that could be looked at" in (await browser.post("/providers/probe")).text


async def test_settings_are_shown_without_their_secrets(office: Office) -> None:
    browser = await office.logged_in("read")
    html = (await browser.get("/settings")).text
    assert ("FERRYMAN_ADMIN_TOKEN" in html, "t" * 20 in html, "***" in html) == (True, False, True)
    assert (await browser.get("/settings?given=1")).text.count("<tr>") < html.count("<tr>")


@pytest.mark.parametrize(
    ("path", "query"),
    [("/audit-log", "actor=ops"), ("/conversations", "escalated=true"), ("/replays", "worker=crm-labels")],
)
async def test_a_list_is_masked_filtered_and_says_what_is_wrong(office: Office, path: str, query: str) -> None:
    await fill(office.db, 9)
    browser = await office.logged_in("read")
    html = (await browser.get(path)).text
    assert [canary for canary in CANARIES if canary in html] == []
    assert html.count("<tr>") > (await browser.get(f"{path}?{query}")).text.count("<tr>") == 2
    assert (await browser.get(f"{path}?cursor=x")).status == 400
    assert (await browser.get(f"{path}?x=y")).status == 400


async def test_a_filter_that_is_no_value_is_told(office: Office) -> None:
    browser = await office.logged_in("read")
    answer = await browser.get("/audit-log?from=yesterday")
    assert (answer.status, "no value of the filter from" in answer.text) == (422, True)
    assert "Nothing yet. A conversation is here once" in (await browser.get("/conversations")).text


async def test_a_conversation_is_shown_masked_and_to_who_reveals_it(office: Office) -> None:
    await fill(office.db, 1)
    await office.db.execute("UPDATE conversations SET name = $1", HOSTILE)
    id = await office.db.fetchval("SELECT id FROM conversations")
    browser = await office.logged_in("operate", "Noa")
    masked = (await browser.get(f"/conversations/c{id}")).text
    assert ([canary for canary in CANARIES if canary in masked], "alert(1)" in masked) == ([], False)
    await browser.post("/reveal", {"subject": f"conversation:{id}", "reason": "a call"})
    shown = (await browser.get("/conversations/chatwoot:3:1")).text
    assert (HOSTILE in shown, HOSTILE in unescape(shown), "5055501" in shown) == (False, True, True)
    assert await office.db.fetchval("SELECT actor FROM audit_log WHERE action = 'conversation.revealed'") == "Noa"
    for name in ("c999", "+972505550101", "nobody"):
        assert (await browser.get(f"/conversations/{name}")).status == 404


async def test_pages_lead_to_the_reference_of_the_api(office: Office) -> None:
    assert 'href="/api/v1/docs"' in (await (await office.logged_in("read")).get("/account")).text

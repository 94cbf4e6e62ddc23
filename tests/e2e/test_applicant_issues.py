"""Reports about applicants through real processes: from the webhook to the row and to what is passed on."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
from pathlib import Path
from typing import Any

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.reports import make_report
from daemon.sandbox.vizi import Vizi
from tests.support.daemons import API_KEY, Running, ended, environment, ferryman, running
from tests.support.until import until

SECRET = "whsec_" + "YW4gaW52ZW50ZWQgc2lnbmluZyBzZWNyZXQgMQ=="


def an_order(id: str, *applicants: str, **overrides: Any) -> dict[str, Any]:
    """An order of these applicants, whose buyer may get messages."""
    phone = {"code": "972", "number": "505550001"}
    told = {"branch": "il", "phone": phone, "alerts": True, "country": "uk"} | overrides
    body = orders.make_order(random.Random(id), 1, order_id=id, quantity=len(applicants), **told)
    for applicant, name in zip(body["form"]["applicants"], applicants, strict=True):
        applicant["id"] = name
    return body


def vizi(here: Running) -> Vizi:
    return Vizi(here.session, here.url, secret=SECRET, api_key=API_KEY)


async def ends(db: Pool, event_id: str, worker: str = "applicant-issues") -> tuple[str, str | None]:
    """How *worker* has ended with the event, once it has."""
    found: list[tuple[str, str | None]] = []

    async def ended() -> bool:
        rows = await db.fetch("SELECT outcome, reason FROM inbox WHERE worker = $1 AND event_id = $2", worker, event_id)
        found[:] = [(row["outcome"], row["reason"]) for row in rows]
        return bool(found)

    await until(ended, "the end of the report")
    (one,) = found
    return one


async def row_of(db: Pool, applicant: str) -> dict[str, Any]:
    found = await db.fetchrow("SELECT * FROM applicant_issues WHERE applicant_id = $1", applicant)
    return {} if found is None else dict(found)


async def told(db: Pool, count: int) -> list[dict[str, Any]]:
    """What was passed on, once the journal has *count* of it."""
    rows: list[Any] = []

    async def journaled() -> bool:
        rows[:] = await db.fetch(
            "SELECT id, subject, data, causationid FROM event_journal WHERE type = 'applicant_issue.reported'"
        )
        return len(rows) >= count

    await until(journaled, f"{count} events passed on")
    assert len(rows) == count
    return [dict(row) for row in rows]


async def balanced(settings: dict[str, Any], cwd: Path) -> None:
    """Wait until no event is open and the accounts balance."""

    async def none_open() -> bool:
        code, out, _ = await ferryman("audit", "--json", cwd=cwd, env=environment(**settings))
        return code == 0 and all(worker["open"] == 0 for worker in json.loads(out)["workers"].values())

    await until(none_open, "the end of every event")


async def test_an_issue_of_the_second_applicant_finds_its_order_and_is_passed_on(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    settings |= {"ORDERS_WEBHOOK_SECRET": SECRET}
    async with running(tmp_path, **settings) as here:
        sender = vizi(here)
        assert (await sender.post(an_order("IL1", "apl_1", "apl_2"))).status == 202
        await ended(db, 1)
        report = make_report("apl_2", {"face_photo": ["blurred_photo"], "of_a_new_kind": ["new_code"]})
        answers = [await sender.report(report, "signature"), await sender.report(report, "key")]
        assert [answer.status for answer in answers] == [202, 202]
        (event_id,) = {id for answer in answers for id in answer.event_ids}
        assert await ends(db, event_id) == ("done", None)
        found = await row_of(db, "apl_2")
        assert (found["status"], found["order_id"], found["event_id"]) == ("reported", "IL1", event_id)
        (event,) = await told(db, 1)
        assert (event["subject"], event["causationid"]) == ("+972505550001", event_id)
        data = json.loads(event["data"])
        assert (data["order_id"], data["applicant_id"], data["branch"]) == ("IL1", "apl_2", "il")
        assert [(one["category"], one["code"]) for one in data["issues"]] == [
            ("face_photo", "blurred_photo"),
            ("of_a_new_kind", "new_code"),
        ]
        assert data["contact_id"] == str(found["contact_id"])
        code, out, err = await ferryman("orders", "show", "IL1", cwd=tmp_path, env=environment(**settings))
        assert code == 0, err
        assert "apl_2  reported" in out
        assert "face_photo: blurred_photo; of_a_new_kind: new_code" in out
        await balanced(settings, tmp_path)
        assert not [line for line in here.lines if "apl_2" in line or "505550001" in line]


async def test_reports_that_no_message_follows_end_with_their_reason(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    settings |= {"FERRYMAN_MESSAGE_BRANCHES": "il", "FERRYMAN_ISSUE_WAIT_SECONDS": 1}
    async with running(tmp_path, **settings) as here:
        for order in (
            an_order("IL1", "apl_phone", phone=None),
            an_order("SE1", "apl_branch", branch="se"),
            an_order("IL2", "apl_consent", alerts=None),
            an_order("IL3", "apl_fine"),
        ):
            await here.post(order)
        await ended(db, 4)
        sender = vizi(here)
        for applicant, reason in (
            ("apl_phone", "no phone"),
            ("apl_branch", "other branch"),
            ("apl_consent", "no consent"),
            ("apl_unknown", "unknown applicant"),
        ):
            (event_id,) = (await sender.report(make_report(applicant), "key")).event_ids
            assert await ends(db, event_id) == ("skipped", reason)
            found = await row_of(db, applicant)
            assert (found["status"], found["reason"]) == ("skipped", reason)
        (event_id,) = (await sender.report(make_report("apl_fine", {}), "key")).event_ids
        assert await ends(db, event_id) == ("skipped", "no issues")
        (event_id,) = (await sender.report({"applicantId": "apl_fine", "issues": "many"}, "key")).event_ids
        assert await ends(db, event_id) == ("dead", "Malformed")
        await balanced(settings, tmp_path)
        assert await told(db, 0) == []


async def test_a_report_before_its_order_waits_for_it_also_over_a_kill(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    async with running(tmp_path, **settings) as here:
        (event_id,) = (await vizi(here).report(make_report("apl_2"), "key")).event_ids

        async def waits() -> bool:
            return (await row_of(db, "apl_2")).get("status") == "waiting"

        await until(waits, "a report that waits")
        await here.stop(signal.SIGKILL)
    async with running(tmp_path, **settings) as here:
        await here.post(an_order("IL1", "apl_1", "apl_2"))
        assert await ends(db, event_id) == ("done", None)
        assert (await row_of(db, "apl_2"))["order_id"] == "IL1"
        await told(db, 1)
        await balanced(settings, tmp_path)


async def looked_again(settings: dict[str, Any], cwd: Path, *options: str) -> int:
    """Runs `ferryman reconcile`; how many reports it says that it sends again."""
    code, out, err = await ferryman("reconcile", *options, cwd=cwd, env=environment(**settings))
    assert code == 0 or "another process reconciles" in err, err  # the orders, which come after the reports
    found = re.search(r"^(\d+) reports ", out, flags=re.M)
    assert found is not None, out
    return int(found[1])


async def in_vain(here: Running, db: Pool) -> str:
    """A report that has waited in vain, and then its order; the id of the report's event."""
    (event_id,) = (await vizi(here).report(make_report("apl_2"), "key")).event_ids
    assert await ends(db, event_id) == ("skipped", "unknown applicant")
    await here.post(an_order("IL1", "apl_1", "apl_2"))
    await ended(db, 1)
    return event_id


async def test_an_order_that_comes_after_the_wait_is_found_by_reconcile_and_its_report_is_passed_on_once(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    settings |= {"FERRYMAN_ISSUE_WAIT_SECONDS": 1}
    async with running(tmp_path, **settings) as here:
        event_id = await in_vain(here, db)
        code, out, _ = await ferryman("orders", "show", "IL1", cwd=tmp_path, env=environment(**settings))
        assert code == 0
        assert "apl_2  skipped (unknown applicant)" in out
        assert await looked_again(settings, tmp_path, "--dry-run") == 1
        at_once = await asyncio.gather(*(looked_again(settings, tmp_path) for _ in range(2)))
        assert sum(at_once) == 1
        (event,) = await told(db, 1)
        assert event["causationid"] == event_id
        assert (await row_of(db, "apl_2"))["status"] == "reported"
        assert await looked_again(settings, tmp_path) == 0
        replay = ("replay", "--worker", "applicant-issues", "--event", event_id, "--yes")
        code, _, err = await ferryman(*replay, cwd=tmp_path, env=environment(**settings))
        assert code == 0, err
        await balanced(settings, tmp_path)
        await told(db, 1)


async def test_the_daemon_finds_such_an_order_by_itself(tmp_path: Path, settings: dict[str, Any], db: Pool) -> None:
    settings |= {"FERRYMAN_ISSUE_WAIT_SECONDS": 1}
    async with running(tmp_path, **settings) as here:
        await in_vain(here, db)
    async with running(tmp_path, **settings) as here:
        await told(db, 1)
        text = await (await here.session.get(f"{here.url}/metrics")).text()
        assert "ferryman_reports_reconciled_total 1" in text
        await balanced(settings, tmp_path)
        assert not [line for line in here.lines if "apl_2" in line]


async def test_a_forged_report_is_refused_with_a_row(tmp_path: Path, settings: dict[str, Any], db: Pool) -> None:
    settings |= {"ORDERS_WEBHOOK_SECRET": SECRET}
    async with running(tmp_path, **settings) as here:
        for proof in ("forged", "none"):
            assert (await vizi(here).report(make_report("apl_2"), proof)).status == 401
        body = json.dumps({"issues": {}}).encode()
        headers = {"X-API-Key": API_KEY}
        async with here.session.post(f"{here.url}/webhooks/issues", data=body, headers=headers) as answer:
            assert answer.status == 400

        async def noted() -> bool:
            return int(await db.fetchval("SELECT count(*) FROM refused_requests")) == 3

        await until(noted, "three rows of refused requests")
        rows = await db.fetch("SELECT source, reason, status FROM refused_requests ORDER BY reason")
        assert [tuple(row) for row in rows] == [
            ("issues", "missing", 401),
            ("issues", "no_identity", 400),
            ("issues", "signature", 401),
        ]
        assert await db.fetchval("SELECT count(*) FROM applicant_issues") == 0

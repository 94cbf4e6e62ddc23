"""Automatic messages through real processes: from the webhook to what the provider has sent, and by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.rules.folder import init
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.sandbox.reports import make_report
from daemon.sandbox.vizi import Vizi
from daemon.workers import rule_files
from tests.support.automatic import body
from tests.support.daemons import API_KEY, environment, ferryman, running
from tests.support.reports import E164
from tests.support.until import until

SECRET: Final = "whsec_" + "YW4gaW52ZW50ZWQgc2lnbmluZyBzZWNyZXQgMQ=="
RULES: Final = """
[[rules]]
name = "confirmation"
enabled = true
when = { event = "order.received", within = "2d" }
where = { "order.status" = "active" }
[rules.then]
kind = "order_confirmation"
once = "order"
templates = { he = { name = "order_confirmation" } }
variables = ["{order.id}"]

[[rules]]
name = "approval"
enabled = true
when = { event = "order.received" }
where = { "applicant.data.visa.url" = { present = true } }
[rules.then]
kind = "visa_approval"
once = "applicant"
templates = { he = { name = "visa_approval" } }
variables = ["{applicant.name}"]
document = "{applicant.data.visa.url}"

[[rules]]
name = "issues"
enabled = true
when = { event = "applicant_issue.reported" }
[rules.then]
kind = "applicant_issues"
once = "report"
templates = { he = { name = "fix" } }
variables = ["{issues.list}"]

[[rules]]
name = "reminder"
enabled = true
when = { event = "order.received" }
where = { "data.form.appointment" = { present = true } }
[rules.then]
kind = "reminder"
once = "order"
before = "24h"
of = "data.form.appointment"
templates = { he = { name = "reminder" } }
variables = ["{time}"]
"""


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox(app_secret="meta-app-secret-0123456789") as sandbox:
        yield sandbox


@pytest.fixture
def sending(settings: dict[str, Any], meta: MetaSandbox, tmp_path: Path) -> dict[str, Any]:
    """Settings of a process that sends by `meta` what RULES ask for."""
    folder = tmp_path / "rules"
    list(init(folder, rule_files()))  # as an operator makes it: with the rules of all domains
    (folder / "messages.toml").write_text(RULES)
    return settings | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "META_ACCESS_TOKEN": meta.token,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
        "FERRYMAN_RULES_DIR": folder,
        "FERRYMAN_LEASE_SECONDS": 2,
        "ORDERS_WEBHOOK_SECRET": SECRET,
    }


def now() -> datetime:
    return datetime.now(UTC)


def visa(n: int) -> dict[str, Any]:
    passport = {"firstName": f"N{n}", "lastName": "EXAMPLE"}
    return {"id": f"apl_{n}", "passport": passport, "visa": {"url": f"https://example.com/{n}.pdf"}}


async def kinds(db: Pool) -> list[tuple[str, str]]:
    query = (
        "SELECT a.kind, m.status FROM automatic_messages a JOIN messages m ON m.id = a.message_id ORDER BY 1, a.subject"
    )
    rows = await db.fetch(query)
    return [(row["kind"], row["status"]) for row in rows]


async def test_an_order_brings_its_messages_about_once_until_it_is_canceled(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    soon = (now() + timedelta(days=3)).isoformat()
    async with running(tmp_path, **sending) as here:
        vizi = Vizi(here.session, here.url, secret=SECRET, api_key=API_KEY)
        placed = body(changed=now(), applicants=("apl_1", "apl_2", "apl_3"), form={"appointment": soon})
        for _ in range(2):
            assert (await vizi.post(placed)).status == 202
        await until(lambda: len(meta.sent) == 1, "the confirmation")
        granted = body(changed=now(), applicants=[visa(n) for n in range(1, 4)], form={"appointment": soon})
        assert (await vizi.post(granted)).status == 202
        await until(lambda: len(meta.sent) == 4, "an approval for each of three")
        assert (await vizi.report(make_report("apl_2", {"face_photo": ["blurred_photo", "dark"]}), "key")).status == 202
        await until(lambda: len(meta.sent) == 5, "the report")
        assert (await kinds(db))[-2:] == [("visa_approval", "sent")] * 2
        assert ("reminder", "queued") in await kinds(db)
        canceled = body(status="canceled", changed=now(), form={"appointment": soon})
        assert (await vizi.post(canceled)).status == 202

        async def withdrawn() -> bool:
            return ("reminder", "canceled") in await kinds(db)

        await until(withdrawn, "the reminder, withdrawn")
        code, out, _ = await ferryman("audit", "--json", cwd=tmp_path, env=environment(**sending))
        assert (code, json.loads(out)["balanced"]) == (0, True)
        code, out, _ = await ferryman("send", "automatic", "IL1", "--dry-run", cwd=tmp_path, env=environment(**sending))
        assert (code, out) == (0, "nothing is sent for the order IL1: canceled\n")
        assert not [line for line in here.lines if "505550001" in line or "example.com" in line]
    assert max(meta.sends().values()) == 1
    assert len(meta.sends()) == 5


async def test_what_an_order_lacks_is_shown_and_asked_for_by_hand(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    off = sending | {"FERRYMAN_RULES_DIR": tmp_path}
    env = environment(**sending)
    argv = ["send", "automatic", "IL1"]
    async with running(tmp_path, **off) as here:
        assert any("no rule of messages.toml is enabled" in line for line in here.lines)
        vizi = Vizi(here.session, here.url, secret=SECRET, api_key=API_KEY)
        assert (await vizi.post(body(changed=now() - timedelta(days=9)))).status == 202
        await until(lambda: db.fetchval("SELECT count(*) FROM orders"), "the order")
        code, out, err = await ferryman(*argv, "--dry-run", cwd=tmp_path, env=env)
        assert (code, err) == (0, "")
        assert f"confirmation: to {E164} by meta\n  template order_confirmation, he\n  1 = IL1\n" in out
        assert "approval of apl_1: nothing, does not match (applicant.data.visa.url)" in out
        code, out, err = await ferryman(*argv, cwd=tmp_path, env=env)
        assert (code, "--yes" in err) == (1, True)
        assert await kinds(db) == []
        code, out, _ = await ferryman(*argv, "--yes", "--json", cwd=tmp_path, env=env)
        (message,) = (rule["message"] for rule in json.loads(out)["rules"] if rule["message"])
        assert (code, message["status"], message["template"]["name"]) == (0, "queued", "order_confirmation")
        await until(lambda: len(meta.sent) == 1, "the message by hand")
        code, out, _ = await ferryman(*argv, "--yes", cwd=tmp_path, env=env)
        assert (code, "asked for" in out, "is sent" in out) == (0, False, True)
    assert meta.sends() == {message["id"]: 1}
    logged = await db.fetchrow("SELECT subject, detail FROM audit_log WHERE action = 'automatic.asked'")
    assert logged is not None
    assert (logged["subject"], message["id"] in logged["detail"]) == ("order:IL1", True)

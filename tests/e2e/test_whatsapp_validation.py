"""Whether a number is on WhatsApp, asked and learned by the real process."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres import whatsapp_checks
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.cgb_flows import CgbFlows
from daemon.sandbox.whapi import WhapiSandbox
from schemas.envelope import Event, event_id
from tests.support.daemons import Running, digits_of, environment, ferryman, running, some_orders
from tests.support.until import until

FLOW_SECRET: Final = "whisper-0d41-0d41"


@pytest.fixture
async def gateway() -> AsyncIterator[CgbSandbox]:
    """A CGB in documented style, without a rate limit of its own."""
    async with CgbSandbox("documented") as sandbox:
        sandbox.switches.limit = None
        yield sandbox


@pytest.fixture
def documented(settings: dict[str, Any], gateway: CgbSandbox) -> dict[str, Any]:
    return settings | {"CGB_API_URL": gateway.url, "CGB_API_STYLE": "documented"}


async def _stand(db: Pool, order: dict[str, Any], status: str, has_whatsapp: bool | None) -> bool:
    row = await db.fetchrow(
        "SELECT cgb_sync_status, cgb_has_whatsapp FROM orders WHERE order_id = $1", order["order"]["id"]
    )
    return row is not None and tuple(row) == (status, has_whatsapp)


async def stands(db: Pool, order: dict[str, Any], status: str, has_whatsapp: bool | None) -> None:
    """Wait until the row of *order* says so."""
    await until(partial(_stand, db, order, status, has_whatsapp), f"an order that is {status}")


async def validated(db: Pool, count: int) -> None:
    """Wait until the worker has ended with *count* events."""

    async def all_ended() -> bool:
        done = await db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'whatsapp-validation'")
        return int(done) >= count

    await until(all_ended, f"the end of {count} validations")


async def counted(here: Running) -> dict[str, float]:
    """The counters of the answers."""
    async with here.session.get(f"{here.health_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    found = [line.split() for line in lines if line.startswith("cgb_whatsapp_")]
    return {name.partition("{")[0]: float(value) for name, value in found}


async def told(db: Pool, type: str, order: dict[str, Any], **data: Any) -> None:
    """Let a running daemon publish an event about the number of *order*, as a source will."""
    phone, now = f"+{digits_of(order)}", datetime.now(UTC)
    body = json.dumps({"phone": phone, "at": now.isoformat()} | data).encode()
    id = event_id("test", type, phone, now.isoformat())
    async with db.acquire() as conn, conn.transaction():
        await outbox.emit(conn, [Event(id=id, type=type, source="test", subject=phone, time=now, data=body)])


async def test_an_order_whose_number_is_not_on_whatsapp_ends_so_and_a_message_turns_it(
    tmp_path: Path, documented: dict[str, Any], gateway: CgbSandbox, db: Pool
) -> None:
    first, second = some_orders(2)
    gateway.switches.no_whatsapp = [digits_of(second)]
    async with running(tmp_path, **documented) as here:
        await here.post(first)
        await here.post(second)
        await stands(db, first, "synced", True)
        await stands(db, second, "no_whatsapp", False)
        assert await counted(here) == {"cgb_whatsapp_available": 1, "cgb_whatsapp_unavailable": 1}
        code, out, _ = await ferryman(
            "validate", "--json", f"+{digits_of(second)}", cwd=tmp_path, env=environment(**documented)
        )
        (found,) = json.loads(out)
        assert (code, found["has_whatsapp"], found["source"]) == (0, False, "cgb")

        again = some_orders(2, seed=7)[1]
        again["order"]["id"] += "7"
        await here.post(again)
        await stands(db, again, "no_whatsapp", False)
        await validated(db, 3)
        assert len(gateway.ledger.of("validate", digits_of(second))) == 1, "what is known makes no call"

        await told(db, "message.received", second)
        for order in (second, again):
            await stands(db, order, "synced", True)
        await told(db, "delivery.updated", first, status="failed", error_code=131026)
        await stands(db, first, "no_whatsapp", False)
        assert await counted(here) == {"cgb_whatsapp_available": 2, "cgb_whatsapp_unavailable": 2}
        facts = await db.fetch("SELECT data FROM event_journal WHERE type = 'contact.validated'")
        assert len({json.loads(row["data"])["phone"] for row in facts}) == 2
        assert await here.stop() == 0
    text = "\n".join(here.lines)
    assert not any(digits_of(order) in text for order in (first, second))


async def test_a_kill_between_the_answer_and_its_commit_asks_once_more_and_ends_right(
    tmp_path: Path, documented: dict[str, Any], gateway: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    gateway.switches.no_whatsapp = [digits_of(order)]
    async with running(tmp_path, **documented) as here, db.acquire() as conn, conn.transaction():
        await whatsapp_checks.hold(conn)  # no new answer is committed meanwhile
        await here.post(order)

        async def at_the_commit() -> bool:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'"
            )
            return bool(await db.fetchval(waiting)) and bool(gateway.ledger.of("validate"))

        await until(at_the_commit, "an answer that is about to be committed")
        await here.stop(signal.SIGKILL)
    async with running(tmp_path, **documented) as here:
        await stands(db, order, "no_whatsapp", False)
        await validated(db, 1)
    assert len(gateway.ledger.of("validate")) == 2
    assert len(gateway.ledger.contacts_made()) == 1


async def test_with_cgb_s_question_away_the_contact_is_synced_and_whapi_is_asked(
    tmp_path: Path, documented: dict[str, Any], gateway: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    gateway.faults.add("html", path="/whatsapp/validate")
    async with WhapiSandbox() as whapi:
        whapi.switches.no_whatsapp = [digits_of(order)]
        both = documented | {"WHAPI_API_URL": whapi.url, "WHAPI_TOKEN": whapi.token}
        async with running(tmp_path, **both) as here:
            await here.post(order)
            await stands(db, order, "no_whatsapp", False)
        assert whapi.asked == [[digits_of(order)]]
    assert await db.fetchval("SELECT source FROM whatsapp_checks") == "whapi"


async def test_with_every_checker_away_the_contact_is_synced_and_the_question_waits(
    tmp_path: Path, documented: dict[str, Any], gateway: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    gateway.faults.add("html", path="/whatsapp/validate")
    async with running(tmp_path, **documented) as here:
        await here.post(order)
        await stands(db, order, "synced", None)
        gateway.faults.clear()
        await stands(db, order, "synced", True)
    assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_in_the_live_style_only_the_rules_of_numbering_tell(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    mobile, landline = some_orders(2)
    landline["form"]["client"]["phone"] = {"code": "972", "number": "03-123-4567"}
    async with running(tmp_path, **settings) as here:
        for order in (mobile, landline):
            await here.post(order)
        await validated(db, 2)
        await stands(db, mobile, "synced", None)
        await stands(db, landline, "no_whatsapp", False)
    assert cgb.ledger.of("validate") == []


async def test_a_reply_to_a_bot_flow_of_cgb_turns_a_no_into_a_yes(
    tmp_path: Path, documented: dict[str, Any], gateway: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    gateway.switches.no_whatsapp = [digits_of(order)]
    async with running(tmp_path, **documented, CGB_WEBHOOK_SECRET=FLOW_SECRET) as here:
        await here.post(order)
        await stands(db, order, "no_whatsapp", False)
        flows = CgbFlows(here.session, here.url, secret=FLOW_SECRET)
        now = int(datetime.now(UTC).timestamp() * 1000)  # later than the no, which otherwise would be the newer answer
        assert (await flows.reply(digits_of(order), channel=8, sent_at=now)).status == 202  # Telegram tells nothing
        assert (await flows.reply(digits_of(order), v=2)).status == 202
        assert (await flows.reply(f"{digits_of(order)}-TEST", phone=f"+{digits_of(order)}", sent_at=now)).status == 202
        await validated(db, 4)
        await stands(db, order, "no_whatsapp", False)
        assert await db.fetchval("SELECT error_class FROM dead_letters") == "Malformed"
        assert (await flows.reply(digits_of(order), sent_at=now)).status == 202
        await stands(db, order, "synced", True)
    assert not any(digits_of(order) in line for line in here.lines)

"""Labels in Chatwoot through real processes: by webhook and by the API, over a kill, and without harm to messages."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.sandbox.chatwoot_webhooks import ChatwootWebhooks, contact, conversation, message
from tests.support.daemons import Running, running
from tests.support.until import until

SECRET: Final = "whs_e2e_0123456789abcdef"
TOKEN: Final = "e2e-admin-token-0123456789"
PHONE: Final = "+972505550142"


@pytest.fixture
def settings(stores: dict[str, str]) -> dict[str, Any]:
    """Settings of a process that labels."""
    return stores | {
        "CHATWOOT_API_ACCESS_TOKEN": "sandbox-chatwoot-token",
        "CHATWOOT_ACCOUNT_ID": ACCOUNT_ID,
        "CHATWOOT_WHATSAPP_INBOX_ID": INBOX_ID,
        "CHATWOOT_WEBHOOK_SECRET": SECRET,
        "FERRYMAN_LEASE_SECONDS": 2,
    }


async def test_what_people_write_and_programs_ask_for_becomes_labels_also_over_a_kill(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    async with ChatwootSandbox() as chatwoot:
        chatwoot.switches.role = "administrator"
        talk = chatwoot.account.receive(PHONE, "hello", ago_s=7200)  # before what the first sweep looks at
        settings = settings | {"CHATWOOT_BASE_URL": chatwoot.url}

        def labels() -> set[str]:
            return set(chatwoot.crm.labels.get(talk.id, ()))

        async def write(here: Running, id: int, text: str) -> None:
            of = conversation(talk.id, contact(talk.contact.id, PHONE), PHONE.lstrip("+"))
            webhooks = ChatwootWebhooks(here.session, here.url, secret=SECRET, clock=time.time)
            assert (await webhooks.post(message(id, text, of))).status == 202

        async with running(tmp_path, **settings) as here:
            await write(here, 7401, "Ik zoek een Volkswagen diesel")
            await until(lambda: {"interest-volkswagen", "preference-diesel", "journey-first-contact"} <= labels())
            chatwoot.crm.write_delay_s = 30.0
            await write(here, 7402, "een proefrit?")
            own = f"/conversations/{talk.id}/labels"
            await until(lambda: sum(path.endswith(own) for path, _ in chatwoot.bodies) == 2)
            await here.stop(signal.SIGKILL)
        chatwoot.crm.write_delay_s = 0.0
        async with running(tmp_path, **settings) as here:
            await until(lambda: {"behavior-test-drive-requested", "journey-initial-inquiry"} <= labels())
            asked = {"phone": f"{PHONE.lstrip('+')}@c.us", "labels": ["own:label"], "contact_attributes": {"vip": True}}
            headers = {"Authorization": f"Bearer {TOKEN}"}
            url = f"{here.url}/api/v1/conversations/labels"
            async with here.session.post(url, json=asked, headers=headers) as answer:
                assert (answer.status, list(await answer.json())) == (202, ["event_id"])
            await until(lambda: "own-label" in labels())
            await until(lambda: chatwoot.crm.contact_attributes.get(talk.contact.id, {}).get("vip") is True)
            assert not any(one.startswith("journey-first") for one in labels())
            assert await db.fetchval("SELECT messages FROM crm_people") == 2


async def test_a_chatwoot_that_is_away_buries_nothing(tmp_path: Path, settings: dict[str, Any], db: Pool) -> None:
    async with ChatwootSandbox() as chatwoot:
        chatwoot.switches.role = "administrator"
        talk = chatwoot.account.receive(PHONE, "hello", ago_s=7200)  # before what the first sweep looks at
        settings = settings | {"CHATWOOT_BASE_URL": chatwoot.url}
        async with running(tmp_path, **settings) as here:
            chatwoot.faults.add("error", status=502)
            of = conversation(talk.id, contact(talk.contact.id, PHONE), PHONE.lstrip("+"))
            webhooks = ChatwootWebhooks(here.session, here.url, secret=SECRET, clock=time.time)
            for n in range(3):
                assert (await webhooks.post(message(7501 + n, "diesel", of))).status == 202
            await until(lambda: len(chatwoot.ledger.entries) >= 3)

            async def stored() -> bool:
                return bool(await db.fetchval("SELECT count(*) = 3 FROM messages WHERE direction = 'in'"))

            await until(stored, "the messages are kept all the same")
            chatwoot.faults.clear()
            await until(lambda: "preference-diesel" in chatwoot.crm.labels.get(talk.id, ()), within_s=60)
            assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0

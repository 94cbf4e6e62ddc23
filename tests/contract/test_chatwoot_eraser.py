"""Contacts of Chatwoot, deleted for good, against the simulator."""

from __future__ import annotations

import pytest

from adapters.channel import Channel
from adapters.chatwoot.erasing import ChatwootEraser
from adapters.gate import Gate
from adapters.http import open_session
from adapters.redis.limits import RateLimiter
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID
from schemas.errors import FerrymanError
from tests.support.sending import PHONE


async def deleted(sandbox: ChatwootSandbox, contact: str) -> bool:
    account = {
        "url": sandbox.url,
        "account_id": str(ACCOUNT_ID),
        "inbox_id": "1",
        "api_access_token": sandbox.token,
    }
    async with open_session() as session:
        gate = Gate(
            session=session,
            channel=Channel("chatwoot"),
            limiter=RateLimiter(None, per_minute=None),
            scope="chatwoot",
            system="Chatwoot",
            timeout_s=5.0,
        )
        return await ChatwootEraser(gate, account=lambda: account).delete(contact)


async def test_a_contact_goes_with_its_conversations_and_may_go_twice() -> None:
    async with ChatwootSandbox() as sandbox:
        sandbox.switches.role = "administrator"
        talk = sandbox.account.receive(PHONE.e164, "hello")
        contact = f"{ACCOUNT_ID}:{talk.contact.id}"
        assert await deleted(sandbox, contact)
        assert (sandbox.account.contacts, sandbox.account.conversations) == ({}, {})
        assert await deleted(sandbox, contact)


async def test_a_contact_of_another_account_is_left_to_a_person() -> None:
    async with ChatwootSandbox() as sandbox:
        assert not await deleted(sandbox, "99:1")
        assert not await deleted(sandbox, "nonsense")


async def test_an_agent_may_not() -> None:
    async with ChatwootSandbox() as sandbox:
        talk = sandbox.account.receive(PHONE.e164, "hello")
        with pytest.raises(FerrymanError):
            await deleted(sandbox, f"{ACCOUNT_ID}:{talk.contact.id}")
        assert talk.contact.id in sandbox.account.contacts

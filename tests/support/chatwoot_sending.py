"""What the tests of Chatwoot's sender share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID, uuid4

from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.chatwoot.sender import ChatwootSender
from adapters.ports import FetchedFile
from adapters.redis.limits import RateLimiter
from adapters.registry import SENDERS
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from schemas.errors import FerrymanError
from schemas.messages import Content, OutboundMessage, Template, Text
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.sending import PHONE

TEXT: Final = Text("Your visa is ready")
CONFIRMATION: Final = Template("order_confirmation", "en_US", {"1": "Noa"})
TEMPLATES: Final[list[dict[str, Any]]] = [
    {
        "name": "order_confirmation",
        "language": "en_US",
        "status": "APPROVED",
        "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Thank you, {{1}}!"}],
    }
]
PRIVATE: Final = (PHONE.digits, "5550142", "visa is ready", "sandbox-chatwoot-token", "Noa", "canary")


class FakeFiles:
    """Gives *file*, or raises *error*; `fetched`: what it was asked for."""

    def __init__(self, file: FetchedFile, error: FerrymanError | None = None) -> None:
        self.file = file
        self.error = error
        self.fetched: list[tuple[str, int]] = []

    async def fetch(self, url: str, most_bytes: int) -> FetchedFile:
        self.fetched.append((url, most_bytes))
        if self.error is not None:
            raise self.error
        return self.file


def sender_on(
    sandbox: ChatwootSandbox,
    session: ClientSession,
    *,
    channel: Channel | None = None,
    files: FakeFiles | None = None,
    account: Mapping[str, str] = MappingProxyType({}),
) -> ChatwootSender:
    """A sender to *sandbox*. *account*: values other than its own."""
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    gate = gate_on(session, limiter=limiter, channel=channel or Channel("chatwoot"), timeout_s=2.0)
    values = {
        "url": sandbox.url,
        "api_access_token": sandbox.token,
        "account_id": str(ACCOUNT_ID),
        "inbox_id": str(INBOX_ID),
    }
    assert SENDERS["chatwoot"]() is ChatwootSender
    return ChatwootSender(gate, account=lambda: {**values, **account}, public_url=None, files=files)


def to(
    phone: Phone,
    content: Content = TEXT,
    *,
    name: str | None = None,
    id: UUID | None = None,
    conversation: int | None = None,
) -> OutboundMessage:
    """A message of its own id."""
    return OutboundMessage(id=id or uuid4(), to=phone, content=content, name=name, conversation=conversation)


async def unclaimed() -> None:
    """A claim that takes no notes."""


def actions(sandbox: ChatwootSandbox) -> list[str]:
    """What the simulator was asked, in order."""
    return [entry.action for entry in sandbox.ledger.entries]


def is_safe(error: FerrymanError) -> bool:
    """Whether the texts of *error* hold nothing personal."""
    said = f"{error.full_text} {error!r} {error.__cause__!r}"
    hidden = error.__suppress_context__ or error.__context__ is None
    return hidden and not any(part in said for part in PRIVATE)

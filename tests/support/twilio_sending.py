"""A sender of Twilio on its simulator, and one message through it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.gate import Gate
from adapters.ports import Sender
from adapters.redis.limits import RateLimiter
from adapters.registry import SENDERS
from daemon.sandbox.twilio import TwilioSandbox
from schemas.errors import FerrymanError
from schemas.messages import Content, OutboundMessage, Text
from schemas.phone import Phone
from tests.support.made_up_files import NO_FILES

PERSON: Final = Phone("+972505550142")
PRIVATE: Final = ("972505550142", "5550142", "sandbox-auth-token", "canary", "AC000000")


class Claims:
    """A claim that counts how often it is awaited, and what the simulator had been asked by then."""

    def __init__(self, sandbox: TwilioSandbox, error: Exception | None = None) -> None:
        self.asked_before: list[int] = []
        self._sandbox = sandbox
        self._error = error

    async def __call__(self) -> None:
        self.asked_before.append(len(self._sandbox.ledger.entries))
        if self._error is not None:
            raise self._error


def sender_on(
    session: ClientSession,
    sandbox: TwilioSandbox,
    *,
    channel: Channel | None = None,
    limiter: RateLimiter | None = None,
    public_url: str | None = None,
    values: Mapping[str, str] = MappingProxyType({}),
) -> Sender:
    gate = Gate(
        session=session,
        channel=channel or Channel("twilio"),
        limiter=limiter or RateLimiter(None, per_minute=None, max_wait_s=0.05),
        scope="twilio:test",
        system="Twilio",
        timeout_s=2.0,
    )
    make = SENDERS["twilio"]()
    return make(gate, account=lambda: sandbox.account | dict(values), public_url=public_url, files=NO_FILES)


def message(content: Content = Text("canary")) -> OutboundMessage:  # noqa: B008 - it is frozen
    return OutboundMessage(id=uuid4(), to=PERSON, content=content, name="Noa Canary")


async def failing(sender: Sender, sandbox: TwilioSandbox) -> FerrymanError:
    """The error of one message, which holds nothing personal and was sent once at most."""
    claims = Claims(sandbox)
    with pytest.raises(FerrymanError) as caught:
        await sender.send(message(), claims)
    error = caught.value
    assert not any(part in f"{error.full_text} {error!r} {error.code} {error.__cause__!r}" for part in PRIVATE)
    assert error.__suppress_context__ or error.__context__ is None
    assert claims.asked_before in ([], [0])
    assert len(sandbox.made) <= 1
    return error

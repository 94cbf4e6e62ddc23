"""What the tests of the CRM share: a Chatwoot, and our end of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession
from redis.asyncio import Redis

from adapters.channel import Channel
from adapters.chatwoot.crm import ChatwootCrm
from adapters.redis.limits import RateLimiter
from adapters.redis.locks import Locks
from adapters.registry import CRM
from daemon.conversations.label_rules import LABELS
from daemon.conversations.labelling import Labelling
from daemon.rules.files import SHIPPED
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from tests.support.gates import gate_on

RULES = SHIPPED(LABELS)


def crm_on(sandbox: ChatwootSandbox, session: ClientSession, *, channel: Channel | None = None) -> ChatwootCrm:
    """The CRM of *sandbox*, as a process of its own would have it."""
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    gate = gate_on(session, limiter=limiter, channel=channel or Channel("chatwoot"), timeout_s=5.0)
    values = {
        "url": sandbox.url,
        "api_access_token": sandbox.token,
        "account_id": str(ACCOUNT_ID),
        "inbox_id": str(INBOX_ID),
    }
    made = CRM()(gate, account=lambda: values)
    assert isinstance(made, ChatwootCrm)
    return made


@asynccontextmanager
async def _unlocked(name: str) -> AsyncIterator[None]:
    yield


def labelling_on(
    crm: ChatwootCrm, redis: Redis | None = None, *, clock: Callable[[], float] | None = None
) -> Labelling:
    """Labels by *crm*, under the locks of *redis*, or without any."""
    hold = _unlocked if redis is None else Locks(redis).hold
    more = {} if clock is None else {"clock": clock}
    return Labelling(crm, hold, ACCOUNT_ID, RULES.catalog(), RULES.rivals(), **more)

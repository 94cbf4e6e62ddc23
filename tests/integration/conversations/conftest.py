"""What the tests of labels share: a Chatwoot with a conversation in it, and the worker on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from adapters.http import open_session
from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import Conversation
from tests.support.crm import CrmWorker, worker_on
from tests.support.sending import PHONE


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.role = "administrator"
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def worker(db: Pool, sandbox: ChatwootSandbox, session: ClientSession, redis: Redis) -> CrmWorker:
    return worker_on(db, sandbox, session, redis)


@pytest.fixture
def talk(sandbox: ChatwootSandbox) -> Conversation:
    """A conversation in which the person has written."""
    return sandbox.account.receive(PHONE.e164, "hello")

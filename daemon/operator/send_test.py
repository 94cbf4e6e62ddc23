"""A test webhook through the running daemon, as its sender would post it, and followed to its end in every worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from adapters.ports import Secrets, Source, Webhook
from adapters.postgres.bus.workers import JOURNAL
from adapters.postgres.operator import trail
from adapters.postgres.operator.trail import WorkerEnding
from adapters.postgres.pool import Pool, store_is_down
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.credentials import Credentials
from daemon.stores.seal import keys_of
from daemon.telemetry.failures import failure
from daemon.telemetry.redaction import redact_text
from schemas.envelope import Event
from schemas.errors import FerrymanError

ANSWER_S: Final = 10.0
"""Longest wait for the answer, as deploy/SENDING.md asks of senders."""

POLL_S: Final = 0.2


class NoTest(FerrymanError):
    """The test webhook cannot be sent, or nothing answers it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A webhook to post, the one event that it makes, and the status by which its source accepts it. *names_it*:
    whether the answer names the event."""

    webhook: Webhook
    event: Event
    status: int = 202
    names_it: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon answered. *detail*: why it said no."""

    status: int
    event_ids: Sequence[str]
    detail: str


async def as_the_daemon(pool: Pool, settings: Settings) -> InForce:
    """What a daemon with *settings* goes by: with the accounts that are stored."""
    credentials = Credentials(pool, lambda: keys_of(settings), tells=False)
    await credentials.load()
    return InForce(settings, credentials)


def prepare(in_force: InForce, source: Source, now: datetime) -> Prepared:
    """A test of *source* that was never sent before, proven by the secrets *in_force*.

    Raises: NoTest where these prove nothing, or *source* has no sample, or its proof needs an address that is not set.
    """
    if source.sample is None:
        raise NoTest(f"there is no test of {source.name}")
    settings = in_force.settings
    secrets: Secrets = {name: in_force.secrets(name) for name in source.secrets}
    if not any(secrets.values()) and source.name not in settings.ferryman_allow_unsigned:
        raise NoTest(f"nothing here proves a sender of {source.name}: set {source.wanted} as the daemon has it")
    webhook = source.sample(secrets, now)
    if source.sign is not None and any(secrets.values()):
        if settings.ferryman_public_url is None:
            raise NoTest(f"set FERRYMAN_PUBLIC_URL as the daemon has it: senders of {source.name} sign that address")
        webhook.url = settings.ferryman_public_url + source.path
        source.sign(webhook, secrets)
    (event,) = source.parse(webhook, source.decode(webhook.body), now)
    if source.answer is None:
        return Prepared(webhook, event)
    return Prepared(webhook, event, source.answer([event.id]).status, names_it=False)


async def post(url: str, webhook: Webhook) -> Answer:
    """Post *webhook* to *url*. Raises: NoTest when there is no answer."""
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=ANSWER_S)) as session,
            session.post(url, data=webhook.body, headers=webhook.headers, allow_redirects=False) as answer,
        ):
            return _read(answer.status, await answer.read())
    except (ClientError, OSError, TimeoutError, ValueError) as exc:
        raise NoTest(f"no answer from {url} ({failure(exc)}): does a daemon run there? see `ferryman doctor`") from exc


def _read(status: int, body: bytes) -> Answer:
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return Answer(status, (), "not an answer of Ferryman")
    ids = document.get("event_ids")
    detail = document.get("detail")
    return Answer(
        status,
        [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else (),
        redact_text(detail) if isinstance(detail, str) else "",
    )


async def endings(pool: Pool, workers: Sequence[str], event_id: str, timeout_s: float) -> AsyncIterator[WorkerEnding]:
    """How each of *workers* ends with the event, as it ends; after *timeout_s* seconds no more. A store that is away
    meanwhile is waited for."""
    left = set(workers)
    deadline = asyncio.get_running_loop().time() + timeout_s
    while left and asyncio.get_running_loop().time() < deadline:
        try:
            found = await trail.endings(pool, [event_id])
        except Exception as exc:
            if not store_is_down(exc):
                raise
            found = []
        for ending in found:
            if ending.worker in left:
                left.remove(ending.worker)
                yield ending
        if left:
            await asyncio.sleep(POLL_S)


def as_it_should(ending: WorkerEnding) -> bool:
    """Whether a worker ended with a test as it should: the journal keeps it, every other worker skips it."""
    return ending.outcome == ("done" if ending.worker == JOURNAL else "skipped")

"""What the tests of the CRM share: a Chatwoot, and our end of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Final

from aiohttp import ClientSession
from redis.asyncio import Redis

from adapters.channel import Channel
from adapters.chatwoot.crm import ChatwootCrm
from adapters.postgres import crm as kept
from adapters.postgres.crm import Asked, Standing
from adapters.postgres.pool import Pool
from adapters.redis.limits import RateLimiter
from adapters.redis.locks import Locks
from adapters.registry import CRM
from daemon.bus.outcome import Done, Turn
from daemon.bus.worker import utc_now
from daemon.conversations.labels.crm_labels import handle, record
from daemon.conversations.labels.labelling import Hold, Labelling
from daemon.conversations.labels.rules import LABELS
from daemon.conversations.labels.tagger import Tagger
from daemon.conversations.labels.wiring import METRICS, CrmDeps
from daemon.rules.files import SHIPPED
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID, Conversation
from daemon.telemetry.metrics import Metrics
from schemas.envelope import Event, event_id
from tests.support.gates import gate_on
from tests.support.sending import PHONE

RULES: Final = SHIPPED(LABELS)
FIRST: Final = {"journey-first-contact", "engagement-low", "source-whatsapp", "cold-lead"}
"""The labels of a first message by WhatsApp that says nothing else."""

_IDS: Final = count(7301)


def crm_on(
    sandbox: ChatwootSandbox, session: ClientSession, *, channel: Channel | None = None, account_id: int = ACCOUNT_ID
) -> ChatwootCrm:
    """The CRM of *sandbox*, as a process of its own would have it."""
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    gate = gate_on(session, limiter=limiter, channel=channel or Channel("chatwoot"), timeout_s=5.0)
    values = {
        "url": sandbox.url,
        "api_access_token": sandbox.token,
        "account_id": str(account_id),
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


@dataclass(slots=True)
class CrmWorker:
    """The worker crm-labels on a database and a Chatwoot, without the bus: an event is handled to its end. *settle*:
    how long it waits before it looks again."""

    pool: Pool
    crm: ChatwootCrm
    labelling: Labelling
    hold: Hold
    settle: timedelta = timedelta(milliseconds=20)
    metrics: Metrics = field(default_factory=lambda: Metrics(METRICS))

    def deps(self) -> CrmDeps:
        """What its handlers are given."""

        async def standing(asked: Asked) -> Standing:
            (found,) = await kept.standing(self.pool, ACCOUNT_ID, [asked])
            return found

        return CrmDeps(
            account_id=ACCOUNT_ID,
            crm=self.crm,
            labelling=self.labelling,
            tagger=Tagger(RULES),
            standing=standing,
            hold=self.hold,
            metrics=self.metrics,
            keeps=timedelta(days=30),
            settle=self.settle,
        )

    @property
    def restored(self) -> int:
        """How often labels were put back that a list was written over."""
        page, _ = self.metrics.render()
        found = re.search(rb'ferryman_crm_writes_total{what="restored"} (\d+)', page)
        return int(found[1]) if found else 0

    async def handle(self, event: Event) -> str:
        """Handle *event* to its end; why it was skipped, else "done"."""
        turn = Turn(utc_now())
        while True:
            outcome = await handle(event, self.deps(), turn)
            async with self.pool.acquire() as conn, conn.transaction():
                await record(conn, outcome.rows)
            if isinstance(outcome, Done):
                return outcome.skipped or "done"
            await asyncio.sleep(max(0.0, (outcome.at - utc_now()).total_seconds()))
            turn = Turn(utc_now(), step=outcome.step, memo=outcome.memo)


def worker_on(
    pool: Pool, sandbox: ChatwootSandbox, session: ClientSession, redis: Redis | None = None, *, settle_s: float = 0.02
) -> CrmWorker:
    """A worker as a process of its own would run it."""
    crm = crm_on(sandbox, session)
    hold = _unlocked if redis is None else Locks(redis).hold
    return CrmWorker(pool, crm, labelling_on(crm, redis), hold, timedelta(seconds=settle_s))


def written(
    text: str | None,
    *,
    phone: str | None = PHONE.e164,
    talk: Conversation | None = None,
    system: str = "meta",
    account: int = ACCOUNT_ID,
    **told: Any,
) -> Event:
    """A `message.received`: of *talk* in Chatwoot, else by *system*. *told*: further members of its data, or others."""
    id, now = next(_IDS), utc_now()
    data: dict[str, Any] = {
        "system": system,
        "contact_id": (phone or "+0").lstrip("+"),
        "phone": phone,
        "at": now.isoformat(),
        "channel": "whatsapp",
        "text": text,
        "message_id": f"wamid.{id}",
        "kind": "text",
        "name": "Noa",
    }
    if talk is not None:
        data |= {"system": "chatwoot", "contact_id": f"{account}:{talk.contact.id}", "message_id": str(id)}
        data["conversation"] = {"account": str(account), "id": str(talk.id), "inbox": str(talk.inbox_id)}
    return event_of("message.received", data | told)


def event_of(type: str, data: Mapping[str, Any]) -> Event:
    """An event of its own id."""
    id = event_id("test", type, str(next(_IDS)))
    subject = str(data.get("phone") or "chat:1")
    return Event(id=id, type=type, source="test", subject=subject, time=utc_now(), data=json.dumps(data).encode())


def changed(talk: Conversation, before: list[str], after: list[str]) -> Event:
    """A `conversation.changed`: its labels."""
    labels = {"label_list": {"previous_value": before, "current_value": after}}
    data = {
        "system": "chatwoot",
        "contact_id": f"{ACCOUNT_ID}:{talk.contact.id}",
        "phone": talk.contact.phone_number,
        "at": None,
        "conversation": {"account": str(ACCOUNT_ID), "id": str(talk.id), "inbox": str(talk.inbox_id)},
        "what": "updated",
        "labels": after,
        "received": {"changed_attributes": [labels, {"updated_at": {"previous_value": 1, "current_value": 2}}]},
    }
    return event_of("conversation.changed", data)

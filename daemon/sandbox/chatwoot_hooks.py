"""How the Chatwoot simulator calls its webhooks: once each, signed, five seconds, never again; and what may go wrong on
the way. Each delivery is a job of its own, so that none waits for another and the order is that of chance."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any, Final
from uuid import UUID, uuid4

from aiohttp import ClientError, ClientSession, ClientTimeout

from adapters.chatwoot.source import signed
from daemon.sandbox.chatwoot_webhooks import escaped

EVENTS: Final = (
    "conversation_status_changed",
    "conversation_updated",
    "conversation_created",
    "contact_created",
    "contact_updated",
    "message_created",
    "message_updated",
    "webwidget_triggered",
    "inbox_created",
    "inbox_updated",
    "conversation_typing_on",
    "conversation_typing_off",
)
"""What a webhook may subscribe to (app/models/webhook.rb)."""

TIMEOUT_S: Final = 5.0
_SECRET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # noqa: S105 - base 58, of which secrets are


@dataclass(slots=True, kw_only=True)
class Webhook:
    """A webhook of the account. *secret*: "" of versions before 4.11.2, which sign nothing."""

    id: int
    url: str
    subscriptions: list[str]
    name: str | None = None
    secret: str = ""
    inbox_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A call of a webhook. *status*: that of the answer; None: there was none in time, or it was lost before."""

    id: UUID
    event: str
    body: Mapping[str, Any]
    url: str
    status: int | None = None


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What goes wrong. *lost*: the share of deliveries that are never made. *anew*: of those that are made twice, under
    two ids; *again*: under one. *shuffled_s*: each delivery waits a random time up to it. *lose*: so many of the next
    ones are lost, whatever the shares."""

    lost: float = 0.0
    anew: float = 0.0
    again: float = 0.0
    shuffled_s: float = 0.0
    lose: int = 0


@dataclass(slots=True)
class Hooks:
    """The webhooks of the account, and what was delivered. *seed*: of what chance decides."""

    seed: int = 1
    rows: list[Webhook] = field(default_factory=list)
    trouble: Trouble = field(default_factory=Trouble)
    deliveries: list[Delivery] = field(default_factory=list)
    _ids: count[int] = field(default_factory=lambda: count(31))
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)
    _session: ClientSession | None = None
    _random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - it draws what goes wrong

    def subscribe(
        self, url: str, events: Iterable[str] = EVENTS, *, secret: str | None = None, **further: Any
    ) -> Webhook:
        """A webhook more. *secret*: "" for none; None: as Chatwoot makes one. *further*: its name and the like."""
        chosen = "".join(self._random.choices(_SECRET, k=24)) if secret is None else secret
        made = Webhook(id=next(self._ids), url=url, subscriptions=list(events), secret=chosen, **further)
        self.rows.append(made)
        return made

    def tell(self, event: str, body: Mapping[str, Any]) -> None:
        """Deliver *body*, as it is now, to all who have subscribed to *event*. Returns at once."""
        content = escaped(body)
        body = json.loads(content)
        for webhook in self.rows:
            if event not in webhook.subscriptions:
                continue
            trouble = self.trouble
            if trouble.lose > 0 or self._random.random() < trouble.lost:
                trouble.lose = max(0, trouble.lose - 1)
                self.deliveries.append(Delivery(id=uuid4(), event=event, body=body, url=webhook.url))
                continue
            ids = [uuid4()]
            ids += [uuid4()] if self._random.random() < trouble.anew else []
            ids += ids[:1] if self._random.random() < trouble.again else []
            for id in ids:
                after_s = self._random.uniform(0, trouble.shuffled_s)
                self._begin(
                    self._deliver(webhook, Delivery(id=id, event=event, body=body, url=webhook.url), content, after_s)
                )

    async def settled(self) -> None:
        """Return once every delivery that was begun has ended."""
        while self._jobs:
            await asyncio.wait(self._jobs)

    async def close(self) -> None:
        """End what is under way."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _begin(self, work: Any) -> None:
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _deliver(self, webhook: Webhook, what: Delivery, content: bytes, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=TIMEOUT_S))
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if webhook.secret:
            headers |= dict(signed(content, webhook.secret, int(time.time())).headers)
        headers["X-Chatwoot-Delivery"] = str(what.id)
        status = None
        with suppress(ClientError, TimeoutError):  # Chatwoot logs it, and it is lost
            async with self._session.post(webhook.url, data=content, headers=headers) as answer:
                status = answer.status
        self.deliveries.append(replace(what, status=status))

"""The pump as a service of the process, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

from adapters.postgres.subscribers import Subscriber
from adapters.webhook_ports import Deliverer
from daemon.bus.worker import Outside
from daemon.lifecycle import Background, Service
from daemon.stores.seal import HOW_TO_MAKE, NoKey, Seal
from daemon.subscribers import secrets
from daemon.subscribers.delivering import Post
from daemon.subscribers.outgoing_webhooks import NAME
from daemon.subscribers.pump import Pump
from daemon.subscribers.secrets import Secret


def services(
    outside: Outside,
    me: str,
    running: Collection[str],
    keys: Callable[[], Sequence[str]],
    deliverer: Callable[[], AbstractAsyncContextManager[Deliverer]],
) -> Sequence[Service]:
    """The pump of the process *me*, where its worker is among those *running*. *keys*: gives the keys in force that
    open secrets. *deliverer*: opens what posts."""
    if NAME not in running:
        return ()

    def opened(row: Subscriber) -> list[Secret]:
        if not (held := keys()):
            raise NoKey(f"FERRYMAN_SECRET_KEY is not set: {HOW_TO_MAKE}")
        return secrets.opened(Seal(held), row.name, row.secrets)

    async def run(stop: asyncio.Event) -> None:
        async with deliverer() as posting:
            post = Post(pool=outside.pool, deliverer=posting, metrics=outside.metrics, now=outside.now, opened=opened)
            await Pump(post=post, me=me, ttl_s=outside.settings.ferryman_lease_seconds).run(stop)

    return (Background("webhook-pump", run),)

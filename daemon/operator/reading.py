"""Showing a person that their message was read, by the account of ours that they have written to.

It changes nothing of the person's and nothing that is still to be sent, so it goes out at once and not through the
queue: by the gate of the account, in the line for its rate limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from adapters.channel import Channels, channel_of, reason
from adapters.ports import ReadMarker
from adapters.postgres import chat_messages
from adapters.postgres.bus import pauses
from adapters.postgres.chat_messages import ChatMessage
from adapters.postgres.pool import Pool
from daemon.bus.worker import Outside, utc_now
from daemon.messages.wiring import CHANNELS, marking, open_senders
from daemon.operator.faults import Conflict, Unanswered
from daemon.operator.numbers import account_of
from daemon.operator.sending import NoSuchMessage
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.credentials import Credentials
from daemon.stores.seal import keys_of
from daemon.telemetry.metrics import Metrics
from schemas.errors import FerrymanError, NotSent, Refused, Transient

if TYPE_CHECKING:
    from adapters.redis.client import Redis

CLOSED_S: Final = 5.0
"""So long a stopped account is not asked again, nor a store that is away."""

PAUSED_S: Final = 30.0
"""So long somebody who waits for an operator need not ask."""


class NotMarked(Conflict):
    """The message cannot be marked as read: the text says why."""


async def marked_read(
    outside: Outside, id: UUID, *, account: str | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Mark the message of a person as read, and those before it with it, as WhatsApp does; done again it changes
    nothing. *account*: by which one, where the provider does not tell to which it came. *dry_run*: only look whether
    that can be done. Returns `id`, `provider`, `account` and `read_at`.

    Raises: NoSuchMessage; NotMarked; NoAccount; Unanswered.
    """
    pool, settings = outside.pool, outside.settings
    one = await chat_messages.find(pool, id)
    if one is None:
        raise NoSuchMessage(f"there is no message {id}")
    provider_id = _markable(one)
    account = account or await account_of(pool, settings, one)
    read_at = one.read_at
    if read_at is None and not dry_run:
        await _mark(outside, one.provider, account, provider_id)
        read_at = await chat_messages.note_read(pool, id, outside.now())
    return {"id": id, "provider": one.provider, "account": account, "read_at": read_at}


def _markable(one: ChatMessage) -> str:
    """The provider's id of a message that can be marked. Raises: NotMarked."""
    if one.direction == "out":
        raise NotMarked("this is a message of ours: only what a person has written is marked as read")
    if one.provider not in marking():
        raise NotMarked(f"{one.provider}, by which the message came, has no call that marks it as read")
    if one.provider_id is None:
        raise NotMarked(f"{one.provider} has given no id of the message")
    return one.provider_id


async def _mark(outside: Outside, provider: str, account: str, provider_id: str) -> None:
    """Ask the provider. Raises: NotMarked; Unanswered."""
    channel = channel_of(provider, account)
    if channel in await pauses.paused(outside.pool):
        raise Unanswered(f"{reason(channel, 'paused', '')}: `ferryman resume {channel}`", retry_after_s=PAUSED_S)
    try:
        async with _senders(outside) as senders:
            await senders[provider, account].mark_read(provider_id)
    except Refused as error:
        raise NotMarked(error.full_text) from None
    except NotSent as error:
        raise Unanswered(str(error), retry_after_s=CLOSED_S) from None
    except Transient as error:
        wait_s = error.retry_after_s or CLOSED_S
        raise Unanswered(error.full_text, retry_after_s=wait_s if error.limited else None) from None
    except FerrymanError as error:
        raise Unanswered(error.full_text) from None


@asynccontextmanager
async def _senders(outside: Outside) -> AsyncIterator[Mapping[tuple[str, str], ReadMarker]]:
    """The senders on *outside*, with its breakers; their rate limiters are closed with them."""
    with ExitStack() as stack:
        async with open_senders(replace(outside, at_end=stack.callback)) as senders:
            yield senders


@asynccontextmanager
async def outside_of(pool: Pool, settings: Settings, redis: Redis) -> AsyncIterator[Outside]:
    """What a command reaches the providers by: within the rate limits of the daemon, and with the stored accounts."""
    from adapters.http import open_session

    credentials = Credentials(pool, lambda: keys_of(settings), tells=False)
    async with open_session() as session:
        yield Outside(
            settings=settings,
            secret=InForce(settings, credentials).secret,
            pool=pool,
            redis=redis,
            session=session,
            channels=Channels(CHANNELS),
            metrics=Metrics(()),
            now=utc_now,
            credentials=credentials,
        )

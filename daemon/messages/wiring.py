"""What the messages domain needs of the outside, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from adapters.postgres import holds, messages, moves, templates
from adapters.postgres.messages import Asked, MessageState
from adapters.postgres.moves import Account
from adapters.registry import SENDERS
from daemon import accounts
from daemon.accounts import CGB, CHATWOOT, META, PAIRS, SCOPES, TWILIO, VALUES, WHAPI, pair_limit, values_of
from daemon.bus.batcher import Batcher
from daemon.bus.worker import Domain, Duty, Outside
from daemon.messages import campaigns, scheduling, template_sync
from daemon.messages.metrics import METRICS
from daemon.messages.moving import Accounts
from daemon.messages.reconciling import reconciling
from daemon.messages.senders import Senders
from daemon.messages.stops import told_limits, told_stops
from schemas.credentials import DEFAULT
from schemas.templates import Known, TemplateDefinition

if TYPE_CHECKING:
    from adapters.ports import Sender
    from adapters.postgres.pool import Pool
    from adapters.redis.pair_limit import PairLimit
    from daemon.settings.model import Settings

log = structlog.get_logger(__name__)

CHANNELS: Final = (CGB, CHATWOOT, META, TWILIO, WHAPI)
"""The channels that messages go through."""

LIVE: Final = "CGB_API_STYLE=live"
"""What every account of CGB needs: its documents have no call that sends."""

_SYSTEMS: Final = {CGB: "CGB", CHATWOOT: "Chatwoot", META: "Meta", TWILIO: "Twilio", WHAPI: "Whapi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeps:
    """The outside as the handlers of this domain see it. *senders*: by provider and account. *state*: answers how a
    message stands. *claim*, *unclaim*: as `adapters.postgres.messages` has them. *requeue*: queues a message anew that
    has failed; whether that was done. *pairs*: provider -> its limit of messages to one person, where it has one.
    *uncorrelated*: as `adapters.postgres.holds` has it. *accounts*: what is known of them, and moves messages. *count*:
    counts a message of a provider by its end."""

    senders: Mapping[tuple[str, str], Sender]
    state: Callable[[Asked], Awaitable[MessageState]]
    claim: Callable[[UUID, str, tuple[str, str]], Awaitable[int | None]]
    unclaim: Callable[[UUID, int, str], Awaitable[None]]
    requeue: Callable[[UUID], Awaitable[bool]]
    pairs: Mapping[str, PairLimit]
    uncorrelated: Callable[[UUID, str], Awaitable[bool]]
    accounts: Accounts
    count: Callable[[str, str], None]


@asynccontextmanager
async def open_senders(outside: Outside) -> AsyncIterator[Senders]:
    """The senders of all accounts, on *outside*."""
    from adapters.files import open_files

    async with open_files(own=own_servers(outside.settings)) as files:
        yield Senders(
            outside,
            by_settings={name: partial(_account, outside, name) for name in configured(outside.settings)},
            beside=partial(_beside, outside.settings),
            systems=_SYSTEMS,
            files=files,
        )


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[MessageDeps]:
    for name in CHANNELS:
        if missing := lacking(outside.settings, name):
            log.info("sender.off", provider=name, reason=f"set {', '.join(missing)}")
    states: Batcher[Asked, MessageState] = Batcher(partial(messages.states, outside.pool))
    async with open_senders(outside) as senders:
        yield MessageDeps(
            senders=senders,
            state=states.submit,
            claim=partial(messages.claim, outside.pool),
            unclaim=partial(messages.unclaim, outside.pool),
            requeue=partial(_requeue, outside.pool),
            pairs={name: pair_limit(outside, name) for name in PAIRS},
            uncorrelated=partial(holds.uncorrelated, outside.pool, told=_told_of_cgb(outside.settings)),
            accounts=_accounts(outside),
            count=partial(_count, outside),
        )


def _count(outside: Outside, provider: str, outcome: str) -> None:
    outside.metrics.inc("ferryman_messages_total", {"provider": provider, "outcome": outcome})


def _accounts(outside: Outside) -> Accounts:
    def why_shut(one: Account) -> str:
        channel = outside.channels[one.channel]
        return channel.why_closed if channel.shut else ""

    async def known(one: Account, name: str) -> Known | None:
        if one.provider == CGB and name.lower() in outside.settings.cgb_templates:
            return Known(name, [TemplateDefinition(name=name)], outside.now())
        return await templates.known(outside.pool, one.provider, one.account, name)

    def count(provider: str, to: str) -> None:
        outside.metrics.inc("ferryman_messages_moved_total", {"provider": provider, "to": to})

    return Accounts(
        has=lambda one: _sends(outside, one.provider, one.account),
        why_shut=why_shut,
        known=known,
        standing=partial(moves.standing, outside.pool),
        move=partial(moves.move, outside.pool),
        count=count,
    )


def _told_of_cgb(settings: Settings) -> bool:
    """Whether statuses of the number of Meta behind CGB may come to us."""
    unsigned = {"meta", "360dialog"} & set(settings.ferryman_allow_unsigned)
    return bool(settings.meta_app_secret or settings.dialog360_webhook_secret or unsigned)


async def _requeue(pool: Pool, id: UUID) -> bool:
    return await messages.requeue(pool, id, "failed") is not None


def configured(settings: Settings) -> list[str]:
    """The providers that the settings name an account of."""
    return [name for name in CHANNELS if name in SENDERS and not lacking(settings, name)]


def lacking(settings: Settings, provider: str) -> list[str]:
    """The settings without which *provider* sends nothing, as they are to be given."""
    if provider == CGB and settings.cgb_api_style != "live":
        return [LIVE]
    return accounts.lacking(settings, provider)


def needed(provider: str) -> list[str]:
    """The settings that *provider* needs to send."""
    return [name.upper() for name in VALUES.get(provider, {}).values()]


def own_servers(settings: Settings) -> list[str]:
    """The addresses of the servers whose files are fetched also where they are in our own network."""
    providers = [str(getattr(settings, VALUES[name]["url"])) for name in configured(settings)]
    return providers if settings.chatwoot_base_url is None else [settings.chatwoot_base_url, *providers]


def upload_hosts(settings: Settings) -> tuple[str, ...]:
    """The hosts whose files are fetched and uploaded, where a provider takes them so. Where the settings name none:
    that of FERRYMAN_PUBLIC_URL, and Chatwoot's, which may be out of a provider's reach."""
    ours = (settings.ferryman_public_url, settings.chatwoot_base_url)
    return settings.messages_upload_hosts or tuple(urlsplit(url).netloc.lower() for url in ours if url is not None)


def _account(outside: Outside, provider: str) -> Mapping[str, str]:
    """The values of the account of *provider*, with the secrets that are in force."""
    settings = outside.settings
    return {**_beside(settings, provider), **values_of(settings, outside.secret, provider)}


def _beside(settings: Settings, provider: str) -> Mapping[str, str]:
    """What the settings of *provider* say to each of its accounts, its address among it."""
    address = getattr(settings, VALUES[provider]["url"])
    values = {} if address is None else {"url": str(address)}
    values["upload_hosts"] = ",".join(upload_hosts(settings))
    if provider in (CGB, CHATWOOT):
        values |= {"cache_s": str(settings.cgb_cache_timeout)}
    if provider == CGB:
        values |= {"style": settings.cgb_api_style}
        values |= {f"template_{name}": flow for name, flow in settings.cgb_templates.items()}
    return values


def _duties(outside: Outside, deps: MessageDeps) -> Sequence[Duty]:
    return (
        *scheduling.duties(outside, CHANNELS),
        *campaigns.duties(outside, partial(_sends, outside)),
        *template_sync.duties(outside),
        told_stops(outside),
        told_limits(outside, configured(outside.settings)),
        reconciling(outside.pool, deps.senders, _looking(), outside.now),
    )


def _looking() -> list[str]:
    """The providers whose lists tell what they have taken."""
    return [name for name in CHANNELS if name in SENDERS and hasattr(SENDERS[name](), "look_for")]


def marking() -> list[str]:
    """The providers that can show a person that their messages were read."""
    return [name for name in CHANNELS if name in SENDERS and hasattr(SENDERS[name](), "mark_read")]


def _sends(outside: Outside, provider: str, account: str) -> bool:
    """Whether there is such an account: a stored one, or that of the settings."""
    missing = lacking(outside.settings, provider)
    if outside.credentials is not None and outside.credentials.holds(provider, account):
        return LIVE not in missing
    return account == DEFAULT and not missing


MESSAGES: Final[Domain[MessageDeps]] = Domain(
    name="messages",
    opened=_opened,
    metrics=METRICS,
    scopes={name: SCOPES[name] for name in CHANNELS},
    duties=_duties,
)

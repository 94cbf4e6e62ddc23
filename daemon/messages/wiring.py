"""What the messages domain needs of the outside, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.postgres import holds, messages
from adapters.postgres.messages import Asked, MessageState
from adapters.registry import SENDERS
from daemon.accounts import CGB, META, PAIRS, SCOPES, TWILIO, WHAPI, gate_to, pair_limit
from daemon.bus.batcher import Batcher
from daemon.bus.worker import Domain, Duty, Outside
from daemon.messages.metrics import METRICS
from daemon.messages.reconciling import reconciling
from daemon.messages.scheduling import duties
from daemon.messages.stops import told_limits, told_stops

if TYPE_CHECKING:
    from adapters.ports import Sender
    from adapters.postgres.pool import Pool
    from adapters.redis.pair_limit import PairLimit
    from daemon.settings.model import Settings

CHANNELS: Final = (CGB, META, TWILIO, WHAPI)
"""The channels that messages go through."""

DEFAULT: Final = "default"
"""The account that the settings name."""

_SYSTEMS: Final = {CGB: "CGB", META: "Meta", TWILIO: "Twilio", WHAPI: "Whapi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeps:
    """The outside as the handlers of this domain see it. *senders*: by provider and account. *state*: answers how a
    message stands. *claim*, *unclaim*: as `adapters.postgres.messages` has them. *requeue*: queues a message anew that
    has failed; whether that was done. *pairs*: provider -> its limit of messages to one person, where it has one.
    *uncorrelated*: as `adapters.postgres.holds` has it."""

    senders: Mapping[tuple[str, str], Sender]
    state: Callable[[Asked], Awaitable[MessageState]]
    claim: Callable[[UUID], Awaitable[int | None]]
    unclaim: Callable[[UUID, int, str], Awaitable[None]]
    requeue: Callable[[UUID], Awaitable[bool]]
    pairs: Mapping[str, PairLimit]
    uncorrelated: Callable[[UUID, str], Awaitable[bool]]


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[MessageDeps]:
    states: Batcher[Asked, MessageState] = Batcher(partial(messages.states, outside.pool))
    yield MessageDeps(
        senders=_senders(outside),
        state=states.submit,
        claim=partial(messages.claim, outside.pool),
        unclaim=partial(messages.unclaim, outside.pool),
        requeue=partial(_requeue, outside.pool),
        pairs={name: pair_limit(outside, name) for name in PAIRS},
        uncorrelated=partial(holds.uncorrelated, outside.pool, told=_told_of_cgb(outside.settings)),
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
        return ["CGB_API_STYLE=live"]
    return [name.upper() for name in _NEEDS.get(provider, {}).values() if getattr(settings, name) is None]


_NEEDS: Final[Mapping[str, Mapping[str, str]]] = {
    CGB: {"url": "cgb_api_url", "api_key": "cgb_api_key"},
    META: {"url": "meta_graph_url", "phone_number_id": "meta_phone_number_id", "access_token": "meta_access_token"},
    TWILIO: {
        "url": "twilio_api_url",
        "account_sid": "twilio_account_sid",
        "auth_token": "twilio_auth_token",
        "whatsapp_number": "twilio_whatsapp_number",
    },
    WHAPI: {"url": "whapi_api_url", "token": "whapi_token"},
}
"""Provider -> the values of its account, and the settings that hold them."""

_SECRETS: Final = frozenset({"cgb_api_key", "meta_access_token", "twilio_auth_token", "whapi_token"})


def _senders(outside: Outside) -> Mapping[tuple[str, str], Sender]:
    return {(name, DEFAULT): _sender(outside, name) for name in configured(outside.settings)}


def _sender(outside: Outside, provider: str) -> Sender:
    return SENDERS[provider]()(
        gate_to(outside, provider, _SYSTEMS[provider]),
        account=partial(_account, outside, provider),
        public_url=outside.settings.ferryman_public_url,
    )


def _account(outside: Outside, provider: str) -> Mapping[str, str]:
    """The values of the account of *provider*, with the secrets that are in force."""
    settings = outside.settings
    values = {
        name: outside.secret(setting) if setting in _SECRETS else str(getattr(settings, setting))
        for name, setting in _NEEDS[provider].items()
    }
    if provider == CGB:
        values |= {"cache_s": str(settings.cgb_cache_timeout)}
        values |= {f"template_{name}": flow for name, flow in settings.cgb_templates.items()}
    return values


def _duties(outside: Outside) -> Sequence[Duty]:
    looking = _senders(outside)
    return (
        *duties(outside),
        told_stops(outside),
        told_limits(outside, configured(outside.settings)),
        reconciling(outside.pool, lambda: looking, outside.now),
    )


MESSAGES: Final[Domain[MessageDeps]] = Domain(
    name="messages",
    opened=_opened,
    metrics=METRICS,
    scopes={name: SCOPES[name] for name in CHANNELS},
    duties=_duties,
)

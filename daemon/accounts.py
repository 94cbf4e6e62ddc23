"""The accounts at providers that more than one domain calls: the channel of each, what the settings tell of it, and the
gate to it.

All calls of one account stand in one line for its rate limit, over all processes, whichever domain makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import SecretStr

from adapters.channel import channel_of, scope_of
from daemon.bus.worker import Outside
from schemas.credentials import DEFAULT

if TYPE_CHECKING:
    from adapters.gate import Gate
    from adapters.redis.pair_limit import PairLimit
    from daemon.settings.model import Settings

CGB: Final = "cgb"
CHATWOOT: Final = "chatwoot"
META: Final = "meta"
OPENAI: Final = "openai"
TWILIO: Final = "twilio"
WHAPI: Final = "whapi"

SCOPES: Final = {
    CGB: "cgb:account",
    CHATWOOT: "chatwoot:account",
    META: "meta:sender",
    OPENAI: "openai:account",
    TWILIO: "twilio:sender",
    WHAPI: "whapi:channel",
}
"""Channel -> what its rate limit counts by. CGB limits the account as a whole, to 100 requests in 60 seconds by its
refusals."""

VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    CGB: {"url": "cgb_api_url", "api_key": "cgb_api_key"},
    CHATWOOT: {
        "url": "chatwoot_base_url",
        "api_access_token": "chatwoot_api_access_token",
        "account_id": "chatwoot_account_id",
        "inbox_id": "chatwoot_whatsapp_inbox_id",
    },
    META: {"url": "meta_graph_url", "phone_number_id": "meta_phone_number_id", "access_token": "meta_access_token"},
    TWILIO: {
        "url": "twilio_api_url",
        "account_sid": "twilio_account_sid",
        "auth_token": "twilio_auth_token",
        "whatsapp_number": "twilio_whatsapp_number",
    },
    WHAPI: {"url": "whapi_api_url", "token": "whapi_token"},
}
"""Channel -> the values of its account, and the settings that hold them."""

TIMEOUT_S: Final = 30.0
"""For one request to a provider without a setting of its own: the vendors' own clients wait as long."""

PER_SECOND: Final = 80
"""What Meta and Twilio take of one sender in a second, unless they have raised it."""

CHATWOOT_PER_SECOND: Final = 40
"""Of the 3,000 requests that Chatwoot takes of one address in a minute (chatwoot/chatwoot:
config/initializers/rack_attack.rb) four fifths: people work by the same address. It may be set lower there; then its
refusals pause us."""


OPENAI_PER_MINUTE: Final = 500
"""What OpenAI takes of a new account in a minute (platform.openai.com → Limits); its refusals say where it is less."""

LEASE_MARGIN_S: Final = 1.0
"""So long after the leases of a process could have run out, its waiting calls are forgotten at a rate limit."""


class Limit(NamedTuple):
    """*amount* requests in any *window_s* seconds."""

    amount: int
    window_s: float


PAIRS: Final = {META: (6.0, 45, 5.0)}
"""Channel -> how often it takes a message to one person: one in 6 seconds, and up to 45 at once within 6 seconds, which
are paid for afterwards. The burst ends a second earlier here, as a message is a while on its way."""


def lacking(settings: Settings, channel: str) -> list[str]:
    """The settings without which *channel* has no account, as they are to be given."""
    return [name.upper() for name in VALUES.get(channel, {}).values() if getattr(settings, name) is None]


def values_of(
    settings: Settings, secret: Callable[[str], str], channel: str, names: Iterable[str] | None = None
) -> Mapping[str, str]:
    """The values of the account of *channel* that the settings hold, or those of them with *names*. *secret*: gives a
    secret that is in force."""
    found = {name: (setting, getattr(settings, setting)) for name, setting in VALUES[channel].items()}
    return {
        name: secret(setting) if isinstance(value, SecretStr) else str(value)
        for name, (setting, value) in found.items()
        if value is not None and (names is None or name in names)
    }


def limit_of(channel: str, settings: Settings) -> Limit:
    """The rate limit of *channel*."""
    match channel:
        case "cgb":
            return Limit(settings.cgb_rate_per_minute, 60.0)
        case "whapi":
            return Limit(settings.whapi_rate_per_minute, 60.0)
        case "openai":
            return Limit(OPENAI_PER_MINUTE, 60.0)
        case "chatwoot":
            return Limit(CHATWOOT_PER_SECOND, 1.0)
    return Limit(PER_SECOND, 1.0)


def gate_to(outside: Outside, channel: str, system: str, account: str = DEFAULT) -> Gate:
    """The gate to an *account* of the provider *channel*. *system*: its name in errors. An account has a rate limit,
    breakers and a pause of its own."""
    from adapters.gate import Gate
    from adapters.redis.limits import RateLimiter

    limit = limit_of(channel, outside.settings)
    # with its leases a process's places in line are given up: else those behind them would wait for longer than those
    silent_s = outside.settings.ferryman_lease_seconds + LEASE_MARGIN_S
    limiter = RateLimiter(outside.redis, per_minute=limit.amount, window_s=limit.window_s, silent_s=silent_s)
    outside.at_end(limiter.close)
    return Gate(
        session=outside.session,
        channel=outside.channels[channel_of(channel, account)],
        limiter=limiter,
        scope=scope_of(SCOPES[channel], account),
        system=system,
        timeout_s=outside.settings.cgb_timeout / 1000 if channel == CGB else TIMEOUT_S,
    )


def pair_limit(outside: Outside, channel: str) -> PairLimit:
    """The limit of *channel* of messages to one person."""
    from adapters.redis.pair_limit import Pace, PairLimit

    return PairLimit(outside.redis, Pace(*PAIRS[channel]))

"""A gate to a made-up channel, for tests of what speaks to an outside system."""

from __future__ import annotations

from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.gate import Gate
from adapters.redis.limits import RateLimiter


def gate_on(
    session: ClientSession,
    *,
    limiter: RateLimiter | None = None,
    channel: Channel | None = None,
    timeout_s: float = 5.0,
) -> Gate:
    """A gate without a rate limit and with closed breakers, where nothing else is given."""
    return Gate(
        session=session,
        channel=channel or Channel("cgb"),
        limiter=limiter or RateLimiter(None, per_minute=None),
        scope="cgb:account",
        system="CGB",
        timeout_s=timeout_s,
    )

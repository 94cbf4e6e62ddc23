"""What every probe does alike: one read with a deadline, and which failures say that the address is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import ClientSession

from adapters.http import Reply, exchange
from schemas.cleaned import visible
from schemas.errors import FerrymanError

TIMEOUT_S: Final = 10.0
"""For one read: an operator waits for it."""

LONGEST_NAME: Final = 80
"""Characters of a name from outside that a line shows."""

_NO_WAY: Final = ("no-connection", "no-answer", "connection-broke", "no-url", "http-3", "http-404", "http-405")
"""How our codes begin where nobody was there who could have understood."""

_NO_API: Final = frozenset({"not-json", "other-shape", "too-long"})
"""Our codes for an answer that no API gives."""


async def ask(
    session: ClientSession,
    url: str,
    *,
    system: str,
    headers: Mapping[str, str],
    params: Mapping[str, str] | None = None,
) -> Reply:
    """GET *url*. Raises as `exchange` does for a read."""
    return await exchange(session, "GET", url, system=system, timeout_s=TIMEOUT_S, headers=headers, params=params)


def no_way(error: FerrymanError) -> bool:
    """Whether *error* may come from a wrong address."""
    return error.code.startswith(_NO_WAY) or error.code in _NO_API


def named(value: object) -> str:
    """A name that an account has, fit for a line; "" where there is none."""
    return visible(value)[:LONGEST_NAME].strip() if isinstance(value, str) else ""

"""The account's flows by their names, as far as they are known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from adapters.cgb.answers import inner, is_list, text_id
from adapters.cgb.client import CgbCalls
from adapters.http import coded
from schemas.errors import Refused

AGAIN_S: Final = 60.0
"""A name that is not in the list is looked for in a new one, once the list is older than that."""

_LONGEST_LIST: Final = 200


class Flow(NamedTuple):
    """A flow by its *id*. *remembered*: it comes from a list that may have changed since."""

    id: str
    remembered: bool


class Row(NamedTuple):
    """A flow, as the list has it."""

    id: str
    name: str


class FlowList:
    """The list of flows, at most *cache_s* seconds old; callers at the same time share one call."""

    def __init__(self, calls: CgbCalls, *, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._cache_s = cache_s
        self._clock = clock
        self._rows: list[Row] = []
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def find(self, name: str) -> Flow | None:
        """The flow of that name: exactly, else whatever its case, else the only one whose name holds it; None where
        there is none. One call at most.

        Raises: Refused where the name means several; what the call raises.
        """
        fresh = await self._younger_than(self._cache_s)
        found = _match(self._rows, name)
        if found is None and not fresh:
            fresh = await self._younger_than(min(AGAIN_S, self._cache_s))
            found = _match(self._rows, name)
        return None if found is None else Flow(found.id, remembered=not fresh)

    async def every(self) -> list[Row]:
        """All flows, by a list that is at most *cache_s* seconds old."""
        await self._younger_than(self._cache_s)
        return list(self._rows)

    def forget(self) -> None:
        """The account has other flows by now."""
        self._fetched_at = float("-inf")

    async def _younger_than(self, age_s: float) -> bool:
        """See to a list that is not older than *age_s* seconds; returns whether it was asked for just now."""
        began = self._clock()
        if began - self._fetched_at < age_s:
            return False
        async with self._fetching:
            if self._fetched_at < began:
                answer = await self._calls.ask("GET", "/accounts/flows", own=True, shape=_is_flow_list)
                self._rows, self._fetched_at = _rows_of(answer), self._clock()
        return True


def _match(rows: list[Row], name: str) -> Row | None:
    wanted = name.casefold()
    for found in (
        [row for row in rows if row.name == name],
        [row for row in rows if row.name.casefold() == wanted],
        [row for row in rows if wanted in row.name.casefold()],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            error = Refused("CGB: several flows have a name like this template's: name one of them whole")
            error.said = ", ".join(f"{row.name} ({row.id})" for row in found)[:_LONGEST_LIST]
            raise coded(error, "flow-ambiguous")
    return None


def _is_flow_list(answer: Any) -> bool:
    return is_list(answer) and bool(_rows_of(answer)) == bool(inner(answer))


def _rows_of(answer: Any) -> list[Row]:
    return [
        Row(flow_id, name.strip())
        for row in inner(answer)
        if isinstance(name := row.get("name"), str) and (flow_id := text_id(row.get("id")))
    ]

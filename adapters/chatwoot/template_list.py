"""The approved templates of the WhatsApp inbox, as Chatwoot knows them.

Chatwoot sends a template that it does not know without its variables, and leaves out variables that are blank: either
is refused later by WhatsApp, when the message counts as sent. So a template is looked for before.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.chatwoot.client import ChatwootCalls

AGAIN_S: Final = 60.0
"""A template that is not in the list is looked for in a new one, once the list is older than that."""

PLACE: Final = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,100})\s*\}\}")
"""A place that a variable fills."""


@dataclass(frozen=True, slots=True)
class Known:
    """A template. *header*: what its header shows (`TEXT`, `IMAGE`, `VIDEO`, `DOCUMENT`), None where nothing is to be
    given for it. *body*: its text, with its places. *buttons*: the numbers of those whose address has a place."""

    name: str
    language: str
    category: str
    header: str | None
    body: str
    buttons: tuple[int, ...]

    @property
    def places(self) -> frozenset[str]:
        """The names of the places in the body: `1`, `2`, …, or words."""
        return frozenset(PLACE.findall(self.body))


class TemplateList:
    """The list, at most *cache_s* seconds old; callers at the same time share one call."""

    def __init__(self, calls: ChatwootCalls, *, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._cache_s = cache_s
        self._clock = clock
        self._templates: list[Known] | None = None
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def named(self, name: str) -> list[Known] | None:
        """The templates of that name, one for each language; None where the inbox does not tell its templates. One call
        at most. Raises: what the call raises."""
        await self._see_to(self._cache_s)
        if not (found := self._of(name)):
            await self._see_to(min(AGAIN_S, self._cache_s))
            found = self._of(name)
        return found

    def _of(self, name: str) -> list[Known] | None:
        return None if self._templates is None else [one for one in self._templates if one.name == name]

    async def _see_to(self, age_s: float) -> None:
        """See to a list that is not older than *age_s* seconds."""
        began = self._clock()
        if began - self._fetched_at < age_s:
            return
        async with self._fetching:
            if self._fetched_at < began:
                told = await self._calls.glance(f"/inboxes/{self._calls.inbox_id}", read_inbox)
                self._templates = told[0] if told is not None else None
                self._fetched_at = self._clock()


def read_inbox(data: Any) -> tuple[list[Known] | None] | None:
    """What an inbox tells of its templates: nothing, where it is none of WhatsApp's."""
    if not isinstance(data, dict):
        return None
    rows = data.get("message_templates")
    if not isinstance(rows, list):
        return (None,)
    return ([found for row in rows if (found := _known(row)) is not None],)


def _known(row: Any) -> Known | None:
    if not isinstance(row, dict) or str(row.get("status", "")).lower() != "approved":
        return None
    name, language, components = row.get("name"), row.get("language"), row.get("components")
    if not isinstance(name, str) or not isinstance(language, str) or not isinstance(components, list):
        return None
    parts = {str(part.get("type", "")).upper(): part for part in components if isinstance(part, dict)}
    category, body = row.get("category"), parts.get("BODY", {}).get("text")
    return Known(
        name=name,
        language=language,
        category=category if isinstance(category, str) and category else "UTILITY",
        header=_header(parts.get("HEADER", {})),
        body=body if isinstance(body, str) else "",
        buttons=_buttons(parts.get("BUTTONS", {})),
    )


def _header(part: Mapping[str, Any]) -> str | None:
    kind = str(part.get("format", "")).upper()
    if kind == "TEXT":
        return kind if PLACE.search(str(part.get("text", ""))) else None
    return kind if kind in ("IMAGE", "VIDEO", "DOCUMENT") else None


def _buttons(part: Mapping[str, Any]) -> tuple[int, ...]:
    rows = part.get("buttons")
    found = enumerate(rows if isinstance(rows, list) else ())
    return tuple(at for at, row in found if isinstance(row, dict) and PLACE.search(str(row.get("url", ""))))

"""The account's custom fields, as far as they are known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextvars import Context
from typing import Any

import structlog

from adapters.cgb.answers import inner, is_list, text_id
from adapters.cgb.client import CgbCalls

log = structlog.get_logger(__name__)


class FieldList:
    """The list of fields, at most *cache_s* seconds old; callers at the same time share one call.

    *wanted*: the names that we would write. The first list that lacks some of them is told in the log.
    """

    def __init__(self, calls: CgbCalls, *, cache_s: float, wanted: Iterable[str]) -> None:
        self._calls = calls
        self._cache_s = cache_s
        self._wanted = frozenset(wanted)
        self._ids: dict[str, str] = {}
        self._until = 0.0
        self._fetching: asyncio.Task[dict[str, str]] | None = None
        self._warned = False
        self.missing: frozenset[str] = frozenset()
        """The wanted names that the account lacked when it was last asked."""

    async def ids(self) -> dict[str, str]:
        """Name -> id."""
        if time.monotonic() < self._until:
            return self._ids
        if self._fetching is None:
            # All callers share the task, so it runs in no caller's context: the permit of one event must not stop it.
            self._fetching = asyncio.create_task(self._fetch(), name="cgb-custom-fields", context=Context())
            self._fetching.add_done_callback(self._fetched)
        # Shielded: one caller's cancellation must not fail the others.
        return await asyncio.shield(self._fetching)

    async def _fetch(self) -> dict[str, str]:
        answer = await self._calls.ask("GET", "/accounts/custom_fields", own=True, shape=_is_field_list)
        ids = _ids_of(answer)
        self._ids, self._until = ids, time.monotonic() + self._cache_s
        self.missing = self._wanted - ids.keys()
        if self.missing and not self._warned:
            self._warned = True
            log.warning("cgb.fields_missing", fields=sorted(self.missing))
        return ids

    def _fetched(self, task: asyncio.Task[dict[str, str]]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # marks the error as seen, in case every caller is gone


def _is_field_list(answer: Any) -> bool:
    return is_list(answer) and bool(_ids_of(answer)) == bool(inner(answer))


def _ids_of(answer: Any) -> dict[str, str]:
    return {
        row["name"]: field_id
        for row in inner(answer)
        if isinstance(row.get("name"), str) and (field_id := text_id(row.get("id")))
    }

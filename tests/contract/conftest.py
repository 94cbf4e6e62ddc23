"""What the contract tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from daemon.sandbox.chatwoot import ChatwootSandbox, Requested
from tests.support import chatwoot_openapi


@cache
def _published() -> dict[str, Any] | None:
    return chatwoot_openapi.document()


@pytest.fixture(autouse=True)
def as_chatwoot_describes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every request that a test makes to the simulator of Chatwoot is as Chatwoot's own description has it, where that
    is here."""
    seen: list[Requested] = []
    leave = ChatwootSandbox.__aexit__

    async def noting(sandbox: ChatwootSandbox, *why: object) -> None:
        seen.extend(sandbox.requests)
        await leave(sandbox, *why)

    monkeypatch.setattr(ChatwootSandbox, "__aexit__", noting)
    yield
    if seen and (published := _published()) is not None:
        assert chatwoot_openapi.faults(published, seen) == []

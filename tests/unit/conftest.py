"""Shared by the unit tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aioresponses.core as core
import pytest
from aiohttp import ClientResponse


class _Response(ClientResponse):
    """aioresponses 0.7.9 does not know the `stream_writer` that aiohttp 3.14 asks for (its issue 289)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture(autouse=True)
def _aioresponses_on_aiohttp_3_14(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "ClientResponse", _Response)

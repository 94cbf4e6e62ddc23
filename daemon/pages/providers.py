"""Providers: can we send, and if not, why."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from daemon.operator import live
from daemon.operator.live import Looked
from daemon.operator.status import StoresAway, read_status
from daemon.pages.visit import Visit


async def page(visit: Visit) -> web.Response:
    """How each channel is, over all processes, and what waits for it."""
    return await _shown(visit)


async def probe(visit: Visit) -> web.Response:
    """Look at the accounts of the settings themselves, by harmless reads, and show what they say."""
    return await _shown(visit, await live.look_at_accounts(visit.in_force.settings))


async def _shown(visit: Visit, looked: list[Looked] | None = None) -> web.Response:
    told: dict[str, Any] | None = None
    wrong = ""
    try:
        told = await read_status(visit.settings)
    except StoresAway as exc:
        wrong = f"Neither store answers: {exc}"
    names = sorted({*told["senders"], *told["providers"]}) if told else []
    return visit.page(
        "providers.html", status=503 if wrong else 200, told=told, names=names, looked=looked, wrong=wrong
    )

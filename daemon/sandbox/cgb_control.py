"""How the CGB simulator is steered from another process: HTTP under `/_sandbox/`, without a token.

GET ledger, faults, contacts, messages. POST faults (`{"faults": [{"kind": …}], "switches": {…}, "clear":
true}`; names as in `Fault` and `Switches`), contacts (`{"phone", "first_name", "email", "values"}`), inbound
(`{"phone"}`: the person writes, which opens the 24-hour window), reset.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from daemon.sandbox.cgb_account import bare
from daemon.sandbox.faults import body_json, fault_from_json

if TYPE_CHECKING:
    from daemon.sandbox.cgb import CgbSandbox


def control_routes(sandbox: CgbSandbox) -> list[web.RouteDef]:
    """The control endpoints of *sandbox*."""
    return _Controls(sandbox).routes()


class _Controls:
    def __init__(self, sandbox: CgbSandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_sandbox/ledger", self._show_ledger),
            web.get("/_sandbox/faults", self._show_faults),
            web.post("/_sandbox/faults", self._set_faults),
            web.get("/_sandbox/contacts", self._show_contacts),
            web.post("/_sandbox/contacts", self._seed_contact),
            web.get("/_sandbox/messages", self._show_messages),
            web.post("/_sandbox/inbound", self._inbound),
            web.post("/_sandbox/reset", self._reset),
        ]

    async def _show_ledger(self, request: web.Request) -> web.Response:
        return web.json_response({**self._sandbox.ledger.as_json(), "connections": self._sandbox.connections})

    async def _show_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": self._sandbox.faults.as_json(), "switches": asdict(self._sandbox.switches)})

    async def _set_faults(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        if not isinstance(asked, dict):
            raise web.HTTPBadRequest(text="not a JSON object")
        try:
            new = [fault_from_json(how) for how in asked.get("faults", [])]
            if asked.get("clear"):
                self._sandbox.faults.clear()
            self._sandbox.switch(asked.get("switches", {}))
        except (ValueError, TypeError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        self._sandbox.faults.active.extend(new)
        return await self._show_faults(request)

    async def _show_contacts(self, request: web.Request) -> web.Response:
        return web.json_response(
            [asdict(c) | {"tags": sorted(c.tags)} for c in self._sandbox.account.contacts.values()]
        )

    async def _seed_contact(self, request: web.Request) -> web.Response:
        asked: Any = body_json(await request.read())
        contact = self._sandbox.account.make(asked.pop("phone"), **asked)
        return web.json_response({"id": contact.id})

    async def _show_messages(self, request: web.Request) -> web.Response:
        return web.json_response({"accepted": self._sandbox.statuses.accepted, "statuses": self._sandbox.statuses.sent})

    async def _inbound(self, request: web.Request) -> web.Response:
        asked: Any = body_json(await request.read())
        digits = bare(str(asked["phone"]))
        contact = self._sandbox.account.contacts.get(digits) or self._sandbox.account.make(digits)
        contact.last_message_at = time.time()
        return web.json_response({"id": contact.id})

    async def _reset(self, request: web.Request) -> web.Response:
        self._sandbox.reset()
        return web.json_response({})

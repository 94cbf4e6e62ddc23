"""A simulated CGB that also notes the order number of each write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.faults import body_json
from daemon.sandbox.ledger import WRITES, Asked


@dataclass(frozen=True, slots=True)
class Written:
    """A write that the simulated CGB performed. *order_id*: the order number among its fields."""

    contact: str
    order_id: str
    action: str


class Recorder(CgbSandbox):
    """The simulated CGB; *written* has the writes that it performed."""

    def __init__(self) -> None:
        super().__init__("live")
        self.switches.limit = None
        self.written: list[Written] = []

    async def _perform(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        answer = await super()._perform(request, handler, entry)
        if entry.performed and entry.action in WRITES:
            self.written.append(Written(entry.contact, _order_number(body_json(await request.read())), entry.action))
        return answer


def _order_number(body: Any) -> str:
    actions = body.get("actions", []) if isinstance(body, dict) else []
    return next((str(a.get("value")) for a in actions if a.get("field_name") == "OrderNumber"), "")

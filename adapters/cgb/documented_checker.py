"""The question of CGB's older documents whether a number is on WhatsApp. The running service has no such call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.cgb.client import CgbCalls, Rejection
from adapters.gate import Gate
from schemas.phone import Phone


class DocumentedCgbChecker:
    """The `NumberChecker` of a gateway built to the documents; a call asks for one number. What *api_key* gives goes
    into `Authorization: Bearer`."""

    most = 1

    def __init__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str]) -> None:
        self._calls = CgbCalls(gate, base_url, lambda: {"Authorization": f"Bearer {api_key()}"}, account=None)

    async def check(self, phones: Sequence[Phone]) -> list[bool | None]:
        """What the gateway says of the one number. None where it has no such call, or no clear answer."""
        (phone,) = phones
        try:
            answer = await self._calls.ask("GET", f"/whatsapp/validate/{phone.digits}", about=phone.digits)
        except Rejection as refusal:
            if refusal.not_found:
                return [None]
            raise
        valid = answer.get("valid") if isinstance(answer, dict) else None
        return [valid if isinstance(valid, bool) else None]

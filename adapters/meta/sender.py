"""The sender of Meta's Cloud API."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.gate import Gate
from adapters.meta import bodies
from adapters.meta.client import MetaCalls
from adapters.ports import Claim
from schemas.errors import Refused
from schemas.messages import Content, OutboundMessage, Taken
from schemas.phone import Phone


class MetaSender:
    """The `Sender` of one number of a WhatsApp Business account.

    Values of the account: `url`: of the Graph API, with its version (META_GRAPH_URL); `phone_number_id`: of the sending
    number (META_PHONE_NUMBER_ID); `access_token` (META_ACCESS_TOKEN).

    Up to three choices with titles of at most 20 characters are buttons, others a list that `Choose` opens. Files go by
    their address. `schemas/template_parts.py` says how variables fill a template. Our id of a message comes back in
    each of its statuses, as `biz_opaque_callback_data`: a message whose answer was lost is found by it.
    """

    def __init__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]], public_url: str | None = None) -> None:
        self._calls = MetaCalls(gate, account)

    @staticmethod
    def refusal(content: Content) -> str | None:
        """See `Sender`."""
        return bodies.refusal(content)

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See `Sender`; one call."""
        if why := self.refusal(message.content):
            raise Refused(why)
        body = {**_to(message.to), "biz_opaque_callback_data": str(message.id), **bodies.body_of(message.content)}
        return await self._calls.send(body, about=message.to.e164, claim=claim)

    async def react(self, to: Phone, message_id: str, emoji: str | None) -> Taken:
        """React to the message *message_id* of *to*; None takes the reaction back. One call, which changes nothing
        where it is made again. Raises as `send`."""
        reaction = {"message_id": message_id, "emoji": emoji or ""}
        return await self._calls.send({**_to(to), "type": "reaction", "reaction": reaction}, about=to.e164, claim=None)

    async def mark_read(self, message_id: str) -> None:
        """Show the person that their message *message_id*, and those before it, have been read. One call. Raises as
        `send`, but never Uncertain."""
        await self._calls.mark({"status": "read", "message_id": message_id})


def _to(phone: Phone) -> dict[str, str]:
    return {"recipient_type": "individual", "to": phone.e164}

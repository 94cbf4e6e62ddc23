"""Messages by a WhatsApp inbox of Chatwoot.

Chatwoot answers before WhatsApp has the message: what is not delivered is told in the conversation later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from adapters.chatwoot import bodies, templates
from adapters.chatwoot.answers import message_made
from adapters.chatwoot.bodies import LARGEST_FILE
from adapters.chatwoot.client import ChatwootCalls, NotThere
from adapters.chatwoot.marks import marked
from adapters.chatwoot.recipients import Recipients, later
from adapters.chatwoot.template_list import TemplateList
from adapters.gate import Gate
from adapters.http import Part, coded
from adapters.ports import Claim, Files
from schemas.errors import OutsideWindow, Refused
from schemas.messages import Choices, Content, Media, OutboundMessage, Reaction, Taken, Template, Text
from schemas.webhooks.chatwoot import MARKER

CACHE_S: Final = 3600.0

CLOCKS_DIFFER_S: Final = 300.0
"""By so much Chatwoot's clock may be behind ours."""

_CLOSED: Final = (
    "Chatwoot: outside the customer-service window: the person has not written within 24 hours; send a template"
)


class ChatwootSender:
    """The `Sender` of a WhatsApp inbox of a Chatwoot account.

    *account* has `url`, the address of the installation, `token`, `account_id` and `inbox_id`; it may have `cache_s`,
    for how many seconds conversations and templates are remembered. *files*: fetches the files that are sent; without
    it none is sent. Each message carries our id in its `content_attributes`, by which `look_for` finds it.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        account: Callable[[], Mapping[str, str]],
        public_url: str | None,
        files: Files | None = None,
    ) -> None:
        cache_s = float(account().get("cache_s", CACHE_S))
        self._calls = ChatwootCalls(gate, account)
        self._recipients = Recipients(self._calls, cache_s=cache_s)
        self._templates = TemplateList(self._calls, cache_s=cache_s)
        self._files = files

    @staticmethod
    def refusal(content: Content) -> str | None:
        """See `Sender`. Whether there is such a template only Chatwoot knows: `send` asks."""
        return bodies.refusal(content)

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See `Sender`. Before it the template is looked for, the conversation found or made, and the file fetched.

        A conversation that Chatwoot does not find any more is Transient: the next call looks anew.
        Raises besides: OutsideWindow.
        """
        content = message.content
        if why := self.refusal(content):
            raise Refused(f"Chatwoot: {why}")
        prepared = await self._prepared(content)
        free = not isinstance(content, Template)
        place = await self._recipients.place(message.to, message.name, free=free, named=message.conversation)
        if free and not place.can_reply:
            raise OutsideWindow(_CLOSED)
        body = await self._body(message, prepared)
        path = f"/conversations/{place.conversation_id}/messages"
        try:
            id = await self._calls.send(path, body, message_made, about=message.to.digits, claim=claim)
        except NotThere as gone:
            self._recipients.forget(message.to)
            raise later(gone, "the conversation is looked for anew") from None
        return Taken(str(id))

    async def look_for(self, message: OutboundMessage, since: datetime) -> Taken | None:
        """Whether Chatwoot has *message*, of which a call not before *since* may have made it; None: it is not there.

        Changes nothing. Raises: Transient where Chatwoot does not tell; what the calls raise besides.
        """
        earliest = since.timestamp() - CLOCKS_DIFFER_S
        try:
            for conversation in await self._recipients.existing(message.to, message.conversation):
                if not 0 < conversation.active_at < earliest:
                    about, id = message.to.digits, str(message.id)
                    found = await marked(self._calls, conversation.id, MARKER, id, earliest, about=about)
                    if found is not None:
                        return Taken(str(found))
        except NotThere as gone:
            raise later(gone, "the conversation is looked for anew") from None
        return None

    async def _prepared(self, content: Content) -> Mapping[str, Any] | None:
        """What is known of the message before anybody is looked for: its template. Raises: Refused, by which a message
        that cannot be sent makes no contact."""
        match content:
            case Template(name):
                known = templates.chosen(content, await self._templates.named(name.strip()))
                return templates.body_of(content, known)
            case Media() if self._files is None:
                raise coded(Refused("Chatwoot: files cannot be fetched here: send a text with the address"), "no-files")
        return None

    async def _body(
        self, message: OutboundMessage, prepared: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | Sequence[Part]:
        match message.content:
            case Text() as text:
                return bodies.text(text, message.id)
            case Choices() as choices:
                return bodies.choices(choices, message.id)
            case Template():
                assert prepared is not None
                return bodies.template(prepared, message.id)
            case Media() as media:
                assert self._files is not None
                file = await self._files.fetch(media.url, LARGEST_FILE[media.type])
                return bodies.media(media, file, message.id)
            case Reaction():
                raise AssertionError("a reaction was refused before")

"""Messages by CGB: to a contact, in the words of the running service.

CGB gives a message no id, and takes none of ours. Its answer means that it has taken the message, not that WhatsApp
has: free text outside the customer-service window stays in CGB's inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapters.cgb.answers import is_done
from adapters.cgb.client import CgbCalls, Rejection
from adapters.cgb.flow_list import Flow, FlowList
from adapters.cgb.live_directory import LiveCgb
from adapters.cgb.recipients import Recipients, repeatable
from adapters.gate import Gate
from adapters.http import coded
from adapters.ports import Claim, Files
from schemas.errors import Refused, Transient
from schemas.messages import Choices, Content, Media, OutboundMessage, Reaction, Taken, Template, Text
from schemas.phone import Phone
from schemas.template_parts import components_of, why_unusable

TEXT_LENGTH: Final = 4096
"""What WhatsApp takes, in characters; CGB names no limit."""

SETTLE_S: Final = 1.5
"""A flow that is sent sooner after a contact's fields were written may read the old ones (observed: up to a second)."""

CACHE_S: Final = 3600.0
TEMPLATE: Final = "template_"
WHATSAPP: Final = {"channel": "whatsapp"}

_DOCUMENTED: Final = "CGB's documents have no call that sends: set CGB_API_STYLE=live, or name another provider"


class _Call(NamedTuple):
    """The call that sends. *path*: below the contact's. *flow*: what it sends, where that is one."""

    path: str
    json: Mapping[str, Any] | None
    flow: Flow | None = None


class CgbSender:
    """The `Sender` of a CGB account.

    *account* has `url`, which ends in `/api`, and `api_key`; it may have `style` (`live` where it is not given;
    `documented` sends nothing), `cache_s`, for how many seconds contacts, flows and names of fields are remembered,
    and, for the template NAME in lower case, `template_NAME`: the id of its flow.
    """

    def __init__(
        self, gate: Gate, *, account: Callable[[], Mapping[str, str]], public_url: str | None, files: Files
    ) -> None:
        first = account()
        base_url, cache_s = first["url"], float(first.get("cache_s", CACHE_S))
        self._account = account
        self._calls = CgbCalls(gate, base_url, lambda: {"X-ACCESS-TOKEN": account()["api_key"]}, account="/accounts/me")
        self._directory = LiveCgb(gate, base_url=base_url, api_key=lambda: account()["api_key"], cache_s=cache_s)
        self._recipients = Recipients(self._directory, cache_s=cache_s)
        self._flows = FlowList(self._calls, cache_s=cache_s)

    @staticmethod
    def refusal(content: Content) -> str | None:
        """See Sender. Whether there is such a template only CGB knows: `send` asks."""
        match content:
            case Text(body):
                return _text_refusal(body)
            case Media():
                return _media_refusal(content)
            case Template(name):
                return None if name.strip() else "the template has no name: give that of a flow or of a template"
            case Choices():
                return "CGB has no call for choices: let a flow ask, and send that as a template"
            case Reaction():
                return "CGB has no call for reactions: send a text"

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See Sender. Before it the contact is found or made, the flow looked for, and its variables written.

        A contact or a flow that was remembered, and that CGB does not find, is Transient: the next call looks anew.
        """
        documented = self._account().get("style", "live") != "live"
        if (why := _DOCUMENTED if documented else self.refusal(message.content)) is not None:
            raise Refused(f"CGB: {why}")
        call = await self._call_for(message.content, message.to)
        contact = await self._recipients.of(message.to, message.name)
        try:
            if isinstance(message.content, Template) and call.flow is not None:
                await self._write(contact.id, message.content.variables)
            path = f"/contacts/{quote(contact.id, safe='')}{call.path}"
            await self._calls.ask("POST", path, json=call.json, shape=is_done, about=message.to.digits, claim=claim)
        except Rejection as refusal:
            if not refusal.says_not_found:
                raise
            self._recipients.forget(message.to)
            self._flows.forget()
            if contact.remembered or (call.flow is not None and call.flow.remembered):
                raise _gone(refusal) from None
            raise
        return Taken(None)

    async def _call_for(self, content: Content, to: Phone) -> _Call:
        match content:
            case Text(body):
                return _Call("/send/text", {"text": body} | WHATSAPP)
            case Media(url, type):  # CGB takes no name for the file
                return _Call("/send/file", {"url": url, "type": type} | WHATSAPP)
            case Template():
                return await self._template(content, to)
            case Choices() | Reaction():
                raise AssertionError("choices and reactions were refused before")

    async def _template(self, template: Template, to: Phone) -> _Call:
        """The flow that the operator has set for *template*, else the account's flow of that name, else WhatsApp's own
        template. Raises: Refused where it is none of them."""
        name = template.name.strip()
        set_id = self._account().get(f"{TEMPLATE}{name.lower()}")
        flow = await self._flows.find(name) if set_id is None else Flow(set_id, remembered=False)
        if flow is not None:
            return _Call(f"/send/{quote(flow.id, safe='')}", None, flow)
        if template.language is None:
            text = "CGB: no flow has this template's name: set CGB_TEMPLATE_<NAME>, or give the language of a template"
            raise coded(Refused(f"{text} of WhatsApp"), "no-template")
        return _Call("/send_content", {"messages": [_in_meta_s_form(template, template.language, to)]} | WHATSAPP)

    async def _write(self, contact_id: str, variables: Mapping[str, str]) -> None:
        """Write *variables* into the contact's fields of these names, which a flow reads; the account may lack some."""
        if not variables:
            return
        with repeatable():
            known = await self._directory.field_names()
            fields = {name: value for name, value in variables.items() if name in known}
            if fields:
                await self._directory.update(contact_id, fields)
                await asyncio.sleep(SETTLE_S)


def _in_meta_s_form(template: Template, language: str, to: Phone) -> dict[str, Any]:
    """A template of WhatsApp, as its own API takes it. Raises: Refused where the variables are of no one form."""
    if (why := why_unusable(template.variables)) is not None:
        raise coded(Refused(f"CGB: {why}"), "variables")
    shown: dict[str, Any] = {"name": template.name.strip(), "language": {"code": language}}
    if components := components_of(template.variables):
        shown["components"] = components
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to.digits,
        "type": "template",
        "template": shown,
    }


def _gone(refusal: Rejection) -> Transient:
    """*refusal* of a contact or a flow that was there when it was last looked for."""
    again = Transient(f"{refusal}: the contact or the flow is not there any more, and is looked for anew")
    again.said, again.channel, again.operation = refusal.said, refusal.channel, refusal.operation
    again.answered = True
    return coded(again, refusal.code)


def _text_refusal(text: str) -> str | None:
    if not text.strip():
        return "the text is empty: write one"
    if len(text) > TEXT_LENGTH:
        return f"the text has {len(text)} characters, and at most {TEXT_LENGTH} are taken: shorten or split it"
    return None


def _media_refusal(media: Media) -> str | None:
    if not media.url.startswith(("https://", "http://")):
        return "the address of the file does not start with https://: give one that CGB can fetch"
    if media.caption:
        return "CGB sends a file without a caption: send it as a text of its own"
    return None

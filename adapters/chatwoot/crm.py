"""Chatwoot as a CRM: contacts, conversations, labels, attributes and private notes of one account.

Labels of a conversation are written as a whole list: a body without them clears all. In what is written, a comma parts
two labels, so a label that has one is put in quotes (acts-as-taggable-on reads the list).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from adapters.chatwoot import wording
from adapters.chatwoot.answers import message_made
from adapters.chatwoot.client import ChatwootCalls
from adapters.chatwoot.crm_answers import account_label_made, account_labels, custom_attributes, done, labels, talk
from adapters.chatwoot.marks import marked
from adapters.chatwoot.recipients import Recipients
from adapters.conversation_ports import CrmPlace, CrmTalk
from adapters.gate import Gate
from adapters.http import coded
from schemas.errors import Exists, Refused, Transient
from schemas.phone import Phone

T = TypeVar("T")

NOTE_MARKER: Final = "ferryman_note"
"""Among a private note's `content_attributes`: what it was written for. It is another one than that of messages, whose
fate is followed."""

CACHE_S: Final = 60.0
"""For so long the conversation of a phone is remembered: shorter than a sender does, as the one that is found was
perhaps resolved since."""

CLOCKS_DIFFER_S: Final = 300.0
LONGEST_NOTE: Final = 20_000
_ACCOUNT: Final = "account"


async def _unclaimed() -> None:
    """A note goes to nobody outside."""


class ChatwootCrm:
    """The `Crm` of a Chatwoot account. *account*: as of `ChatwootSender`."""

    def __init__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._calls = ChatwootCalls(gate, account)
        self._recipients = Recipients(self._calls, cache_s=CACHE_S)

    async def place(self, phone: Phone, name: str | None) -> CrmPlace:
        """See `Crm`."""
        found = await self._recipients.place(phone, name, free=False)
        return CrmPlace(found.conversation_id, found.contact_id)

    def forget(self, phone: Phone) -> None:
        """See `Crm`."""
        self._recipients.forget(phone)

    async def labels(self, conversation_id: int) -> list[str]:
        """See `Crm`."""
        return await self._of(conversation_id, "GET", "/labels", labels)

    async def put_labels(self, conversation_id: int, given: Sequence[str]) -> list[str]:
        """See `Crm`."""
        body = {"labels": [_quoted(label) for label in given]}
        return await self._of(conversation_id, "POST", "/labels", labels, body)

    async def account_labels(self) -> Mapping[str, str]:
        """See `Crm`."""
        return await self._calls.of_record("GET", "/labels", account_labels, about=_ACCOUNT, known=False)

    async def make_label(self, title: str, color: str, description: str) -> bool:
        """See `Crm`. Only an administrator may."""
        body = {"title": title, "description": description, "color": color, "show_on_sidebar": True}
        make = partial(self._calls.of_record, "POST", "/labels", account_label_made, about=_ACCOUNT, json=body)
        with suppress(Exists):
            return await _allowed(make, "make account labels: an administrator's token may")
        return False

    async def put_contact_attributes(self, contact_id: int, attributes: Mapping[str, Any]) -> None:
        """See `Crm`. Chatwoot merges them at their first level."""
        path, body = f"/contacts/{contact_id}", {"custom_attributes": dict(attributes)}
        write = partial(self._calls.of_record, "PUT", path, done, about=f"contact:{contact_id}", json=body)
        await _allowed(write, "change this contact")

    async def talk(self, conversation_id: int) -> CrmTalk:
        """See `Crm`."""
        return await self._of(conversation_id, "GET", "", talk)

    async def put_conversation_attributes(
        self, conversation_id: int, attributes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """See `Crm`. Releases after v4.16.2 know `merge`; older ones take no notice of it."""
        body = {"custom_attributes": dict(attributes), "merge": True}
        return await self._of(conversation_id, "POST", "/custom_attributes", custom_attributes, body)

    async def open(self, conversation_id: int) -> None:
        """See `Crm`."""
        await self._of(conversation_id, "POST", "/toggle_status", done, {"status": "open"})

    async def note(self, conversation_id: int, text: str, mark: str, since: datetime) -> None:
        """See `Crm`."""
        about, earliest = f"conversation:{conversation_id}", since.timestamp() - CLOCKS_DIFFER_S
        if await marked(self._calls, conversation_id, NOTE_MARKER, mark, earliest, about=about) is not None:
            return
        body = {
            "content": wording.stored(text[:LONGEST_NOTE]),
            "message_type": "outgoing",
            "private": True,
            "content_attributes": {NOTE_MARKER: mark},
        }
        path = f"/conversations/{conversation_id}/messages"
        await self._calls.send(path, body, message_made, about=about, claim=_unclaimed)

    async def _of(
        self,
        conversation_id: int,
        method: str,
        path: str,
        read: Callable[[Any], T | None],
        json: Mapping[str, Any] | None = None,
    ) -> T:
        """A call on a conversation."""
        whole, about = f"/conversations/{conversation_id}{path}", f"conversation:{conversation_id}"
        call = partial(self._calls.of_record, method, whole, read, about=about, json=json)
        return await _allowed(call, "see or change this conversation: make them an agent of its inbox")


async def _allowed(call: Callable[[], Awaitable[T]], what: str) -> T:
    """What *call* returns. A role that is missing is answered 401, as a wrong token is; where the inbox can be read,
    the token is right. Raises: Refused then."""
    try:
        return await call()
    except Transient as error:
        if error.code not in ("http-401", "http-403"):
            raise
        refused = coded(Refused(f"Chatwoot: the token's owner may not {what}"), error.code)
        refused.said, refused.channel, refused.operation = error.said, error.channel, error.operation
        raise refused from None


def _quoted(label: str) -> str:
    """*label* as one of a list that is parted by commas."""
    return f'"{label}"' if "," in label and '"' not in label else label

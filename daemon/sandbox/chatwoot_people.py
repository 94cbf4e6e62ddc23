"""What people do at the Chatwoot simulator: customers who write and tap, agents who answer, and staff who tidy up. All
of it is told to the webhooks, as Chatwoot tells it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import INBOX_ID, Contact, Conversation, Message
from daemon.sandbox.chatwoot_api import ChatwootApi
from daemon.sandbox.chatwoot_staff import INES, Agent


class ChatwootPeople(ChatwootApi):
    """The account with people at work. An act returns the message, or the conversation, that it has made or changed."""

    def receive(
        self,
        who: str,
        text: str | None = None,
        *,
        name: str | None = None,
        files: Sequence[tuple[str, str, bytes]] = (),
        marks: Mapping[str, Any] | None = None,
        inbox_id: int = INBOX_ID,
        ago_s: float = 0.0,
    ) -> Message:
        """A customer writes, *ago_s* seconds ago. *who*: a phone in E.164, or WhatsApp's user id of one without a
        phone. *files*: (name, type, bytes) of each. *marks*: `content_attributes`."""
        account, source_id = self.account, who.removeprefix("+")
        contact, is_new = account.contact_by(who if who.startswith("+") else None, source_id, inbox_id, name)
        before, at = set(account.conversations), time.time() - ago_s
        talk = account.current(contact, source_id, inbox_id)
        made = account.add(
            talk,
            content=text,
            message_type=0,
            content_attributes=dict(marks or {}),
            attachments=files,
            created_at=at,
            sender=contact,
        )
        made.source_id = f"wamid.IN{made.id}"
        if is_new:
            self.happened("contact_created", contact)
        if talk.id not in before:
            self.happened("conversation_created", talk)
        self._heard(talk, contact, made)
        return made

    def _heard(self, talk: Conversation, contact: Contact, made: Message) -> None:
        """All that a message of *contact* causes."""
        waited, talk.waiting_since = talk.waiting_since, talk.waiting_since or int(made.created_at)
        seen, contact.last_activity_at = contact.last_activity_at, made.created_at
        self.happened("message_created", (talk, made))
        if talk.status in ("resolved", "snoozed"):
            self.set_status(talk, "open", by=None)
        if self.switches.storm:
            if not waited:
                self.happened("conversation_updated", talk, {"waiting_since": (0, talk.waiting_since)})
            was = None if seen is None else views.iso(seen)
            self.happened("contact_updated", contact, {"last_activity_at": (was, views.iso(made.created_at))})

    def tap(self, who: str, title: str, question: Message | None = None) -> Message:
        """A customer taps a button, or a row of a list: what comes is its title alone. *question*: the message that
        showed it, which is named where `switches.quotes`; None: the last one that shows such a title."""
        found = question or self._showing(who, title)
        marks = {"in_reply_to": found.id, "in_reply_to_external_id": found.source_id} if found is not None else {}
        return self.receive(who, title, marks=marks if self.switches.quotes else {})

    def _showing(self, who: str, title: str) -> Message | None:
        found = None
        for talk, one in self.account.messages():
            items = one.content_attributes.get("items") or ()
            if talk.address == who.removeprefix("+") and any(item.get("title") == title for item in items):
                found = one
        return found

    def reply(self, talk: Conversation, text: str, *, by: Agent | None = INES, private: bool = False) -> Message:
        """An agent answers in Chatwoot's pages, or leaves a note (*private*). *by*: None: an automation."""
        made = self.account.post(talk, {"content": text, "sender": by, "private": private})
        self.happened("message_created", (talk, made))
        self._deliver(talk, made)
        return made

    def echo(self, talk: Conversation, text: str) -> Message:
        """Somebody of the staff answers in the phone's own app: Chatwoot names no sender."""
        marks = {"external_echo": True}
        made = self.account.add(talk, content=text, message_type=1, content_attributes=marks)
        made.source_id = f"wamid.ECHO{made.id}"
        self.happened("message_created", (talk, made))
        self.answered(talk, made)
        return made

    def set_status(self, talk: Conversation, status: str, *, by: Agent | None = INES) -> Conversation:
        """The status is set. *by*: None: because the customer wrote. An activity that says so stands in the
        conversation; it is told to no webhook."""
        was, talk.status = talk.status, status
        if was == status:
            return talk
        who = "the customer's message" if by is None else by.name
        self.account.add(talk, content=f"Conversation was marked {status} by {who}", message_type=2)
        self.happened("conversation_status_changed", talk)
        self.happened("conversation_updated", talk, {"status": (was, status)})
        return talk

    def assign(self, talk: Conversation, agent: Agent | None) -> Conversation:
        """The conversation is given to *agent*, or to nobody."""
        was, talk.assignee = talk.assignee, agent
        ids = (None if was is None else was.id, None if agent is None else agent.id)
        if ids[0] != ids[1]:
            self.happened("conversation_updated", talk, {"assignee_id": ids})
        return talk

    def relabel(self, talk: Conversation, labels: Sequence[str]) -> Conversation:
        """The labels are edited by hand: the whole list is written, as Chatwoot's pages do it."""
        was, talk.labels = talk.labels, list(labels)
        if was != talk.labels:
            self.happened("conversation_updated", talk, {"label_list": (was, list(labels))})
        return talk

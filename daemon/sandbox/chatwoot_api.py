"""What the Chatwoot simulator answers: the calls of its application API by which messages are sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from daemon.sandbox import chatwoot_views as views
from daemon.sandbox.chatwoot_account import (
    ACCOUNT_ID,
    INBOX_ID,
    Account,
    Contact,
    Conversation,
    Invalid,
    Message,
    Missing,
)
from daemon.sandbox.chatwoot_hooks import Hooks
from daemon.sandbox.chatwoot_staff import BOT, Agent
from daemon.sandbox.chatwoot_told import Changes, Subject, Variants, body

BASE: Final = f"/api/v1/accounts/{ACCOUNT_ID}"
ASKED: Final = web.RequestKey("asked", object)
"""Under this name a request has its parsed body."""

WINDOW_CLOSED: Final = "131047: the 24-hour customer service window is closed"

_PER_PAGE: Final = 15


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the account is. *role*: of the token's owner: `administrator`, `agent`, `outsider` (no member of the inbox),
    `bot`. *unreached*: digits -> why WhatsApp does not deliver to them. *templates*: of the inbox, as Meta has them;
    None: it tells none. *storm*: all that one message causes is told, not the message alone. *quotes*: a tap names the
    question that it answers. *localised*: what is not valid is said in another language than English. *variants*: of
    what webhooks are told."""

    role: str = "agent"
    unreached: dict[str, str] = field(default_factory=dict)
    templates: list[dict[str, Any]] | None = field(default_factory=list)
    storm: bool = False
    quotes: bool = True
    localised: bool = False
    variants: Variants = field(default_factory=Variants)


class ChatwootApi:
    """The calls on *account*. Whoever makes more of it adds to `routes`, and says by `happened` what it does."""

    def __init__(self) -> None:
        self.account = Account()
        self.switches = Switches()
        self.hooks = Hooks()

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.post(f"{BASE}/contacts/filter", self._filter),
            web.post(f"{BASE}/contacts", self._make_contact),
            web.get(f"{BASE}/contacts/{{id}}/conversations", self._conversations_of),
            web.get(f"{BASE}/contacts/{{id}}/contactable_inboxes", self._contactable),
            web.get(f"{BASE}/conversations", self._conversations),
            web.post(f"{BASE}/conversations", self._begin),
            web.get(f"{BASE}/conversations/{{id}}/messages", self._messages),
            web.post(f"{BASE}/conversations/{{id}}/messages", self._post),
            web.get(f"{BASE}/inboxes/{INBOX_ID}", self._inbox),
        ]

    def happened(self, event: str, subject: Subject, changes: Changes | None = None) -> None:
        """Tell the webhooks. *changes*: of an `_updated` event."""
        self.hooks.tell(event, body(event, subject, self.account, self.switches.variants, changes))

    async def _filter(self, request: web.Request) -> web.Response:
        asked = body_of(request)
        conditions = asked.get("payload")
        if not conditions or any(one.get("filter_operator") != "equal_to" for one in conditions):
            raise Invalid("Invalid operator. The allowed operators are [equal_to]")
        found = list(self.account.contacts.values())
        for one in conditions:
            if one.get("attribute_key") not in ("phone_number", "identifier", "email"):
                raise Invalid(f"Invalid attribute key - [{one.get('attribute_key')}]")
            found = [contact for contact in found if getattr(contact, one["attribute_key"]) == one["values"][0]]
        page = (int(request.query.get("page", "1")) - 1) * _PER_PAGE
        shown = [views.contact(contact, self.account) for contact in found[page : page + _PER_PAGE]]
        return _json({"meta": {"count": len(found), "current_page": 1}, "payload": shown})

    async def _make_contact(self, request: web.Request) -> web.Response:
        asked = body_of(request)
        made = await self.account.make_contact(asked)
        self.happened("contact_created", made)
        addresses = [source_id for _, source_id in made.addresses]
        shown = {
            "inbox": views.inbox(self.account.inboxes[INBOX_ID]) if addresses else None,
            "source_id": addresses[0] if addresses else None,
        }
        return _json({"payload": {"contact": views.contact(made, self.account), "contact_inbox": shown}})

    async def _conversations_of(self, request: web.Request) -> web.Response:
        contact = self._contact(request.match_info["id"])
        found = [one for one in self.account.conversations.values() if one.contact is contact]
        found.sort(key=lambda one: -one.active_at)
        return _json({"payload": [views.conversation(one, self.account) for one in found[:20]]})

    async def _contactable(self, request: web.Request) -> web.Response:
        contact, found = self._contact(request.match_info["id"]), []
        if contact.phone_number is not None:
            source_id = contact.phone_number.removeprefix("+")
            found = [{"inbox": views.inbox(self.account.inboxes[INBOX_ID]), "source_id": source_id}]
        return _json({"payload": found})

    async def _conversations(self, request: web.Request) -> web.Response:
        query, found = request.query, list(self.account.conversations.values())
        if (status := query.get("status", "open")) != "all":
            found = [one for one in found if one.status == status]
        if (source_id := query.get("source_id")) is not None:
            found = [one for one in found if one.address == source_id]
        if (inbox_id := query.get("inbox_id")) is not None:
            found = [one for one in found if str(one.inbox_id) == inbox_id]
        shown = [views.conversation(one, self.account) for one in sorted(found, key=lambda one: -one.active_at)[:25]]
        return _json({"data": {"meta": {"all_count": len(found)}, "payload": shown}})

    async def _begin(self, request: web.Request) -> web.Response:
        asked = body_of(request)
        contact = self._contact(str(asked.get("contact_id")))
        source_id = self.account.address(contact, int(asked.get("inbox_id") or 0), asked.get("source_id"))
        before = len(self.account.conversations)
        talk = self.account.begin(contact, source_id)
        if len(self.account.conversations) > before:
            self.happened("conversation_created", talk)
        return _json(views.conversation(talk, self.account))

    async def _messages(self, request: web.Request) -> web.Response:
        talk, query = self._talk(request), request.query
        found = sorted(talk.messages, key=lambda one: one.id)
        if "after" in query:
            found = [one for one in found if one.id > int(query["after"])][:100]
        elif "before" in query:
            found = [one for one in found if one.id < int(query["before"])][-20:]
        else:
            found = found[-20:]
        return _json({"meta": {"labels": []}, "payload": [views.message(one, talk, self.account) for one in found]})

    async def _post(self, request: web.Request) -> web.Response:
        talk, asked = self._talk(request), body_of(request)
        made = self.account.post(talk, asked | {"sender": self._poster()})
        answer = views.message(made, talk, self.account)
        if (echo_id := asked.get("echo_id")) is not None:
            answer["echo_id"] = echo_id
        self.happened("message_created", (talk, made))
        self._deliver(talk, made)
        return _json(answer)

    def demand_administrator(self) -> None:
        """Raises: PermissionError where the token's owner is none."""
        if self.switches.role != "administrator":
            raise PermissionError("You are not authorized to do this action")

    def _poster(self) -> Agent:
        """Whose token it is."""
        return BOT if self.switches.role == "bot" else self.account.owner

    def _deliver(self, talk: Conversation, made: Message) -> None:
        """What becomes of a message after it was answered. What came from the channel is not sent to it."""
        if made.private or made.source_id is not None or made.message_type != 1:
            return
        why = self.switches.unreached.get(talk.address)
        if why is None and "template_params" not in made.additional and not self.account.can_reply(talk):
            why = WINDOW_CLOSED
        if why is None:
            made.source_id = f"wamid.{made.id}"
        else:
            made.status = "failed"
            made.content_attributes = made.content_attributes | {"external_error": why}
        self.happened("message_updated", (talk, made))
        self.answered(talk, made)

    def answered(self, talk: Conversation, made: Message) -> None:
        """Somebody has answered: nobody waits any more. In a storm the ticks of the phone follow."""
        was, talk.waiting_since = talk.waiting_since, 0
        changes: dict[str, tuple[Any, Any]] = {"waiting_since": (was, 0)} if was else {}
        if talk.first_reply_at is None and isinstance(made.sender, Agent) and made.sender.type == "user":
            talk.first_reply_at = made.created_at
            changes["first_reply_created_at"] = (None, views.iso(made.created_at))
        if not self.switches.storm:
            return
        if made.status != "failed":
            for made.status in ("delivered", "read"):
                self.happened("message_updated", (talk, made))
        if changes:
            self.happened("conversation_updated", talk, changes)

    async def _inbox(self, request: web.Request) -> web.Response:
        shown = views.inbox(self.account.inboxes[INBOX_ID]) | {
            "phone_number": "+15550001234",
            "lock_to_single_conversation": False,
        }
        if self.switches.templates is not None:
            shown["message_templates"] = self.switches.templates
        return _json(shown)

    def _contact(self, id: str) -> Contact:
        contact = self.account.contacts.get(int(id)) if id.isdecimal() else None
        if contact is None:
            raise Missing
        return contact

    def _talk(self, request: web.Request) -> Conversation:
        id = request.match_info["id"]
        talk = self.account.conversations.get(int(id)) if id.isdecimal() else None
        if talk is None:
            raise Missing
        return talk


def body_of(request: web.Request) -> dict[str, Any]:
    """Its parsed body. Raises: Invalid."""
    asked = request[ASKED]
    if not isinstance(asked, dict):
        raise Invalid("param is missing or the value is empty")
    return asked


def _json(document: Any) -> web.Response:
    return web.json_response(document)

"""What Chatwoot holds of conversations, so that messages whose webhook was lost are found.

The API shows a message in another form than the webhook. Here it is brought into the webhook's, and read by the very
functions that read that; so the event of a message is the same by either way, its data too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from adapters.chatwoot.client import ChatwootCalls, NotThere
from adapters.chatwoot.events import events_of
from adapters.conversation_ports import Talk, TalkPage
from adapters.gate import Gate
from schemas.envelope import Event
from schemas.errors import Malformed, TooLong, Transient
from schemas.webhooks.chatwoot import id_of, part, time_of, word

PER_PAGE: Final = 25
MOST_PAGES: Final = 4_000
"""Pages of one list: 100,000 conversations, or messages of one conversation."""

CLOCKS_DIFFER_S: Final = 300.0
"""By so much Chatwoot's clock may be behind ours."""

_ALL: Final = {"status": "all"}
"""Without it only open conversations are listed."""

_WANTED: Final = frozenset({"message.received", "conversation.changed"})
_NUL: Final = rb"\u0000"
_NULS: Final = re.compile(rb"(?<!\\)((?:\\\\)*)(?:\\u0000)+")
"""It as JSON writes it, behind an even number of backslashes."""

_TOLD: Final = (
    "id", "content", "content_type", "content_attributes", "created_at", "message_type", "private", "source_id",
    "sender",
)  # fmt: skip


class ChatwootHistory:
    """The `History` of the account that *account* gives: `url`, `api_access_token`, `account_id` and `inbox_id`. The
    owner of the token sees the inboxes that he belongs to, and an administrator all."""

    def __init__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._calls = ChatwootCalls(gate, account)
        self._account = account

    async def newest(self) -> int:
        """See `History`: the first page has the conversations in which something has happened last."""
        found = await self._calls.ask("/conversations", _talks, about=None, params=_ALL)
        return max((talk.newest or 0 for talk in found), default=0)

    async def changed(self, within_s: int, after: int) -> Sequence[Talk]:
        """See `History`. Where Chatwoot cannot give all at once, after an outage of days say, it is asked for pages."""
        params = {**_ALL, "updated_within": str(max(1, within_s))}
        try:
            # about somebody, so that a list which is too long is no fault of the account
            return await self._calls.ask("/conversations", _talks, about="all", params=params)
        except TooLong:
            pass
        except Transient as error:
            if error.limited:
                raise
        return await self._by_pages(after)

    async def _by_pages(self, after: int) -> Sequence[Talk]:
        """All conversations with messages behind *after*. The list begins with the latest activity; what moves to its
        beginning meanwhile is listed twice, and nothing is left out."""
        found: dict[int, Talk] = {}
        for page in range(1, MOST_PAGES):
            params = {**_ALL, "page": str(page)}
            listed = await self._calls.ask("/conversations", _talks, about=None, params=params)
            fresh = [talk for talk in listed if talk.id not in found]
            found |= {talk.id: talk for talk in listed}
            if len(listed) < PER_PAGE or not fresh or not any(_is_news(talk, after) for talk in listed):
                break
        return [talk for talk in found.values() if _is_news(talk, after)]

    async def messages(self, talk: Talk, after: int, now: datetime) -> AsyncIterator[TalkPage]:
        """See `History`. A page has up to 100 messages."""
        for _ in range(MOST_PAGES):
            page = await self._page(talk, {"after": str(after)})
            behind = [one for one in page if _id(one) > after]
            if not behind:
                return
            yield self._told(behind, talk, now)
            after = max(map(_id, behind))
            if talk.newest is not None and after >= talk.newest:
                return

    async def latest(self, talk: Talk, since: datetime, now: datetime) -> AsyncIterator[TalkPage]:
        """See `History`. A page has up to 20 messages."""
        before: int | None = None
        earliest = since.timestamp() - CLOCKS_DIFFER_S
        for _ in range(MOST_PAGES):
            page = await self._page(talk, {} if before is None else {"before": str(before)})
            older = [one for one in page if before is None or _id(one) < before]
            new = [one for one in older if (at := time_of(one)) is None or at.timestamp() >= earliest]
            if not new:
                return
            yield self._told(new, talk, now)
            if len(new) < len(older):
                return
            before = min(map(_id, older))

    async def _page(self, talk: Talk, params: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        path = f"/conversations/{talk.id}/messages"
        try:
            return await self._calls.ask(path, _messages, about=str(talk.id), params=params, known=True)
        except NotThere:
            return []

    def _told(self, page: Sequence[Mapping[str, Any]], talk: Talk, now: datetime) -> TalkPage:
        account = self._account()["account_id"]
        found: list[Event] = []
        for one in sorted(page, key=_id):
            try:
                found += events_of(storable(as_webhook(one, talk.shown, account)), now)
            except Malformed:  # without an id no webhook of it would have been taken either
                continue
        return TalkPage([event for event in found if event.type in _WANTED], max(map(_id, page)))


def as_webhook(message: Mapping[str, Any], conversation: Mapping[str, Any], account: str) -> dict[str, Any]:
    """The `message_created` of *message*, given the API's form of it and of its *conversation*."""
    meta = part(conversation, "meta")
    inbox_id = conversation.get("inbox_id") or message.get("inbox_id")
    files = message.get("attachments")
    return {
        "event": "message_created",
        **{name: message.get(name) for name in _TOLD},
        **({"attachments": files} if files else {}),
        "account": {"id": int(account)},
        "inbox": {"id": inbox_id},
        "conversation": {
            "id": conversation.get("id"),
            "inbox_id": inbox_id,
            "channel": word(meta, "channel") or word(conversation, "channel"),
            "contact_inbox": {"source_id": _written_to(conversation)},
            "meta": {"sender": part(meta, "sender")},
        },
    }


def storable(webhook: dict[str, Any]) -> dict[str, Any]:
    """*webhook* without U+0000, which no text in Postgres holds. Chatwoot keeps `content_attributes` as they came, so
    they may have it; a webhook that has it is refused."""
    text = orjson.dumps(webhook)
    if _NUL not in text:
        return webhook
    found: dict[str, Any] = orjson.loads(_NULS.sub(rb"\1", text))
    return found


def _written_to(conversation: Mapping[str, Any]) -> str | None:
    """Whom the conversation writes to: only its messages tell."""
    for one in _last(conversation):
        if (source_id := word(part(part(one, "conversation"), "contact_inbox"), "source_id")) is not None:
            return source_id
    return None


def _last(conversation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The newest messages that a conversation is listed with. One that a person has written is never newer."""
    listed = conversation.get("messages")
    told = [*(listed if isinstance(listed, list) else ()), conversation.get("last_non_activity_message")]
    return [one for one in told if isinstance(one, dict)]


def _talks(data: Any) -> list[Talk] | None:
    """Of `GET /conversations`."""
    inner = part(data, "data") if isinstance(data, dict) else {}
    found = _payload(inner or data)
    if found is None:
        return None
    named = [(id_of(one.get("id")), one) for one in found]
    return [Talk(int(id), _newest(one), one) for id, one in named if id is not None]


def _newest(conversation: Mapping[str, Any]) -> int | None:
    told = "messages" in conversation or "last_non_activity_message" in conversation
    return max(map(_id, _last(conversation)), default=0) if told else None


def _is_news(talk: Talk, after: int) -> bool:
    return talk.newest is None or talk.newest > after


def _messages(data: Any) -> list[Mapping[str, Any]] | None:
    """Of `GET /conversations/{id}/messages`."""
    return _payload(data)


def _payload(data: Any) -> list[Mapping[str, Any]] | None:
    payload = data.get("payload") if isinstance(data, dict) else None
    return [one for one in payload if isinstance(one, dict)] if isinstance(payload, list) else None


def _id(message: Mapping[str, Any]) -> int:
    return int(id_of(message.get("id")) or 0)

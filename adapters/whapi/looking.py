"""Whether a Whapi channel has sent a message whose answer was lost: the messages of the chat tell.

The list has no id of ours, so a message is known by its time, its kind and its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.ports import Several
from adapters.whapi.client import WhapiCalls
from schemas.errors import Transient
from schemas.messages import Choices, Content, Media, Taken, Text

PAGE: Final = 100
BEFORE: Final = timedelta(seconds=30)
AFTER: Final = timedelta(seconds=90)
"""By so much Whapi's clock may be behind ours, and so long after its call began a message may be sent."""


async def look_for(calls: WhapiCalls, chat: str, content: Content, since: datetime) -> Taken | None:
    """The message of *content* in *chat*. One read. Raises: as `Reconciler.look_for`."""
    answer = await calls.read(f"/messages/list/{chat}", {"count": str(PAGE), "from_me": "true"}, _is_list)
    listed = [one for one in answer["messages"] if isinstance(one, dict) and isinstance(one.get("id"), str)]
    sent = [(at, one) for one in listed if (at := _at(one.get("timestamp"))) is not None]
    fits = [
        Taken(one["id"])
        for at, one in sent
        if since - BEFORE <= at <= since + AFTER and one.get("from_me") is True and _says(one, content)
    ]
    if len(fits) > 1:
        raise Several("Whapi: several messages of the chat may be it", fits)
    if fits:
        return fits[0]
    if len(answer["messages"]) >= PAGE and all(at > since - BEFORE for at, _ in sent):
        raise Transient("Whapi: the list does not reach back so far")
    return None


def _is_list(answer: Any) -> bool:
    return isinstance(answer.get("messages"), list)


def _at(timestamp: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(timestamp), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _says(one: Mapping[str, Any], content: Content) -> bool:
    kind = str(one.get("type"))
    told = one.get(kind)
    part: Mapping[str, Any] = told if isinstance(told, dict) else {}
    match content:
        case Text(text):
            return kind == "text" and part.get("body") == text
        case Media(type=wanted, caption=caption):
            return kind == wanted and (part.get("caption") or None) == (caption or None)
        case Choices(text):
            body = part.get("body")
            return kind == "interactive" and isinstance(body, dict) and body.get("text") == text
    return False

"""Whether Twilio has made a message whose answer was lost: its list of messages to the person tells.

The list has no id of ours, so a message is known by its time and, where it has one, its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

from adapters.gate import Gate
from adapters.http import Reply, coded
from adapters.ports import Several
from adapters.twilio.client import Account, judge_read
from schemas.errors import Transient
from schemas.messages import Content, Media, Taken, Text

PAGE: Final = 200

BEFORE: Final = timedelta(seconds=30)
"""By so much Twilio's clock may be behind ours."""

AFTER: Final = timedelta(seconds=90)
"""So long after its call began a message may be made: the call is given up by then, and clocks differ."""


async def look_for(
    gate: Gate, account: Account, to: str, sender: str, content: Content, since: datetime
) -> Taken | None:
    """The message of *content* that was made for *to* by *sender*, both as Twilio writes them. One read. Raises: as
    `Reconciler.look_for`."""
    params = {"To": to, "From": sender, "PageSize": str(PAGE)}
    listing = partial(_listed, private=(to, sender, account.sid, account.token))
    listed = await gate.request("GET", account.messages_url, listing, headers=account.headers, params=params)
    made = [(at, one) for one in listed if (at := _made_at(one)) is not None]
    fits = [
        Taken(one["sid"])
        for at, one in made
        if since - BEFORE <= at <= since + AFTER and _is_to(one, to, sender) and _says(one, content)
    ]
    if len(fits) > 1:
        raise Several("Twilio: several messages to the person may be it", fits)
    if fits:
        return fits[0]
    if len(listed) >= PAGE and all(at > since - BEFORE for at, _ in made):
        raise Transient("Twilio: the list does not reach back so far")
    return None


def _listed(reply: Reply, private: Iterable[str]) -> list[Mapping[str, Any]]:
    """The messages of a list. Raises: Transient, ChannelDown, Refused."""
    found = judge_read(reply, private=private, now=datetime.now(UTC)).get("messages")
    if not isinstance(found, list):
        raise coded(Transient(f"Twilio: HTTP {reply.status} without a list of messages"), "other-shape")
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("sid"), str)]


def _made_at(one: Mapping[str, Any]) -> datetime | None:
    try:
        at = parsedate_to_datetime(one["date_created"])
    except (KeyError, TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _is_to(one: Mapping[str, Any], to: str, sender: str) -> bool:
    outbound = str(one.get("direction", "outbound")).startswith("outbound")
    return outbound and one.get("to") == to and one.get("from") in (sender, None)


def _says(one: Mapping[str, Any], content: Content) -> bool:
    """Whether its text is that of *content*. What a template says, its variables filled in, is not known here."""
    body = one.get("body") or ""
    files = str(one.get("num_media") or "0") not in ("0", "")
    match content:
        case Text(text):
            return body == text and not files
        case Media(caption=caption):
            return body == (caption or "") and files
    return True

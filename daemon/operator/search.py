"""Find: one text, and everything that it may name, whatever it is. What it names exactly comes before names of
people, of which it may be the beginning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote
from uuid import UUID

from adapters.postgres.operator import conversations as stored_conversations
from adapters.postgres.operator import dead_letters, orders, trail
from adapters.postgres.operator import messages as stored_messages
from adapters.postgres.operator import person as stored_person
from adapters.postgres.operator.conversations import Page, Wanted
from adapters.postgres.pool import Pool
from daemon.operator import people, person
from daemon.operator.conversation_names import SYSTEMS, id_of, is_text, named
from daemon.operator.conversations import NEWEST_FIRST
from daemon.operator.keys import masked_key
from daemon.operator.naming import LEAST, number_of, of_order

MOST: Final = 20
"""Things of one kind that are told, at most."""

Kind: TypeAlias = Literal["person", "order", "event", "dead letter", "message", "conversation"]

_BEGINNING: Final = re.compile(rf"[0-9a-f][0-9a-f-]{{{LEAST - 1},35}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """*id*: by which every verb knows it. *by*: what the text is of it. *text*: what it is, in words; nothing of a
    person is told in full."""

    kind: Kind
    id: str
    by: str
    text: str
    link: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


async def search(pool: Pool, text: str) -> list[Hit]:
    """What *text* names: a phone in any notation, an e-mail, an order's, event's, message's, conversation's or dead
    letter's id or its beginning, a name."""
    wanted = " ".join(text.split())
    if not wanted or not is_text(wanted):
        return []
    hits = [hit for look in _LOOKS for hit in await look(pool, wanted)]
    exact = [hit for hit in hits if hit.by != "name"]
    return exact or hits


async def _people(pool: Pool, text: str) -> Iterable[Hit]:
    found = await people.find(pool, text, MOST)
    return [
        Hit(kind="person", id=one["id"], by=one["found_by"], text=person.masked(one), link=f"/people/{one['id']}")
        for one in found
    ]


async def _orders(pool: Pool, text: str) -> Iterable[Hit]:
    one = await orders.find(pool, text)
    if one is None:
        return []
    said = f"order, {one.standing.status or 'of no status'}"
    return [Hit(kind="order", id=text, by="order", text=said, link=f"/orders/{quote(text, safe='')}")]


async def _events(pool: Pool, text: str) -> Iterable[Hit]:
    beginning, by = text.lower(), "id"
    found = await trail.by_ids(pool, [beginning], MOST)
    if not found and _BEGINNING.fullmatch(beginning):
        found, by = await trail.by_prefix(pool, beginning, MOST), "beginning"
    if not found:
        found, by = await of_order(pool, text), "order"
    return [
        Hit(kind="event", id=one.id, by=by, text=f"{one.type} of {masked_key(one.key)}", link=f"/events/{one.id}")
        for one in found[:MOST]
    ]


async def _letters(pool: Pool, text: str) -> Iterable[Hit]:
    number = number_of(text)
    found = [] if number is None else await dead_letters.find(pool, number, None)
    return [
        Hit(
            kind="dead letter",
            id=str(one.id),
            by="number",
            text=f"{one.worker}: {one.error_class}, {one.state}",
            link=f"/letters/{one.id}",
        )
        for one in found
    ]


async def _messages(pool: Pool, text: str) -> Iterable[Hit]:
    ids: Sequence[UUID] = await stored_person.by_provider_id(pool, SYSTEMS, text)
    by, digits = "provider's id", text.lower().replace("-", "")
    if not ids and _BEGINNING.fullmatch(text.lower()) and len(digits) <= 32:
        first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        ids, by = await stored_messages.between(pool, first, last, MOST), "id"
    found = [one for id in ids if (one := await stored_messages.find(pool, id)) is not None]
    return [
        Hit(
            kind="message",
            id=one["id"],
            by=by,
            text=f"{one['kind']} {'to' if one['direction'] == 'out' else 'from'} a person by {one['provider']}:"
            f" {one['status']}",
            link=f"/messages/{one['id']}",
        )
        for one in found
    ]


async def _conversations(pool: Pool, text: str) -> Iterable[Hit]:
    meant = await named(pool, text)
    found = (
        await stored_conversations.listed(pool, Wanted(), Page(*NEWEST_FIRST, MOST), list(meant), []) if meant else []
    )
    return [
        Hit(
            kind="conversation",
            id=id_of(one),
            by=meant[one.id],
            text=f"conversation by {one.system}, {one.status or 'of no status'}",
            link=f"/conversations/{id_of(one)}",
        )
        for one in found
    ]


_LOOKS: Final = (_people, _orders, _events, _letters, _messages, _conversations)
"""One after the other: a page has few connections."""

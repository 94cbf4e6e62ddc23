"""The person whom an operator means, and all that names that person."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from secrets import randbelow
from typing import Final
from uuid import UUID

from adapters.postgres import merges
from adapters.postgres.operator import orders, people
from adapters.postgres.operator.privacy import subjects, texts
from adapters.postgres.pool import Connection, Pool
from daemon.bus.endings import body_hash
from daemon.bus.fence import BLANK
from daemon.operator.faults import NotThere, Unusable
from daemon.operator.keys import phones_meant
from daemon.operator.people import MOST, exact
from daemon.operator.privacy.needles import orders_of
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.identity import key
from schemas.phone import Phone, aliases, line

Pairs = list[tuple[str, str]]
"""(kind, value) of `erasure_subjects`."""

_EMAIL: Final = re.compile(r"[^\s@:]+@[^\s@:]+\.[^\s@:]+")
_E164: Final = re.compile(r"\+?[1-9][0-9]{6,14}")
_MOST_ROUNDS: Final = 50


def null_hash() -> bytes:
    """The digest of a blank's data, as the inbox has it."""
    now = datetime.now(UTC)
    return body_hash(Event(id="", type="", source="", subject="", time=now, data=BLANK))


async def seeds(pool: Pool, text: str) -> Pairs:
    """What *text* says of one person: a phone in any notation, an e-mail address, the id of a contact or of an order.
    It need not be known here. Raises: Unusable where it may be several people."""
    wanted = text.strip()
    if not wanted:
        raise Unusable("name a person: a phone, an e-mail address, a contact's id or an order's id")
    contacts = list(dict.fromkeys((await merges.standing(pool, await exact(pool, wanted, MOST))).values()))
    if len(contacts) > 1:
        named = ", ".join(str(one.id) for one in await people.listed(pool, contacts))
        raise Unusable(f"that fits {len(contacts)} people: name one by the contact's id: {named}")
    found = [("contact", str(one)) for one in contacts]
    if _EMAIL.fullmatch(wanted):
        # of several contacts that have the address it was refused above
        return [*found, ("email", wanted.lower())]
    if contacts and await orders.find(pool, wanted) is None:
        return [*found, *(("phone", phone) for phone in _one_reading(wanted))]
    if (readings := _one_reading(wanted)) or _looks_like_phone(wanted):
        if not readings:
            raise Unusable("this number may be of several countries: write it with + and its country code")
        return [*found, *(("phone", phone) for phone in readings)]
    return [*found, ("contact", wanted.lower()) if _is_uuid(wanted) else ("order", wanted)]


def _one_reading(text: str) -> list[str]:
    """The notations of the phone that *text* is, where it is one number in all readings."""
    found = phones_meant(text)
    return found if len({line(phone) for phone in found}) == 1 else []


def _looks_like_phone(text: str) -> bool:
    return bool(re.fullmatch(r"[+0-9][-+0-9 ()./]{5,}", text))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def seed_of(kind: str, value: str) -> Pairs:
    """What a mark was made of, (kind, value), says of a person."""
    if kind == "order":
        return [("order", value)]
    name, colon, rest = value.partition(":")
    if not colon:
        return [("phone", value)] if value.startswith("+") else []
    if name in ("email", "bsuid", "cgb", "order", "applicant"):
        return [(name, rest)]
    return [("key", value)]


def derived(found: Mapping[str, Sequence[str]]) -> Pairs:
    """What follows from *found* without a look: notations and lines of phones, keys of events."""
    phones = [*found.get("phone", ()), *(f"+{id}" for id in found.get("wa_id", ()) if _E164.fullmatch(id))]
    pairs: Pairs = []
    for phone in phones:
        try:
            Phone.parse_e164(phone)
        except Malformed:
            continue
        notations = dict.fromkeys((*aliases(phone), line(phone)))
        pairs += [("line", line(phone)), *(("phone", one) for one in notations), *(("key", one) for one in notations)]
    pairs += [("key", key(email=one)) for one in found.get("email", ())]
    pairs += [("key", key(bsuid=one)) for one in found.get("bsuid", ())]
    pairs += [("key", key(cgb_id=one)) for one in found.get("cgb", ())]
    pairs += [("key", key(order_id=one)) for one in found.get("order", ())]
    pairs += [("key", key(applicant_id=one)) for one in found.get("applicant", ())]
    pairs += [("key", one.replace("\n", ":", 1)) for one in found.get("record", ())]
    return pairs


async def widen(conn: Connection, erasure: int, *, read: bool = True) -> dict[str, list[str]]:
    """Look until nothing more is found; returns all that is known then. *read*: events are read through for orders of
    the person that came under another key, as with a wrong phone."""
    found = await _widened(conn, erasure)
    if read and (pattern := orders_of(found)):
        named = await texts.events_naming(conn, pattern)
        if await subjects.add(conn, erasure, [("event", one) for one in named]):
            return await _widened(conn, erasure)
    return found


async def _widened(conn: Connection, erasure: int) -> dict[str, list[str]]:
    for _ in range(_MOST_ROUNDS):
        found = await subjects.read(conn, erasure)
        new = await subjects.add(conn, erasure, derived(found))
        new += await subjects.widen(conn, erasure)
        if not new:
            return await subjects.read(conn, erasure)
    raise Unusable("what belongs to the person does not come to an end: see what joins other people to it")


@asynccontextmanager
async def looked_at(pool: Pool, given: Iterable[tuple[str, str]]) -> AsyncIterator[tuple[Connection, int]]:
    """All that belongs to the person whom *given* names, for questions; nothing of it stays."""
    erasure = -1 - randbelow(2**62)
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            await subjects.add(conn, erasure, given)
            await widen(conn, erasure)
            yield conn, erasure
        finally:
            await transaction.rollback()


def known(found: Mapping[str, Sequence[str]]) -> bool:
    """Whether anything but what was asked for is known of a person."""
    return any(found.get(kind) for kind in ("contact", "order", "event", "message", "chat", "note", "record"))


def nobody(text: str = "") -> NotThere:
    """There is nothing about such a person."""
    return NotThere("nothing is kept about this person: see `ferryman privacy verify`")

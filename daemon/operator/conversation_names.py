"""What an operator may call a conversation, and which ones that means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from adapters.postgres.operator import conversations as stored
from adapters.postgres.operator import people
from adapters.postgres.operator.conversations import StoredConversation, Trace
from adapters.postgres.pool import Pool
from daemon.messages.rules import HEARD_BY
from daemon.operator.keys import masked_key, phones_meant
from daemon.operator.naming import LEAST
from schemas.conversations import CHATWOOT
from schemas.names import words_of
from schemas.phone import line

MOST: Final = 200
"""Conversations that one text may mean, at most."""

SYSTEMS: Final = tuple(sorted({*HEARD_BY, *(system for systems in HEARD_BY.values() for system in systems)}))
"""The systems that people write by, and those that we send by."""

_NUMBER: Final = re.compile(r"c([0-9]{1,18})")
_IN_CHATWOOT: Final = re.compile(r"(?:([0-9]{1,18}):)?([0-9]{1,18})")
_BEGINNING: Final = re.compile(rf"[0-9a-f]{{{LEAST},32}}")


def id_of(one: StoredConversation) -> str:
    """The name of a conversation that tells nothing of its person: `chatwoot:3:481`, else `c17` by its row."""
    return one.chat if one.chatwoot_conversation_id is not None else f"c{one.id}"


def masked_chat(one: StoredConversation) -> str:
    """Its name over all systems, without the id of its person."""
    if one.chatwoot_conversation_id is not None:
        return one.chat
    system, _, rest = one.chat.partition(":")
    number, _, person = rest.partition(":")
    return f"{system}:{number}:{masked_key(person)}"


def systems_heard(provider: str) -> Sequence[str]:
    """The systems by which we hear of the people to whom *provider* sends."""
    return (provider, *HEARD_BY.get(provider, ()))


async def named(pool: Pool, text: str) -> Mapping[int, str]:
    """The conversations that *text* means -> what it is of each. Its own names count before those of messages and
    people, and names of people last."""
    wanted = text.strip()
    if not wanted or not is_text(wanted):
        return {}
    for kinds in (_itself, _by_others):
        if found := await kinds(pool, wanted):
            return found
    if not (words := words_of(wanted)):
        return {}
    contacts = await people.listed(pool, await people.by_words(pool, words, MOST))
    lines = list(dict.fromkeys(line(phone) for contact in contacts for phone in contact.phones))
    ids = [*await stored.by_name(pool, words, MOST), *await stored.by_lines(pool, lines, None, MOST)]
    return dict.fromkeys(ids[:MOST], "name")


def is_text(text: str) -> bool:
    """Whether a database can be asked for *text*."""
    return "\x00" not in text and text.isprintable() and len(text) <= MOST * 10


async def _itself(pool: Pool, text: str) -> dict[int, str]:
    """By a name of the conversation itself."""
    found = dict.fromkeys(await stored.by_chat(pool, [text], MOST), "chat")
    if number := _NUMBER.fullmatch(text):
        found |= dict.fromkeys(await stored.by_number(pool, int(number[1])), "id")
    if numbers := _IN_CHATWOOT.fullmatch(text):
        account = None if numbers[1] is None else int(numbers[1])
        found |= dict.fromkeys(await stored.by_chatwoot(pool, int(numbers[2]), account, MOST), CHATWOOT)
    return found


async def _by_others(pool: Pool, text: str) -> dict[int, str]:
    """By the person's phone, a message or a content order."""
    lines = list(dict.fromkeys(map(line, phones_meant(text))))
    found = dict.fromkeys(await stored.by_lines(pool, lines, None, MOST), "phone")
    digits = text.lower().replace("-", "")
    traces = [
        *await stored.by_key(pool, [text, *(f"{system}:{text}" for system in SYSTEMS)], MOST),
        *await stored.by_provider_id(pool, SYSTEMS, text, MOST),
    ]
    chats = list[str]()
    if _BEGINNING.fullmatch(digits):
        first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        traces += await stored.by_message(pool, first, last, MOST)
        chats = await stored.by_content_order(pool, first, last, MOST)
    found |= dict.fromkeys(await _traced(pool, traces), "message")
    return found | dict.fromkeys(await stored.by_chat(pool, chats, MOST), "content order")


async def _traced(pool: Pool, traces: Iterable[Trace]) -> list[int]:
    """The conversations to which these messages belong; those of the person where a message does not tell which."""
    told = list(dict.fromkeys(traces))
    chats = [one.chat for one in told if one.chat is not None]
    found = await stored.by_chat(pool, chats, MOST)
    for one in told:
        if one.chat is None and one.phone is not None:
            found += await stored.by_lines(pool, [line(one.phone)], systems_heard(one.system), MOST)
    return found

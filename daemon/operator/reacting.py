"""Reactions: the message that one is about, as its provider knows it, and the account whose chat that is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from adapters.postgres import chat_messages
from adapters.postgres.chat_messages import ChatMessage
from adapters.postgres.pool import Pool
from adapters.registry import SENDERS
from daemon.accounts import META
from daemon.operator.faults import Unusable
from daemon.operator.numbers import NoAccount, account_of
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
from schemas.messages import Reaction
from schemas.phone import line, parse_phone

WITHIN: Final[Mapping[str, timedelta]] = {META: timedelta(days=30)}
"""How old a message may be that a provider takes reactions to (Meta: "Reaction messages", `message_id`)."""

_UUID_LENGTH: Final = 36


class NoTarget(Unusable):
    """The reaction can go to no such message: the text says why."""


async def aimed(pool: Pool, settings: Settings, given: MessageIn, now: datetime) -> MessageIn:
    """*given*, where it is a reaction, with its provider's id of the message that it is about, and by the provider and
    the account of that message, where it names none. Raises: NoTarget."""
    phone = parse_phone(given.to)
    if given.reaction is None or phone is None:
        return given
    found = await _found(pool, given.reaction.message_id)
    theirs = [one for one in found if one.phone is not None and line(one.phone) == line(phone.e164)]
    named = [one for one in theirs if given.provider in (None, one.provider)]
    if not named:
        raise NoTarget(_why_none(found, theirs))
    target = named[0]
    if (why := _why_not(target, given, now)) is not None:
        raise NoTarget(why)
    chosen = given.account if "account" in given.model_fields_set else await _account(pool, settings, target)
    reaction = given.reaction.model_copy(update={"message_id": target.provider_id})
    return given.model_copy(update={"provider": target.provider, "account": chosen, "reaction": reaction})


async def _found(pool: Pool, message_id: str) -> list[ChatMessage]:
    """The messages that *message_id* may name: by our id, or by that of a provider."""
    if len(message_id) == _UUID_LENGTH:
        try:
            one = await chat_messages.find(pool, UUID(message_id))
        except ValueError:
            one = None
        if one is not None:
            return [one]
    return await chat_messages.named(pool, list(SENDERS), message_id)


def _why_none(found: list[ChatMessage], theirs: list[ChatMessage]) -> str:
    if not found:
        return (
            "reaction.message_id: no message with this id is known here: give Ferryman's id of a message to or of this"
            " person, or the provider's"
        )
    if not theirs:
        return "reaction.message_id: this message is of another person's chat: give one of the person in to"
    providers = ", ".join(sorted({one.provider for one in theirs}))
    return f"reaction.message_id: this message went by {providers}, and a reaction goes by the provider of its message"


def _why_not(target: ChatMessage, given: MessageIn, now: datetime) -> str | None:
    """Why nobody can react to *target* in this way; None: they can."""
    assert given.reaction is not None
    if target.provider not in SENDERS:
        return f"provider {target.provider}, by which the message came, sends no messages here"
    if (why := SENDERS[target.provider]().refusal(Reaction("id", given.reaction.emoji or ""))) is not None:
        return why
    if target.kind == "reaction":
        return "reaction.message_id: this is a reaction itself, which nobody can react to: give the message"
    if target.provider_id is None:
        return (
            f"reaction.message_id: {target.provider} has given no id of this message, which is {target.status}:"
            " a reaction needs one"
        )
    if (within := WITHIN.get(target.provider)) is not None and now - target.at > within:
        return f"reaction.message_id: this message is older than {within.days} days, and takes no reactions any more"
    if target.direction == "out" and given.account != target.account and "account" in given.model_fields_set:
        return f"account: this message went by {target.account}, and a reaction goes by the account of its message"
    return None


async def _account(pool: Pool, settings: Settings, target: ChatMessage) -> str:
    try:
        return await account_of(pool, settings, target)
    except NoAccount as exc:
        raise NoTarget(str(exc)) from None

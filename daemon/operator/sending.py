"""Messages that an operator or another program asks for: checked, stored, and shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

import orjson

from adapters.channel import channel_of, parted
from adapters.postgres import credentials, messages, templates
from adapters.postgres.bus import outbox
from adapters.postgres.messages import Request
from adapters.postgres.operator import messages as stored
from adapters.postgres.pool import Connection, Pool
from adapters.registry import SENDERS
from daemon.messages.content import kind_of, to_json
from daemon.messages.requests import event_id_of, event_of
from daemon.messages.template_fit import Unfit, definition_of, fitted
from daemon.messages.wiring import LIVE, lacking
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.operator.parts import MOST_PARTS, in_order, part_ids, parts_of
from daemon.operator.reacting import aimed
from daemon.operator.templates import known_for
from daemon.settings.model import Settings
from schemas.api.messages import SPLIT_IT, MessageIn
from schemas.api.queries import MessageQuery
from schemas.credentials import DEFAULT
from schemas.envelope import Event
from schemas.messages import Content, Template
from schemas.phone import aliases, parse_phone
from schemas.templates import Known

_LATEST: Final = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)


class NotSendable(Unusable):
    """The message cannot be sent as it is: the text says why, and what to do."""


class NotCarried(NotSendable):
    """The provider has no such account, or does not carry what the message says: another one may."""


class UnknownTemplate(NotSendable):
    """No list of templates has the one that the message names, or not in its language."""


class KeyTaken(Conflict):
    """The idempotency key was used for another message."""


class NoSuchMessage(NotThere):
    """There is no message with this id."""


class NotCanceled(Conflict):
    """The message is not queued any more."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What was asked for: a message, or the parts of one in their order. *events*: are in the outbox under the numbers
    *seqs*; none where the messages wait for their time, or an earlier request with the same key has asked for them."""

    ids: Sequence[UUID]
    events: Sequence[Event] = ()
    seqs: Sequence[int] = ()

    @property
    def id(self) -> UUID:
        """Of the first one."""
        return self.ids[0]


async def send(
    pool: Pool,
    settings: Settings,
    given: MessageIn,
    *,
    purpose: str,
    key: str | None,
    now: datetime,
    publishes: bool = False,
) -> Queued:
    """Store a message, or all parts of one, and hand it to its worker by the outbox, at its time. *key*: an idempotency
    key. *publishes*: the caller publishes its events at once; else a running process does. Raises: NotSendable;
    NoTarget; KeyTaken."""
    digest = sha256(orjson.dumps(given.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).digest()
    if key is not None and (kept := await messages.key_of(pool, key)) is not None:
        return await _again(pool, kept, digest)
    try:
        requests = await checked(pool, settings, given, now, purpose)
    except UnknownTemplate:  # it may be a new one
        await templates.want(pool, given.provider or settings.messages_default_provider, [given.account])
        raise
    events = [event_of(one, now) for one in requests if one.not_before is None]
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            for request in requests:
                await messages.request(conn, request)
            kept = None if key is None else await messages.keep_key(conn, key, digest, requests[0].id)
            seqs = [] if kept is not None or not events else await _handed_on(conn, events, publishes)
        except BaseException:
            await transaction.rollback()
            raise
        if kept is not None:  # a request with this key was stored meanwhile
            await transaction.rollback()
            return await _again(conn, kept, digest)
        await transaction.commit()
    return Queued([one.id for one in requests], events, seqs)


async def _handed_on(conn: Connection, events: Sequence[Event], publishes: bool) -> list[int]:
    """Put *events* into the outbox; returns their numbers where the caller *publishes* them."""
    if publishes:
        return await outbox.emit(conn, events)
    await outbox.leave(conn, events)
    return []


async def _again(conn: Connection | Pool, kept: messages.Kept, digest: bytes) -> Queued:
    if kept.digest != digest:
        raise KeyTaken("this Idempotency-Key was used for another message: take a new key for a new message")
    return Queued(await messages.there(conn, part_ids(kept.message_id)) or [kept.message_id])


async def checked(pool: Pool, settings: Settings, given: MessageIn, now: datetime, purpose: str = "") -> list[Request]:
    """The messages as they would be stored: one, or the parts of a text that is to be split; by the account that it
    asks for or, where that cannot carry it, by the first one of its route that can. Raises: NotSendable, as the account
    that it asks for does; NoTarget."""
    given = await aimed(pool, settings, given, now)
    stored, route = await credentials.names(pool), route_of(settings, given)
    refusal: NotSendable | None = None
    for provider, account in route:
        known = await known_for(pool, settings, provider, account, given.template_name)
        by_it = given.model_copy(update={"provider": provider, "account": account})
        try:
            requests = _requests(settings, by_it, now, purpose, known, stored)
        except NotSendable as exc:
            refusal = refusal or exc
            if not isinstance(refusal, NotCarried):
                break
        else:
            names = tuple(channel_of(*one) for one in route) if len(route) > 1 else ()
            return in_order([replace(one, route=names) for one in requests])
    assert refusal is not None
    raise refusal


def _requests(
    settings: Settings,
    given: MessageIn,
    now: datetime,
    purpose: str,
    known: Known | None,
    accounts: Collection[tuple[str, str]],
) -> list[Request]:
    """The message, or its parts, by the provider that it names. Raises: NotSendable."""
    parts = parts_of(given, settings.messages_default_provider)
    if len(parts) > MOST_PARTS:
        raise NotSendable(f"the text would go as {len(parts)} messages, and at most {MOST_PARTS} are taken: shorten it")
    return [check(settings, part, now, purpose, known=known, accounts=accounts) for part in parts]


def route_of(settings: Settings, given: MessageIn) -> list[tuple[str, str]]:
    """(provider, account) of those that the message may go by, the one that it asks for first."""
    chosen = given.provider or settings.messages_default_provider, given.account
    if given.reaction is not None:  # its message is of that account alone
        return [chosen]
    usual = settings.messages_fallback_providers if given.provider is None else ()
    behind = usual if given.fallback is None else given.fallback
    return list(dict.fromkeys([chosen, *map(parted, behind)]))


def check(
    settings: Settings,
    given: MessageIn,
    now: datetime,
    purpose: str = "",
    *,
    known: Known | None = None,
    accounts: Collection[tuple[str, str]] = (),
) -> Request:
    """The message as it would be stored. *known*: the templates of its account that have the name of its own, as
    `templates.known_for` loads them; None: they were never read, and only the provider knows. *accounts*: those that
    are stored, by provider and name. Raises: NotSendable."""
    phone = parse_phone(given.to)
    if phone is None:
        raise NotSendable("no usable phone: write it with its country code, as +COUNTRY NUMBER")
    provider = given.provider or settings.messages_default_provider
    if provider not in SENDERS:
        raise NotSendable(f"provider {provider} sends no messages here: take one of {', '.join(SENDERS)}")
    require_account(settings, provider, given.account, accounts)
    content, category = _fitted(given.content(), known)
    if (refusal := SENDERS[provider]().refusal(content)) is not None:
        can_be_split = not given.split and len(parts_of(given.model_copy(update={"split": True}), provider)) > 1
        raise NotCarried(f"{refusal}; or {SPLIT_IT}" if can_be_split else refusal)
    id = uuid4()
    return Request(
        id=id,
        provider=provider,
        account=given.account,
        phone=phone.e164,
        kind=kind_of(content),
        content=to_json(content),
        purpose=purpose,
        event_id=event_id_of(id),
        not_before=given.not_before if given.not_before is not None and given.not_before > now else None,
        category=category or given.category,
    )


def _fitted(content: Content, known: Known | None) -> tuple[Content, str | None]:
    """*content* with the variables of a template by their full names, and the template's category. Raises:
    NotSendable."""
    if known is None or not isinstance(content, Template):
        return content, None
    try:
        definition = definition_of(content, known)
        category = None if definition.category is None else definition.category.lower()
        return fitted(content, definition), category
    except Unfit as unfit:
        raise (UnknownTemplate if unfit.unknown else NotSendable)(str(unfit)) from None


def require_account(settings: Settings, provider: str, account: str, stored: Collection[tuple[str, str]]) -> None:
    """Raises: NotCarried where there is no *account* of *provider*: neither in *stored* nor, as `default`, in the
    settings."""
    missing = lacking(settings, provider)
    if (provider, account) in stored and LIVE not in missing:
        return
    if missing and (account == DEFAULT or LIVE in missing):
        how = "" if LIVE in missing else f", or store it: `ferryman credentials set {provider}`"
        raise NotCarried(f"provider {provider} is not configured: set {', '.join(missing)}{how}")
    if account != DEFAULT:
        there = {name for of, name in stored if of == provider} | (set() if missing else {DEFAULT})
        raise NotCarried(
            f"account: there is none of that name; of {provider} there are: {', '.join(sorted(there)) or 'none'}"
        )


async def show(pool: Pool, id: UUID) -> dict[str, Any]:
    """The message as JSON. Raises: NoSuchMessage."""
    found = await stored.find(pool, id)
    if found is None:
        raise NoSuchMessage(f"there is no message {id}")
    return found


async def listed(
    pool: Pool, which: MessageQuery, *, before: tuple[datetime, UUID] | None = None
) -> list[dict[str, Any]]:
    """Messages, newest first: those that come after *before*. Raises: NotSendable where `to` is no phone."""
    phones = None
    if which.to is not None:
        phone = parse_phone(which.to)
        if phone is None:
            raise NotSendable("no usable phone: write it with its country code, as +COUNTRY NUMBER")
        phones = aliases(phone.e164)
    return await stored.listed(pool, before or _LATEST, phones, which)


async def cancel(pool: Pool, id: UUID) -> None:
    """Take back a message that is still queued. Raises: NoSuchMessage; NotCanceled."""
    if not await messages.cancel(pool, id):
        status = (await show(pool, id))["status"]
        raise NotCanceled(f"the message is {status}: only one that is queued can be canceled")

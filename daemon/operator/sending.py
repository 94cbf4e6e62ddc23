"""Messages that an operator or another program asks for: checked, stored, and shown."""

from __future__ import annotations

from collections.abc import Collection
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
from adapters.postgres.pool import Pool
from adapters.registry import SENDERS
from daemon.messages.content import kind_of, to_json
from daemon.messages.requests import event_id_of, event_of
from daemon.messages.template_fit import Unfit, definition_of, fitted
from daemon.messages.wiring import LIVE, lacking
from daemon.operator.faults import Conflict, NotThere, Unusable
from daemon.operator.templates import known_for
from daemon.settings.model import Settings
from schemas.api.messages import MessageIn
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
    """A message that was asked for. *event*: is in the outbox under the number *seq*; None where the message waits for
    its time, or an earlier request with the same key has asked for it."""

    id: UUID
    event: Event | None = None
    seq: int = 0


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
    """Store a message, and hand it to its worker by the outbox, at its time. *key*: an idempotency key. *publishes*:
    the caller publishes its event at once; else a running process does. Raises: NotSendable; KeyTaken."""
    digest = sha256(orjson.dumps(given.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).digest()
    if key is not None and (kept := await messages.key_of(pool, key)) is not None:
        return _again(kept, digest)
    try:
        request = await planned(pool, settings, given, now, purpose)
    except UnknownTemplate:  # it may be a new one
        await templates.want(pool, given.provider or settings.messages_default_provider, [given.account])
        raise
    event, seq = event_of(request, now) if request.not_before is None else None, 0
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            await messages.request(conn, request)
            kept = None if key is None else await messages.keep_key(conn, key, digest, request.id)
            if kept is None and event is not None and publishes:
                (seq,) = await outbox.emit(conn, [event])
            elif kept is None and event is not None:
                await outbox.leave(conn, [event])
        except BaseException:
            await transaction.rollback()
            raise
        if kept is not None:  # a request with this key was stored meanwhile
            await transaction.rollback()
            return _again(kept, digest)
        await transaction.commit()
    return Queued(request.id, event, seq)


def _again(kept: messages.Kept, digest: bytes) -> Queued:
    if kept.digest != digest:
        raise KeyTaken("this Idempotency-Key was used for another message: take a new key for a new message")
    return Queued(kept.message_id)


async def planned(pool: Pool, settings: Settings, given: MessageIn, now: datetime, purpose: str = "") -> Request:
    """The message as it would be stored: by the account that it asks for or, where that cannot carry it, by the first
    one of its route that can. Raises: NotSendable, as the account that it asks for does."""
    stored, route = await credentials.names(pool), route_of(settings, given)
    refusal: NotSendable | None = None
    for provider, account in route:
        known = await known_for(pool, settings, provider, account, given.template_name)
        by_it = given.model_copy(update={"provider": provider, "account": account})
        try:
            request = check(settings, by_it, now, purpose, known=known, accounts=stored)
        except NotSendable as exc:
            refusal = refusal or exc
            if not isinstance(refusal, NotCarried):
                break
        else:
            names = [channel_of(*one) for one in route]
            return replace(request, route=tuple(names) if len(names) > 1 else ())
    assert refusal is not None
    raise refusal


def route_of(settings: Settings, given: MessageIn) -> list[tuple[str, str]]:
    """(provider, account) of those that the message may go by, the one that it asks for first."""
    chosen = given.provider or settings.messages_default_provider, given.account
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
        raise NotSendable("to is no usable phone: write it with its country code, as +COUNTRY NUMBER")
    provider = given.provider or settings.messages_default_provider
    if provider not in SENDERS:
        raise NotSendable(f"provider {provider} sends no messages here: take one of {', '.join(SENDERS)}")
    require_account(settings, provider, given.account, accounts)
    content, category = _fitted(given.content(), known)
    if (refusal := SENDERS[provider]().refusal(content)) is not None:
        raise NotCarried(refusal)
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
            raise NotSendable("to is no usable phone: write it with its country code, as +COUNTRY NUMBER")
        phones = aliases(phone.e164)
    return await stored.listed(pool, before or _LATEST, phones, which)


async def cancel(pool: Pool, id: UUID) -> None:
    """Take back a message that is still queued. Raises: NoSuchMessage; NotCanceled."""
    if not await messages.cancel(pool, id):
        status = (await show(pool, id))["status"]
        raise NotCanceled(f"the message is {status}: only one that is queued can be canceled")

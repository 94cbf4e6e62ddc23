"""An operator's correction of an order: who its buyer is. It counts until the order itself says something else there.

It is stored at once, and its events leave by the outbox, so neither a crash nor a Redis that is away loses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adapters.postgres import stored_orders
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Pool
from daemon.contacts.correcting import corrected_state, store
from daemon.operator.orders import NoSuchOrder
from schemas.cleaned import NAME_LENGTH, cut, visible
from schemas.errors import UsageError
from schemas.orders import Order, order_from
from schemas.phone import parse_phone

_LONGEST_EMAIL: Final = 320


class NoCorrection(UsageError):
    """What was given cannot stand in the place of what the order says."""


@dataclass(frozen=True, slots=True)
class Correction:
    """*fields*: the names of what changes; none where the order says so already. *phone*: the order's phone after it,
    in E.164. *event_id*: of the event that brings it; "" where nothing changes or nothing was done."""

    order_id: str
    fields: tuple[str, ...]
    phone: str | None
    event_id: str = ""


async def correct(
    pool: Pool, order_id: str, given: Mapping[str, str], operator: str, now: datetime, *, dry_run: bool
) -> Correction:
    """Put *given* (phone, email, name: as typed) in the place of what the order says of its buyer. *operator*: the
    person, for the audit log. *dry_run*: only look. Raises: NoSuchOrder; NoCorrection."""
    async with pool.acquire() as conn, conn.transaction():
        state = await stored_orders.locked(conn, order_id)
        if state is None:
            raise NoSuchOrder(f"there is no order {order_id}: see `ferryman orders list`")
        before = order_from(state.text.encode(), state.received_at)
        values = {name: _read(name, text, before) for name, text in given.items()}
        changed = tuple(name for name, value in values.items() if value != _said(before)[name])
        order, event = corrected_state(state, values, now)
        phone = None if order.phone is None else order.phone.e164
        if dry_run or not changed:
            return Correction(order_id, changed, phone)
        await outbox.leave(conn, await store(conn, order, event, operator))
        return Correction(order_id, changed, phone, event.id)


def _said(order: Order) -> dict[str, str | None]:
    phone = None if order.phone is None else order.phone.e164
    return {"phone": phone, "email": order.client_email, "name": order.client_name}


def _read(name: str, text: str, order: Order) -> str:
    """*text* as it is stored for *name*. Raises: NoCorrection."""
    if name == "phone":
        phone = parse_phone(text, branch=order.branch)
        if phone is None:
            raise NoCorrection("that is no usable phone: write it with its country code, as +COUNTRY NUMBER")
        return phone.e164
    seen = visible(text).strip()
    if not seen:
        raise NoCorrection(f"the {name} is empty: a correction says what is right")
    if name == "email" and (seen.count("@") != 1 or " " in seen or len(seen) > _LONGEST_EMAIL):
        raise NoCorrection("that is no e-mail address: write it as NAME@DOMAIN")
    return cut(seen, NAME_LENGTH) if name == "name" else seen

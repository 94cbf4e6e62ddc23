"""What a sync of an order would do now: it looks at the directory, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.channel import Channels
from adapters.http import open_session
from adapters.postgres.person_orders import Asked
from adapters.postgres.pool import Pool
from adapters.redis import streams
from daemon.accounts import CGB
from daemon.bus.worker import Outside, utc_now
from daemon.contacts.decisions import Create, Update, decide
from daemon.contacts.told import wanted
from daemon.contacts.wiring import CONTACTS
from daemon.operator.replay import TIMEOUT_S
from daemon.rules.files import load_all
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from schemas.contacts import FieldValue
from schemas.errors import FerrymanError
from schemas.orders import order_from
from schemas.phone import Phone


class NoLook(FerrymanError):
    """The directory cannot be asked."""


@dataclass(frozen=True, slots=True)
class Looked:
    """*action*: created, updated or unchanged. *shown*: the order that the contact would show. *fields*: what would be
    written."""

    action: str
    shown: str
    fields: Mapping[str, FieldValue]


async def look(settings: Settings, pool: Pool, redis_url: str, order_id: str, phone: str) -> Looked:
    """What the contact of *phone* (E.164) lacks. Raises: NoLook; what the directory raises; WrongRules."""
    client = streams.client(redis_url, timeout_s=TIMEOUT_S)
    in_force = InForce(settings)
    try:
        async with open_session() as session:
            outside = Outside(
                settings=settings,
                secret=in_force.secret,
                pool=pool,
                redis=client,
                session=session,
                channels=Channels([CGB]),
                metrics=Metrics((), workers=[], sources=[], providers=[]),
                now=utc_now,
                rules=load_all(settings.ferryman_rules_dir, CONTACTS.rules),
            )
            async with CONTACTS.opened(outside) as deps:
                if deps.directory is None:
                    raise NoLook("CGB_API_KEY is not set: without it nothing can be looked at")
                stand = await deps.orders_of(Asked(phone, order_id, whole=True))
                if stand.newest_body is None or stand.received_at is None:
                    raise NoLook(f"the order {order_id} is not that person's any more: try again")
                order = order_from(stand.newest_body.encode(), stand.received_at)
                known = await deps.directory.field_names()
                person = Phone.parse_e164(phone)
                said, fields = wanted(order, person, stand, known, deps.policy)
                plan = decide(said, person, await deps.directory.find(person), fields, deps.policy.cgb)
    finally:
        await client.aclose()
    match plan:
        case Create(draft):
            return Looked("created", order.order_id, draft.fields)
        case Update(_, changed):
            return Looked("updated", order.order_id, changed)
    return Looked("unchanged", order.order_id, {})

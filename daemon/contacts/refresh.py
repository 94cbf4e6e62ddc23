"""The refresh: by the clock, the contacts of people who have ordered lately are looked at again in CGB.

It finds what was changed there and was told by no flow. What it finds is a `contact.changed` like that of a flow, and
contact-changes decides. A contact that a sync, a flow or a refresh has looked at within CGB_REFRESH_MINUTES is left
alone. The looks are bulk at the rate limit, a quarter of it at most, spread over the minute: live orders go first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from adapters import permit
from adapters.permit import Permit
from adapters.postgres import refreshed
from adapters.postgres.bus import members, outbox
from adapters.postgres.contacts import forget_written
from adapters.postgres.person_orders import Asked, of_persons
from adapters.postgres.refreshed import Page
from daemon.bus.worker import Duty, Outside
from daemon.contacts.decisions import differing
from daemon.contacts.field_policy import FIELDS, FieldPolicy
from daemon.contacts.fields import digest_of
from daemon.contacts.told import wanted
from schemas.contact_changes import change_data
from schemas.contacts import DirectoryContact, FieldValue
from schemas.envelope import Event, event_id
from schemas.errors import FerrymanError, NotSent, Transient, Uncertain
from schemas.identity import key
from schemas.orders import order_from
from schemas.phone import Phone, line

if TYPE_CHECKING:
    from adapters.ports import ContactDirectory

MINUTE_S: Final = 60.0
LEAST_S: Final = 1.0
"""A turn costs the tables a few queries, so turns come no faster, however high the limit is."""

PAGE: Final = 500
SHARE: Final = 4
"""One of so many places at the rate limit is for refreshes, those of all processes together."""

_LATEST: Final = datetime.max.replace(tzinfo=UTC)

log = structlog.get_logger(__name__)


class Refresh:
    """The refresh of one process. *directory* is asked for when there is something to look at."""

    def __init__(self, outside: Outside, directory: Callable[[], ContactDirectory]) -> None:
        self._outside = outside
        self._make = directory
        self._directory: ContactDirectory | None = None
        self._policy = FieldPolicy.of(outside.rules(FIELDS))
        self._page: Page | None = None
        self._turns = 0

    async def turn(self) -> None:
        """Look at one contact that is due, in the turn of this process. An outage, and a rate limit that is used up,
        leave the contact for its next time."""
        self._turns += 1
        if self._turns % max(1, len(await members.live(self._outside.pool))):
            return  # of the processes that live each takes one turn of so many
        settings, pool = self._outside.settings, self._outside.pool
        if self._page is None or not self._page.phones:
            before = _LATEST if self._page is None or self._page.until is None else self._page.until
            self._page = await refreshed.ordered_lately(pool, settings.cgb_refresh_days, before, PAGE)
        due = await refreshed.claim(pool, self._page.phones, settings.cgb_refresh_minutes, 1)
        if not due:
            self._page = Page((), self._page.until)  # the next turn reads the next page
            return
        permit.current.set(Permit(may_send=_always, priority="bulk", asked=True))
        try:
            await self._look(Phone.parse_e164(due[0]))
        except (NotSent, Transient, Uncertain) as error:
            log.info("contacts.refresh_stopped", error=error.code)
        except FerrymanError as error:
            log.warning("contacts.refresh_stopped", error=error.code)

    async def _look(self, phone: Phone) -> None:
        """Ask CGB for the contact of *phone*, and tell where it holds something else than it was given last."""
        (stand,) = await of_persons(self._outside.pool, [Asked(phone.e164, whole=True)])
        if stand.newest_body is None or stand.received_at is None:
            return
        settings = self._outside.settings
        self._directory = directory = self._directory or self._make()
        order, at = order_from(stand.newest_body.encode(), stand.received_at), self._outside.now()
        _, fields = wanted(order, phone, stand, await directory.field_names(), self._policy)
        digest = digest_of(line(phone.e164), fields)
        if stand.written != digest:
            # It is to be given something else. The sync of its order looks by itself, but for what has changed after
            # that: the account has got another field, or a rule names another owner.
            if stand.written is not None and at - stand.received_at > timedelta(minutes=settings.cgb_refresh_minutes):
                await self._emit(_diverged(phone, digest, at))
            return
        found = await _found(directory, stand.notations)
        if found is None:
            # It was deleted there. It is made again when its person is synced next, which must not pass for done.
            async with self._outside.pool.acquire() as conn, conn.transaction():
                await forget_written(conn, [phone.e164])
            return
        self._outside.metrics.inc("ferryman_contacts_refreshed_total")
        if changed := self._changed(fields, found):
            await self._emit(_told(phone, found.id, changed, at))

    async def _emit(self, event: Event) -> None:
        async with self._outside.pool.acquire() as conn, conn.transaction():
            await outbox.leave(conn, [event])

    def _changed(self, fields: Mapping[str, FieldValue], found: DirectoryContact) -> dict[str, str]:
        """The fields that CGB has changed. A field that is blank there says something only where the orders own it."""
        held = {name: found.fields.get(name, "").strip() for name in differing(fields, found.fields)}
        return {name: text for name, text in held.items() if text or self._policy.owner_of(name) == "orders"}


async def _found(directory: ContactDirectory, notations: Sequence[str]) -> DirectoryContact | None:
    """The contact that the directory has under the first of *notations* that finds one."""
    for notation in notations:
        if (found := await directory.find(Phone.parse_e164(notation))) is not None:
            return found
    return None


def _always() -> None:
    """The looks change nothing, so no lease is needed for them."""


def _told(phone: Phone, contact_id: str, fields: Mapping[str, str], at: datetime) -> Event:
    data = change_data(system="cgb", contact_id=contact_id, phone=phone, at=at, fields=fields, received=b"null")
    return Event(
        id=event_id("cgb", "refresh", contact_id, at.isoformat()),
        type="contact.changed",
        source="cgb",
        subject=key(phone=phone),
        time=at,
        data=data,
    )


def _diverged(phone: Phone, digest: bytes, at: datetime) -> Event:
    """Once for each thing that the contact is to be given."""
    return Event(
        id=event_id("ferryman", "refresh", phone.e164, digest.hex()),
        type="contact.diverged",
        source="ferryman",
        subject=key(phone=phone),
        time=at,
        data=orjson.dumps({"phone": phone.e164}),
    )


def duties(outside: Outside, directory: Callable[[], ContactDirectory]) -> Sequence[Duty]:
    """The refresh of a process; none where it is off, and while the sync is off, or only planned."""
    settings = outside.settings
    asks = settings.cgb_sync_enabled and not settings.cgb_sync_dry_run and settings.cgb_api_key is not None
    if not asks or not settings.cgb_refresh_minutes:
        return ()
    every_s = MINUTE_S / max(1, settings.cgb_rate_per_minute // SHARE)
    return (Duty("refresh", Refresh(outside, directory).turn, max(LEAST_S, every_s)),)

"""What the contacts domain needs of the outside, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from adapters.postgres import told_fields
from adapters.postgres.applicant_issues import Known, known
from adapters.postgres.person_orders import Asked, PersonOrders, of_persons
from adapters.postgres.whatsapp_checks import known_of
from adapters.registry import CHECKERS, DIRECTORIES
from daemon.accounts import CGB, SCOPES, WHAPI, gate_to
from daemon.bus.batcher import Batcher
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Domain, Duty, Outside
from daemon.contacts import reconciler, refresh, reports_again
from daemon.contacts.checking import Checkers
from daemon.contacts.field_policy import FIELDS, FieldPolicy
from daemon.contacts.fields import KEPT, OF_AN_ORDER
from daemon.contacts.validation import Terms
from daemon.telemetry.declared import Declared
from schemas.phone import Phone

if TYPE_CHECKING:
    from adapters.gate import Gate
    from adapters.ports import ContactDirectory, NumberChecker
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings
    from daemon.telemetry.metrics import Metrics
    from schemas.whatsapp import Evidence, EvidenceSource

READ_BACK: Final = 100
"""Of so many writes one is read back."""

METRICS: Final = (
    Declared("cgb_sync_total", "counter", "Order synchronisations to CGB that have ended."),
    Declared("cgb_sync_success", "counter", "Order synchronisations to CGB that succeeded."),
    Declared("cgb_sync_failures", "counter", "Order synchronisations to CGB that failed."),
    Declared(
        "cgb_sync_duration",
        "histogram",
        "Seconds of one synchronisation to CGB.",
        buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
    ),
    Declared("cgb_contacts_created", "counter", "Contacts created in CGB."),
    Declared("cgb_contacts_updated", "counter", "Contacts updated in CGB."),
    Declared("cgb_whatsapp_available", "counter", "Numbers found to be on WhatsApp."),
    Declared("cgb_whatsapp_unavailable", "counter", "Numbers found not to be on WhatsApp."),
    Declared("ferryman_field_conflicts_total", "counter", "Fields that CGB has changed and that the orders own."),
    Declared("ferryman_contacts_refreshed_total", "counter", "Contacts that were looked at in CGB by the clock."),
    Declared("ferryman_orders_reconciled_total", "counter", "Orders without an end that were synced again."),
    Declared(
        "ferryman_reports_reconciled_total", "counter", "Reports that were sent again, as their orders came late."
    ),
    Declared(
        "ferryman_orders_unsettled",
        "gauge",
        "Orders that nothing has touched for FERRYMAN_RECONCILE_MINUTES and that have no end, at the last look.",
    ),
    Declared(
        "ferryman_sync_untried_seconds",
        "gauge",
        f"How long orders have come while no sync was tried; 0: one was tried since, or none has come. {OF_ALL}",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactDeps:
    """The outside as the handlers of this domain see it. *orders_of*: answers which order a person's contact shows.
    *applicant*: answers which order names an applicant. *phone_of*: answers whose phone a contact of CGB has, as far as
    it is known here. *sampled*: whether what was just written is to be read back.
    *checks_of*: what is known of a number on WhatsApp, also where it has expired; *checkers*: whom to ask, perhaps
    nobody; *terms*: how long an answer counts. *policy*: which side owns a field. *directory*: None where no key is
    set; then the workers that need it are off."""

    settings: Settings
    metrics: Metrics
    orders_of: Callable[[Asked], Awaitable[PersonOrders]]
    applicant: Callable[[str], Awaitable[Known]]
    phone_of: Callable[[str], Awaitable[Phone | None]]
    checks_of: Callable[[Phone], Awaitable[Evidence | None]]
    checkers: Checkers
    terms: Terms
    policy: FieldPolicy
    directory: ContactDirectory | None = None
    sampled: Callable[[], bool] = lambda: False


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[ContactDeps]:
    settings = outside.settings
    lookups: Batcher[Asked, PersonOrders] = Batcher(partial(of_persons, outside.pool))
    applicants: Batcher[str, Known] = Batcher(partial(known, outside.pool))
    phones: Batcher[str, Phone | None] = Batcher(partial(_phones, outside.pool))
    checks: Batcher[Phone, Evidence | None] = Batcher(partial(known_of, outside.pool))
    cgb = None if settings.cgb_api_key is None else _cgb_gate(outside)
    yield ContactDeps(
        settings=settings,
        metrics=outside.metrics,
        orders_of=lookups.submit,
        applicant=applicants.submit,
        phone_of=phones.submit,
        checks_of=checks.submit,
        checkers=checkers(outside, cgb),
        terms=terms_of(settings),
        policy=FieldPolicy.of(outside.rules(FIELDS)),
        directory=None if cgb is None else _directory(outside, cgb),
        sampled=partial(_every, READ_BACK, count(1)),
    )


async def _phones(pool: Pool, cgb_ids: Sequence[str]) -> list[Phone | None]:
    found = await told_fields.phones_of(pool, cgb_ids)
    return [None if phone is None else Phone.parse_e164(phone) for phone in found]


def _every(most: int, numbers: Iterator[int]) -> bool:
    return next(numbers) % most == 0


def terms_of(settings: Settings) -> Terms:
    """For how long an answer about WhatsApp counts."""
    return Terms(settings.ferryman_whatsapp_yes_days, settings.ferryman_whatsapp_no_days)


def checkers(outside: Outside, cgb: Gate | None = None) -> Checkers:
    """The checkers that the settings configure. *cgb*: the gate to CGB, where there is one already."""
    settings = outside.settings
    made: dict[EvidenceSource, NumberChecker] = {}
    if settings.cgb_api_key is not None and _cgb_may_be_asked(settings):
        made["cgb"] = CHECKERS[CGB]()(
            cgb or _cgb_gate(outside), base_url=settings.cgb_api_url, api_key=partial(outside.secret, "cgb_api_key")
        )
    if settings.whapi_token is not None:
        made["whapi"] = CHECKERS[WHAPI]()(
            _whapi_gate(outside), base_url=settings.whapi_api_url, api_key=partial(outside.secret, "whapi_token")
        )
    return Checkers(made)


def _cgb_may_be_asked(settings: Settings) -> bool:
    """Only the documented style has the question; and a sync that is off, or a dry run, means that CGB gets no call."""
    return settings.cgb_api_style == "documented" and settings.cgb_sync_enabled and not settings.cgb_sync_dry_run


def _cgb_gate(outside: Outside) -> Gate:
    return gate_to(outside, CGB, "CGB")


def _whapi_gate(outside: Outside) -> Gate:
    return gate_to(outside, WHAPI, "Whapi")


def _directory(outside: Outside, gate: Gate) -> ContactDirectory:
    settings = outside.settings
    make = DIRECTORIES[settings.cgb_api_style]()
    return make(
        gate,
        base_url=settings.cgb_api_url,
        api_key=partial(outside.secret, "cgb_api_key"),
        cache_s=settings.cgb_cache_timeout,
        wanted=OF_AN_ORDER | KEPT,
    )


def _duties(outside: Outside, deps: ContactDeps) -> Sequence[Duty]:
    """What the domain does by the clock. The refresh is not in the way of the handlers' gate: it has one of its own."""
    refreshing = refresh.duties(outside, lambda: _directory(outside, _cgb_gate(outside)))
    return [*reconciler.duties(outside), *reports_again.duties(outside), *refreshing]


CONTACTS: Final[Domain[ContactDeps]] = Domain(
    name="contacts",
    opened=_opened,
    metrics=METRICS,
    scopes={CGB: SCOPES[CGB], WHAPI: SCOPES[WHAPI]},
    duties=_duties,
    rules=(FIELDS,),
)

"""What the contacts domain needs of the outside, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from adapters.postgres.applicant_issues import Known, known
from adapters.postgres.person_orders import Asked, PersonOrders, of_persons
from adapters.registry import DIRECTORIES
from daemon.bus.batcher import Batcher
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Domain, Outside
from daemon.contacts.fields import KEPT, OF_AN_ORDER
from daemon.contacts.reconciler import duties
from daemon.telemetry.declared import Declared

if TYPE_CHECKING:
    from adapters.ports import ContactDirectory
    from daemon.settings.model import Settings
    from daemon.telemetry.metrics import Metrics

CGB: Final = "cgb"
"""The channel of the contact directory."""

CGB_SCOPE: Final = "cgb:account"
"""The scope of the rate limit: CGB limits the account as a whole, to 100 requests in 60 seconds by its refusals."""

READ_BACK: Final = 100

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
    Declared("ferryman_orders_reconciled_total", "counter", "Orders without an end that were synced again."),
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
    *applicant*: answers which order names an applicant.
    *directory*: None where no key is set; then the workers that need it are off. *sampled*: whether what was just
    written is to be read back: one write in READ_BACK."""

    settings: Settings
    metrics: Metrics
    orders_of: Callable[[Asked], Awaitable[PersonOrders]]
    applicant: Callable[[str], Awaitable[Known]]
    directory: ContactDirectory | None = None
    sampled: Callable[[], bool] = lambda: False


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[ContactDeps]:
    lookups: Batcher[Asked, PersonOrders] = Batcher(partial(of_persons, outside.pool))
    applicants: Batcher[str, Known] = Batcher(partial(known, outside.pool))
    yield ContactDeps(
        settings=outside.settings,
        metrics=outside.metrics,
        orders_of=lookups.submit,
        applicant=applicants.submit,
        directory=_directory(outside),
        sampled=partial(_every, READ_BACK, count(1)),
    )


def _every(most: int, numbers: Iterator[int]) -> bool:
    return next(numbers) % most == 0


def _directory(outside: Outside) -> ContactDirectory | None:
    from adapters.gate import Gate
    from adapters.redis.limits import RateLimiter

    settings = outside.settings
    if settings.cgb_api_key is None:
        return None
    gate = Gate(
        session=outside.session,
        channel=outside.channels[CGB],
        limiter=RateLimiter(outside.redis, per_minute=settings.cgb_rate_per_minute),
        scope=CGB_SCOPE,
        system="CGB",
        timeout_s=settings.cgb_timeout / 1000,
    )
    make = DIRECTORIES[settings.cgb_api_style]()
    return make(
        gate,
        base_url=settings.cgb_api_url,
        api_key=partial(outside.secret, "cgb_api_key"),
        cache_s=settings.cgb_cache_timeout,
        wanted=OF_AN_ORDER | KEPT,
    )


CONTACTS: Final[Domain[ContactDeps]] = Domain(
    name="contacts", opened=_opened, metrics=METRICS, scopes={CGB: CGB_SCOPE}, duties=duties
)

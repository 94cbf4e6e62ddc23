"""What the labels of the CRM need of the outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from adapters.postgres import crm as kept
from adapters.postgres.crm import Asked, Standing
from daemon.accounts import CHATWOOT, SCOPES, gate_to
from daemon.bus.batcher import Batcher
from daemon.bus.worker import Domain, Outside
from daemon.conversations.labels.account import crm_on, why_off
from daemon.conversations.labels.labelling import Hold, Labelling
from daemon.conversations.labels.rules import LABELS
from daemon.conversations.labels.tagger import Tagger
from daemon.telemetry.declared import Declared

if TYPE_CHECKING:
    from adapters.conversation_ports import Crm
    from daemon.telemetry.metrics import Metrics

SETTLE: Final = timedelta(seconds=2)
"""So long after labels were written they are looked at once more: a page of Chatwoot that was open meanwhile may have
written its older list over them."""

WRITTEN: Final = "ferryman_crm_writes_total"

METRICS: Final = (
    Declared(
        WRITTEN,
        "counter",
        "Writes to the CRM by crm-labels; restored: labels that were put back, as a list was written over them.",
        ("what",),
        values={"what": ("labels", "attributes", "notes", "restored")},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmDeps:
    """The outside as the handlers of this domain see it. *standing*: answers how a person stands. *hold*: a lock over
    all processes. *keeps*: how long it is known which messages were counted."""

    account_id: int
    crm: Crm
    labelling: Labelling
    tagger: Tagger
    standing: Callable[[Asked], Awaitable[Standing]]
    hold: Hold
    metrics: Metrics
    keeps: timedelta
    settle: timedelta = SETTLE


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[CrmDeps | None]:
    settings = outside.settings
    if why_off(settings) is not None or settings.chatwoot_account_id is None:
        yield None  # the worker is off
        return
    from adapters.redis.locks import Locks

    rules, account_id = outside.rules(LABELS), settings.chatwoot_account_id
    crm = crm_on(gate_to(outside, CHATWOOT, "Chatwoot"), settings, outside.secret)
    hold = Locks(outside.redis).hold
    lookups: Batcher[Asked, Standing] = Batcher(partial(kept.standing, outside.pool, account_id))
    yield CrmDeps(
        account_id=account_id,
        crm=crm,
        labelling=Labelling(crm, hold, account_id, rules.catalog(), rules.rivals()),
        tagger=Tagger(rules),
        standing=lookups.submit,
        hold=hold,
        metrics=outside.metrics,
        keeps=timedelta(days=settings.ferryman_inbox_days),
    )


CRM: Final[Domain[CrmDeps | None]] = Domain(
    name="crm",
    opened=_opened,
    metrics=METRICS,
    scopes={CHATWOOT: SCOPES[CHATWOOT]},
    rules=(LABELS,),
)

"""Which automatic messages a stored order brings about, for an operator who looks or asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from adapters.postgres import audit_log, automatic, stored_orders
from adapters.postgres.audit_log import Logged
from adapters.postgres.automatic import Standing
from adapters.postgres.bus import outbox
from adapters.postgres.pool import Pool
from adapters.postgres.stored_orders import OrderFilter
from daemon.contacts.states import state_from
from daemon.messages.automatic import asked_of, record, terms_of, told_of
from daemon.messages.automatic_decisions import Decision, Wanted, decide
from daemon.messages.automatic_fields import facts_of_order
from daemon.messages.automatic_rules import MESSAGE_RULES
from daemon.messages.content import kind_of, to_json
from daemon.operator import orders
from daemon.rules.files import load_all
from daemon.settings.model import Settings
from daemon.workers import rule_files
from schemas.errors import FerrymanError, Malformed


class NotReadable(FerrymanError):
    """The stored order has no text any more that could be read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stored order brings about. *told*: as it would be recorded. *standing*: its messages that there are."""

    order_id: str
    decision: Decision
    told: automatic.Told
    standing: Mapping[UUID, Standing]

    @property
    def left(self) -> list[Wanted]:
        """The messages that `ask` would ask for."""
        return [one for one in self.decision.wanted if one.id not in self.standing or self.standing[one.id].open]

    def document(self) -> dict[str, Any]:
        """As JSON: each rule that goes by orders, and what it says of this one."""
        passed = [asdict(one) | {"message": None} for one in self.decision.passed]
        return {
            "order_id": self.order_id,
            "gate": self.decision.gate,
            "rules": [*map(self._wanted, self.decision.wanted), *passed],
        }

    def _wanted(self, one: Wanted) -> dict[str, Any]:
        message = {
            "id": str(one.id),
            "status": self.standing[one.id].status if one.id in self.standing else None,
            "to": one.to.e164,
            "provider": one.provider,
            "account": one.account,
            "not_before": one.not_before,
            kind_of(one.content): to_json(one.content),
        }
        return {"rule": one.rule, "kind": one.kind, "subject": one.subject, "reason": None, "message": message}


async def plan(pool: Pool, settings: Settings, order: str, now: datetime) -> Plan:
    """What the stored order that *order* names would bring about now, by the rules of the settings. How old it is does
    not matter: an operator asks. Raises: NoSuchOrder; SeveralFit; NotReadable; WrongRules."""
    terms = terms_of(settings, load_all(settings.ferryman_rules_dir, rule_files())(MESSAGE_RULES))
    order_id = (await orders.stored(pool, order)).standing.order_id
    (state,) = await stored_orders.page(pool, OrderFilter(ids=(order_id,)), "", 1)
    try:
        read, event = state_from(state.text, state.received_at, state.event_id)
    except Malformed as exc:
        raise NotReadable(f"the text of the order {order_id} is not kept any more, or cannot be read: {exc}") from exc
    facts = facts_of_order(read, event.time)
    (known,) = await automatic.known(pool, [asked_of(facts)])
    found = decide(facts, known.language, terms, now)
    decision = replace(found, wanted=tuple(replace(one, old=False) for one in found.wanted))
    told = told_of(event, facts, read.state, decision, now, by_hand=True)
    return Plan(order_id, decision, told, await automatic.of_order(pool, order_id))


async def ask(pool: Pool, planned: Plan, operator: str) -> Mapping[UUID, Standing]:
    """Ask for what is left of *planned*, on behalf of *operator*: what was told before is not told again. Returns the
    order's automatic messages then."""
    async with pool.acquire() as conn, conn.transaction():
        await outbox.leave(conn, await record(conn, [planned.told]))
        detail = {"messages": {one.kind: str(one.id) for one in planned.left}}
        await audit_log.add(conn, [Logged(operator, "automatic.asked", f"order:{planned.order_id}", detail)])
    return await automatic.of_order(pool, planned.order_id)

"""A batch of pushes from what was read to what is written: read, decide, write, and again where others have changed a
record meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from adapters.postgres.pool import Pool, PostgresError, refuses_data, store_is_down
from adapters.postgres.records import reading, writing
from adapters.postgres.records.reading import Seen, Wanted
from adapters.postgres.records.rows import AckRow
from adapters.postgres.records.writing import Overtaken, Writes, Written
from daemon.bus.worker import Clock
from daemon.records.models.rules import Models
from daemon.records.pushing.batch import Item, Push
from daemon.records.pushing.counting import Counting
from daemon.records.pushing.planning import Outcome, Plan
from daemon.records.pushing.publishing import Publishing
from daemon.records.pushing.pushes import PushOut, Refused
from daemon.records.pushing.replicas import Standing

ROUNDS: Final = 5
"""How often an operation is decided at most, while others change its record."""

UNSTORABLE: Final = "the database refuses its values: change them"
CONTENDED: Final = "others changed its record all the time: send it again later"


class Applying:
    """Applies batches of pushes. *edge*: whether what is changed is queued for an upstream."""

    def __init__(
        self, pool: Pool, models: Models, now: Clock, publishing: Publishing, counting: Counting, *, edge: bool
    ) -> None:
        self._pool = pool
        self._models = models
        self._now = now
        self._publishing = publishing
        self._counting = counting
        self._edge = edge

    async def run(self, pushes: Sequence[Push]) -> list[PushOut | Refused]:
        """Apply *pushes*, each as if alone; their answers, in their order. Raises: as the store; the ledger knows what
        was applied until then."""
        items = [item for push in pushes for item in push.items if item.answer is None]
        asked = [*map(_wanted_of_push, pushes), *map(_wanted, items)]
        seen = await reading.read(self._pool, asked)
        feed = seen[0].feed
        standing = Standing(feed, {one.asked.replica: row.replica for one, row in zip(pushes, seen, strict=False)})
        refused = [standing.admit(push) for push in pushes]
        taken = {id(push) for push, why in zip(pushes, refused, strict=True) if why is None}
        known = dict(zip(items, seen[len(pushes) :], strict=True))
        acks = standing.acks()
        await self._settle([item for item in items if id(item.push) in taken], acks, known)
        if acks:  # no operation has carried them along
            await writing.write(self._pool, Writes(acks=acks))
        answers = [why or self._answer(push, feed) for push, why in zip(pushes, refused, strict=True)]
        for push in pushes:
            push.slots.clear()  # each knows its push: else it would wait for the collector
        return answers

    def _answer(self, push: Push, feed: UUID) -> PushOut:
        results = push.results()
        self._counting.answered(results)
        ack = None if push.asked.replica is None else str(push.ack)
        return PushOut(ack=ack, server_time=self._now(), feed=str(feed), results=results, provisional=self._edge)

    async def _settle(self, items: list[Item], acks: list[AckRow], known: dict[Item, Seen] | None = None) -> None:
        """Answer *items*. *acks*: go with the first write, and are taken out of the list then. *known*: what was read
        for them."""
        for _ in range(ROUNDS):
            if not items:
                return
            try:
                await self._round(items, acks, known)
            except Overtaken:
                pass
            except (PostgresError, ValueError) as exc:
                if store_is_down(exc) or not (isinstance(exc, PostgresError) or refuses_data(exc)):
                    raise
                await self._halve(items, acks)
                return
            items, known = [item for item in items if item.answer is None], None
            self._counting.again(len(items))
        for item in items:
            item.end(item.reject("internal", CONTENDED, retry=True))

    async def _halve(self, items: list[Item], acks: list[AckRow]) -> None:
        """Find the one of *items* that the database refuses; the others are applied."""
        if len(items) == 1:
            items[0].end(items[0].reject("unstorable", UNSTORABLE))
            return
        half = len(items) // 2
        await self._settle(items[:half], acks)
        await self._settle(items[half:], acks)

    async def _round(self, items: list[Item], acks: list[AckRow], known: dict[Item, Seen] | None) -> None:
        """Decide *items*, write what comes of it, and answer those that nobody has overtaken."""
        if known is None:
            known = dict(zip(items, await reading.read(self._pool, list(map(_wanted, items))), strict=True))
        plan = Plan(self._models, self._now(), edge=self._edge)
        for item in items:
            plan.add(item, known[item])
        if waiting := plan.meetings.waiting():
            plan.meetings.take_place(await reading.open_conflicts(self._pool, waiting))
        writes = plan.writes()
        writes.acks = acks.copy()
        written = await writing.write(self._pool, writes) if writes else Written()
        acks.clear()
        told = [event for event in writes.events if event.id in written.outbox]
        self._publishing.tell(told, [written.outbox[event.id] for event in told])
        outcomes = list(plan.settled(written))
        for outcome in outcomes:
            outcome.item.end(outcome.answer)
        self._count(outcomes)
        await self._name_conflicts(outcomes)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.met is not None:
                self._counting.met(outcome.met.conflict)
        if beside := sum(1 for outcome in outcomes if outcome.parallel):
            self._counting.beside(beside)

    async def _name_conflicts(self, outcomes: Sequence[Outcome]) -> None:
        """Say of operations that came again where the values of theirs are kept."""
        again = [outcome.item for outcome in outcomes if outcome.answer.first == "conflict"]
        if not again:
            return
        ids = await reading.conflict_ids(self._pool, [(*item.identity, *item.operation.key) for item in again])
        for item, id in zip(again, ids, strict=True):
            item.name_conflict(id)


def _wanted_of_push(push: Push) -> Wanted:
    return Wanted(None, None, None, None, None, push.asked.replica)


def _wanted(item: Item) -> Wanted:
    operation, push = item.operation, item.push
    return Wanted(operation.model, operation.record_id, item.ledger_user, operation.op_id, push.audiences, None)

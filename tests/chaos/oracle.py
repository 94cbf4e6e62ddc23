"""The oracle: whether what was accepted had its effect once and in order, by the tables and by the simulated CGB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.postgres.pool import Pool
from tests.chaos.cgb_recorder import Recorder
from tests.chaos.load import Accepted, contact_of


@dataclass
class Verdict:
    """What became of what was accepted; every list but the first should be empty."""

    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    inverted: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    balanced: bool = True
    audit: str = ""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return self.balanced and not (self.lost or self.doubled or self.inverted or self.dead)

    def line(self) -> str:
        """In one line."""
        sums = {name: len(getattr(self, name)) for name in ("lost", "doubled", "inverted", "dead")}
        said = " ".join(f"{name} {count}" for name, count in sums.items())
        return f"accepted {self.accepted}, {said}, {'balanced' if self.balanced else 'NOT balanced'}"

    def details(self) -> str:
        """What is wrong, the first few of each kind."""
        kinds = ("lost", "doubled", "inverted", "dead")
        wrong = [f"{name}: {found[:5]}" for name in kinds if (found := getattr(self, name))]
        return "\n".join([self.line(), *wrong, *([] if self.balanced else [self.audit])])


class Oracle:
    """What should have become of the orders *accepted*. *buried*: ids of the orders that must be dead letters."""

    def __init__(self, db: Pool, cgb: Recorder, accepted: Sequence[Accepted], buried: set[str]) -> None:
        self._db = db
        self._cgb = cgb
        self._accepted = accepted
        self._buried = buried
        self._by_event = {order.event_id: order for order in accepted}
        self._alive = {i: order for i, order in self._by_event.items() if order.order_id not in buried}

    async def verdict(self) -> Verdict:
        """Ask the tables and CGB what became of the orders. The audit is not asked here."""
        found = Verdict(accepted=len(self._accepted))
        await self._ends(found)
        await self._journal(found)
        await self._rows(found)
        await self._letters(found)
        self._writes(found)
        return found

    async def _ends(self, found: Verdict) -> None:
        """Each event has ended once in each worker, in the order of its person."""
        for worker in ("contact-sync", "journal"):
            rows = await self._db.fetch(
                "SELECT event_id FROM inbox WHERE worker = $1 AND replay_id = '' ORDER BY at", worker
            )
            ids = [row["event_id"] for row in rows]
            self._once_each(found, f"{worker} end", ids)
            self._in_order(found, f"{worker} end", self._known(ids), self._by_event)

    async def _journal(self, found: Verdict) -> None:
        """The journal has each event and each `contact.synced` once, in the order of its person."""
        rows = await self._db.fetch("SELECT id, type, causationid FROM event_journal ORDER BY seq")
        self._once_each(found, "journal row", [row["id"] for row in rows])
        received = [row["id"] for row in rows if row["type"] == "order.received"]
        self._in_order(found, "journal row", self._known(received), self._by_event)
        causes = [row["causationid"] for row in rows if row["type"] == "contact.synced"]
        self._once_each(found, "contact.synced", causes)
        self._in_order(found, "contact.synced", self._known(causes), self._alive)

    async def _rows(self, found: Verdict) -> None:
        """The table of orders tells how the sync of each order ended."""
        rows = await self._db.fetch("SELECT order_id, cgb_sync_status FROM orders")
        status = {row["order_id"]: row["cgb_sync_status"] for row in rows}
        for order in self._accepted:
            # what kills the process is not given to the worker again, so it writes no row for it
            wanted = ("failed", None) if order.order_id in self._buried else ("synced",)
            if status.get(order.order_id) not in wanted:
                found.lost.append(f"row of {order}: {status.get(order.order_id)}")

    async def _letters(self, found: Verdict) -> None:
        """There is a dead letter of each order that must have one, and of no other."""
        letters = await self._db.fetch("SELECT event_id, error_class, error_text FROM dead_letters")
        buried = self._by_event.keys() - self._alive.keys()
        found.dead += [str(dict(letter)) for letter in letters if letter["event_id"] not in buried]
        found.lost += [f"dead letter of {i}" for i in buried - {letter["event_id"] for letter in letters}]

    def _writes(self, found: Verdict) -> None:
        """CGB has seen one write of each order, in the order of its person, and created no contact twice."""
        by_number = {order.order_id: order for order in self._accepted}
        written = [w.order_id for w in self._cgb.written if w.order_id in by_number]
        self._once_each(found, "write", written)
        found.doubled += [f"creation of {c}" for c, n in self._cgb.ledger.creates_by_contact().items() if n > 1]
        self._in_order(found, "write", [by_number[number] for number in written], self._alive)
        last = {order.person: order for order in sorted(self._alive.values(), key=lambda order: order.place)}
        for person, order in last.items():
            contact = self._cgb.account.contacts.get(contact_of(person))
            if contact is None or contact.values.get("OrderNumber") != order.order_id:
                found.lost.append(f"fields of {order}")

    def _known(self, event_ids: Sequence[str]) -> list[Accepted]:
        """The orders of *event_ids*, without those whose answer 202 did not arrive."""
        return [self._by_event[i] for i in event_ids if i in self._by_event]

    @staticmethod
    def _once_each(found: Verdict, what: str, ids: Sequence[str]) -> None:
        found.doubled += [f"{what} of {i}: {n} times" for i, n in Counter(ids).items() if n > 1]

    @staticmethod
    def _in_order(found: Verdict, what: str, seen: Sequence[Accepted], wanted: Mapping[str, Accepted]) -> None:
        """*seen*, in its order, has all of *wanted*, and every person's orders in order."""
        there = {order.event_id for order in seen}
        found.lost += [f"{what} of {order}" for i, order in wanted.items() if i not in there]
        last: dict[int, int] = {}
        for order in seen:
            if order.place < last.get(order.person, -1):
                found.inverted.append(f"{what} of {order}")
            last[order.person] = max(order.place, last.get(order.person, -1))

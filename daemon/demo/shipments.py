"""What the demonstration sends: invented orders, difficult ones included, and what follows on some of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.sandbox import orders
from daemon.sandbox.reports import make_report
from daemon.sandbox.vizi import Proof, Reply, Vizi

NO_PHONE: Final = "no phone"
LANDLINE: Final = "a landline"
WRONG_PHONE: Final = "a wrong phone"
CORRECTED: Final = "the order, corrected"
REPORT: Final = "a report on documents"
AGAIN: Final = "the same webhook again"


@dataclass(slots=True)
class Shipment:
    """One webhook of the demonstration, its answer, and how it ended. *report*: of an applicant of the order; None: the
    webhook is the order itself."""

    what: str
    order: dict[str, Any]
    proof: Proof = "signature"
    report: dict[str, Any] | None = None
    reply: Reply | None = None
    duplicate: bool = False
    outcome: str = ""

    @property
    def order_id(self) -> str:
        """The order's id."""
        return str(self.order["order"]["id"])

    @property
    def event_ids(self) -> Sequence[str]:
        """The events that the listener made of it."""
        return self.reply.event_ids if self.reply else ()

    async def post(self, vizi: Vizi) -> None:
        """Send it, and keep the answer. Raises as Vizi.post."""
        if self.report is None:
            self.reply = await vizi.post(self.order, self.proof)
        else:
            self.reply = await vizi.report(self.report, self.proof)


def shipments(count: int, seed: int) -> list[Shipment]:
    """*count* orders, the same for the same seed, difficult ones included; then one repeated webhook and one forged."""
    rng = random.Random(seed)  # noqa: S311 - invented data
    first, second = orders.same_person_twice(rng, 1001)
    special = [
        Shipment("trunk zero", orders.trunk_zero(rng, 1000)),
        Shipment("first order of a person", first),
        Shipment("second order of the person", second, "key"),
        Shipment(NO_PHONE, orders.missing_phone(rng, 1003)),
        Shipment("Vizi's own test", orders.vizi_test(rng, 1004)),
        Shipment("odd shapes", orders.odd_shapes(rng, 1005)),
        Shipment("trunk zero", orders.trunk_zero(rng, 1006), "key"),
        Shipment(LANDLINE, orders.landline(rng, 1008)),
        Shipment(WRONG_PHONE, orders.make_order(rng, 1009, branch="il", alerts=True)),
    ][: max(0, count - 1)]
    plain = [Shipment("order", orders.make_order(rng, n)) for n in range(count - len(special))]
    sent = [plain[0], *special, *plain[1:]]
    sent.append(Shipment(AGAIN, plain[0].order))
    sent.append(Shipment("forged", orders.make_order(rng, 1007), "forged"))
    return sent


def sequel(sent: Sequence[Shipment]) -> list[Shipment]:
    """What follows when the orders have ended: the one with a wrong phone comes again, corrected; and then a report of
    what is wrong with the documents of its applicant."""
    later: list[Shipment] = []
    for wrong in (shipment for shipment in sent if shipment.what == WRONG_PHONE):
        order = corrected(wrong.order)
        report = make_report(order["form"]["applicants"][0]["id"])
        later += [Shipment(CORRECTED, order), Shipment(REPORT, order, report=report)]
    return later


def corrected(order: dict[str, Any]) -> dict[str, Any]:
    """A newer state of *order*, with another phone."""
    newer = copy.deepcopy(order)
    newer["form"]["client"]["phone"] = {"code": "972", "number": "0505559999"}
    newer["form"]["updated_at"] = "2021-02-15T09:00:00.000Z"
    newer["form"]["meta"]["revision"] += 1
    return newer

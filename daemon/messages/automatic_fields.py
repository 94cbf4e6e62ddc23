"""What a rule of `messages.toml` may name: the fields of the event that it goes by. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from daemon.rules.problems import visible
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.orders import Order
from schemas.phone import Phone
from schemas.webhooks.vizi import body_from

Trigger: TypeAlias = Literal["order.received", "applicant_issue.reported"]
ORDER: Final[Trigger] = "order.received"
REPORT: Final[Trigger] = "applicant_issue.reported"

DATA: Final = "data."
OF_APPLICANT: Final = "applicant."
APPLICANT_DATA: Final = "applicant.data."
"""Before a path within the webhook as it came, or within an applicant of it: `data.form.hotel`."""

TIME: Final = "time"
"""What `of` of a rule names: a field of its texts."""

_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){0,9}")


class Coded(NamedTuple):
    """A value from a list of codes, as `new_zealand`. *label*: words for it that came with it."""

    code: str
    label: str | None = None


Value: TypeAlias = "str | int | Decimal | bool | date | datetime | Coded | tuple[Coded, ...] | None"


@dataclass(frozen=True, slots=True, repr=False)
class Facts:
    """What rules are asked about. *alerts*: the buyer's consent; None: not said, which is no consent. *said_at*: when
    the order was changed last, or the report arrived. *arrived_at*: the event's time. *values*: by the names of fields.
    *applicants*: of each the values by name, and its object in the webhook under `applicant.data`. *document*: gives
    the webhook. *report*: what tells two reports about one applicant apart."""

    trigger: Trigger
    order_id: str
    branch: str | None
    status: str | None
    alerts: bool | None
    phone: Phone | None
    said_at: datetime
    arrived_at: datetime
    values: Mapping[str, Value]
    applicants: Sequence[Mapping[str, Any]] = ()
    document: Callable[[], Mapping[str, Any]] = dict
    report: str = ""

    @property
    def canceled(self) -> bool:
        """Whether the order does not stand any more."""
        return (self.status or "").lower() == "canceled"

    def value(self, name: str, applicant: Mapping[str, Any]) -> Any:
        """The value of the field *name*; None where there is none."""
        if name.startswith(APPLICANT_DATA):
            return _at(applicant.get("applicant.data"), name.removeprefix(APPLICANT_DATA))
        if name.startswith(DATA):
            return _at(self.document(), name.removeprefix(DATA))
        return applicant[name] if name in applicant else self.values.get(name)


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            document = document.get(part) if isinstance(document, dict) else None
    return (document.strip() or None) if isinstance(document, str) else document


def _coded(value: Any) -> Coded | None:
    return Coded(value) if isinstance(value, str) and value.strip() else None


def _of_product(name: str, order: Order) -> Any:
    return (order.product_data or {}).get(name)


_OF_ORDER: Final[Mapping[str, Callable[[Order], Any]]] = {
    "order.id": lambda order: order.order_id,
    "order.status": lambda order: _coded(order.order_status),
    "order.branch": lambda order: order.branch,
    "order.domain": lambda order: order.domain,
    "order.amount": lambda order: order.amount,
    "order.currency": lambda order: order.currency,
    "order.country": lambda order: _coded(order.product_country),
    "order.flag": lambda order: order.product_country_flag,
    "order.product": partial(_of_product, "name"),
    "order.doc_type": lambda order: _coded(order.product_doc_type),
    "order.doc_name": lambda order: order.product_doc_name,
    "order.intent": lambda order: _coded(order.product_intent),
    "order.entries": lambda order: _coded(order.product_entries),
    "order.validity": lambda order: _coded(order.product_validity),
    "order.quantity": lambda order: order.visa_quantity,
    "order.processing_days": lambda order: order.processing_days,
    "order.urgent": lambda order: order.is_urgent,
    "order.urgency": lambda order: _coded(_of_product("urgency", order)),
    "order.entry_date": lambda order: order.entry_date,
    "order.entry_port": lambda order: order.entry_port,
    "order.placed_at": lambda order: order.placed_at,
    "client.name": lambda order: order.client_name,
    "client.email": lambda order: order.client_email,
}
_OF_EACH: Final = ("applicant.id", "applicant.name", "applicant.first_name", "applicant.last_name")
_OF_REPORT: Final = (
    *("order.id", "order.status", "order.branch", "order.country", "client.name"),
    *("applicant.id", "applicant.name", "issues.list", "issues.categories", "issues.count"),
)

MOMENTS: Final = frozenset({"order.entry_date", "order.placed_at"})
"""Fields that name a moment or a day."""


def facts_of_order(order: Order, arrived_at: datetime) -> Facts:
    """What an order tells rules."""
    found = [_applicant(one) for one in order.applicants_data or ()]
    return Facts(
        trigger=ORDER,
        order_id=order.order_id,
        branch=order.branch,
        status=order.order_status,
        alerts=order.whatsapp_alerts_enabled,
        phone=order.phone,
        said_at=order.ordered_at,
        arrived_at=arrived_at,
        values={name: read(order) for name, read in _OF_ORDER.items()},
        applicants=[one | {"applicant.id": one["applicant.id"] or str(n)} for n, one in enumerate(found, 1)],
        document=cache(lambda: body_from(order.raw_body.encode())),
    )


def _applicant(told: Any) -> dict[str, Any]:
    """Its values by name; of one without an id, its place is to take that."""
    first, last = (_text(_at(told, f"passport.{name}")) for name in ("firstName", "lastName"))
    return {
        "applicant.id": _text(_at(told, "id")),
        "applicant.first_name": first,
        "applicant.last_name": last,
        "applicant.name": " ".join(filter(None, (first, last))) or None,
        "applicant.data": told,
    }


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def facts_of_report(event: Event) -> Facts:
    """What `applicant_issue.reported` tells rules. Its order's consent was looked at before it was passed on. Raises:
    Malformed."""
    told = event.json()
    try:
        issues = [Coded(one["code"] or one["label"], one["label"]) for one in told["issues"]]
        categories = [Coded(name) for name in dict.fromkeys(one["category"] for one in told["issues"])]
        applicant = {"applicant.id": told["applicant_id"], "applicant.name": told["applicant_name"]}
        return Facts(
            trigger=REPORT,
            order_id=told["order_id"],
            branch=told["branch"],
            status=told["order_status"],
            alerts=True,
            phone=Phone.parse_e164(told["phone"]),
            said_at=event.time,
            arrived_at=event.time,
            values={
                "order.id": told["order_id"],
                "order.status": _coded(told["order_status"]),
                "order.branch": told["branch"],
                "order.country": _coded(told["country"]),
                "client.name": told["client_name"],
                "issues.list": tuple(issues),
                "issues.categories": tuple(categories),
                "issues.count": len(issues),
            },
            applicants=[applicant],
            report="\n".join(sorted(f"{one['category']}:{one['code'] or one['label']}" for one in told["issues"])),
        )
    except (TypeError, KeyError, ValueError) as exc:
        raise Malformed("the report has not its members") from exc


def names_of(trigger: str, *, each: bool) -> frozenset[str]:
    """The fields of *trigger* that have a name. *each*: of a rule that is about one applicant at a time."""
    if trigger == REPORT:
        return frozenset(_OF_REPORT)
    return frozenset((*_OF_ORDER, *_OF_EACH) if each else _OF_ORDER)


def fault_of(name: str, trigger: str, *, each: bool) -> str | None:
    """What is wrong with *name* in a rule that goes by *trigger*, and what to do; None: nothing."""
    if trigger not in get_args(Trigger):
        return None  # that it is none is told of the trigger
    known = names_of(trigger, each=each)
    if name in known:
        return None
    if trigger == ORDER:
        for start, there in ((APPLICANT_DATA, each), (DATA, True)):
            if there and name.startswith(start) and _PATH.fullmatch(name.removeprefix(start)):
                return None
        if name.startswith(OF_APPLICANT) and not each and (name in _OF_EACH or name.startswith(APPLICANT_DATA)):
            return f'{visible(name)} is of one applicant: write once = "applicant" in `then`'
    near = get_close_matches(name, known, n=3)
    do = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"
    return f"{visible(name)} is no field of {trigger}: {do}"

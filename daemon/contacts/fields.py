"""An order as custom fields of the buyer's contact in CGB.

The names and types were observed on the running account. A field without a value in the order is left out, so CGB keeps
what it holds.
"""

from __future__ import annotations

from typing import Final

from schemas.contacts import FieldValue
from schemas.orders import Order

ALWAYS: Final = frozenset(
    {
        "Email",
        "OrderNumber",
        "customer_name",
        "order_urgent",
        "visa_country",
        "visa_quantity",
        "visa_type",
    }
)
"""The fields that are written to an account whose field names cannot be asked for."""


def contact_fields(order: Order, known: frozenset[str] | None) -> dict[str, FieldValue]:
    """Name -> value of the fields that *order* has a value for, among the account's fields *known*.

    *known* None: the account takes any name; it gets those of ALWAYS only.
    `order_date` is the day of entry into the country and not of the order; the account uses that name.
    """
    wanted = ALWAYS if known is None else known
    amount = order.amount if order.currency == "ILS" else None
    values: dict[str, FieldValue | None] = {
        "Email": order.client_email,
        "OrderNumber": order.order_id,
        "customer_name": order.client_name,
        "order_urgent": order.is_urgent,
        "visa_country": order.product_country,
        "visa_quantity": order.visa_quantity,
        "visa_type": order.product_doc_type,
        "visa_intent": order.product_intent,
        "visa_entries": order.product_entries,
        "visa_validity": order.product_validity,
        "visa_flag": order.product_country_flag,
        "stay_limit": order.stay_limit,
        "order_date": order.entry_date,
        "order_days": order.processing_days,
        "order_sum_ils": None if amount is None else int(amount) if amount == int(amount) else float(amount),
        "order_date_time": order.received_at,
        "wa_alerts": order.whatsapp_alerts_enabled,
    }
    return {name: value for name, value in values.items() if value is not None and name in wanted}

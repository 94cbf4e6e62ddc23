"""Whether a message may be sent now: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from schemas.messages import Content, Template

WINDOW: Final = timedelta(hours=24)
"""The customer-service window of WhatsApp: so long after a person has written, free text may be sent to them."""

MARGIN: Final = timedelta(seconds=30)
"""By so much earlier the window is closed here: a message is on its way for a while, and clocks differ."""

HEARD_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "cgb": ("cgb", "meta", "360dialog"),
    "chatwoot": ("chatwoot", "meta", "360dialog"),
    "meta": ("meta", "360dialog", "cgb"),
    "twilio": ("twilio",),
    "whapi": (),
}
"""By which systems we hear of what people write to the number of a provider. CGB, Chatwoot and 360dialog stand before a
number of Meta. Whapi drives an ordinary account, for which WhatsApp knows no window."""

OUTSIDE: Final = "outside the customer-service window: the person has not written within 24 hours; send a template"

OPTED_OUT: Final = "opted out: the person has asked for no more messages"


def why_not(
    content: Content, provider: str, written_at: datetime | None, now: datetime, *, opted_out: bool = False
) -> str | None:
    """Why the message is not to be sent, None where it may be. *written_at*: when the person has written last.
    *opted_out*: whether they want no messages."""
    if opted_out:
        return OPTED_OUT
    if isinstance(content, Template) or not HEARD_BY.get(provider):
        return None
    return None if written_at is not None and now - written_at < WINDOW - MARGIN else OUTSIDE

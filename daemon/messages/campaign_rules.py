"""What a campaign does next: values in, values out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from adapters.postgres.campaign_feed import Verdict
from daemon.messages.quiet_hours import Quiet, next_awake, next_quiet

FEW: Final = 5
"""So many people for whom one after another the template was refused alike stop a campaign: all others would be."""

AT_ONCE_S: Final = 5.0
"""A campaign has as many messages under way as its rate gives in so many seconds, and FEWEST at least, MOST at most."""

FEWEST: Final = 10
MOST: Final = 400

# schemas/webhooks/meta_codes.py and twilio_codes.py have the words
_OF_META: Final = ("132000", "132001", "132005", "132007", "132008", "132012", "132015", "132016", "132068")
_OF_TWILIO: Final = ("21654", "21655", "21656", "21658", "63021", "63027", "63028", "63029", "63030", "63040", "63041")
_OF_CGB: Final = ("no-template", "flow-ambiguous", "variables")

TEMPLATE_FAULTS: Final = frozenset({*_OF_META, *_OF_TWILIO, "63042", *_OF_CGB})
"""Codes by which a template is refused, and not a person."""


class When(NamedTuple):
    """When a person may be disturbed. *at*: from when on; None: never. *until*: then it is quiet again; None: there are
    no quiet hours."""

    at: datetime | None
    until: datetime | None = None


def bare(code: str | None) -> str:
    """*code* without the name of the provider, as statuses have it."""
    return (code or "").removeprefix("meta-").removeprefix("twilio-")


def template_fault(newest: Sequence[Verdict]) -> str | None:
    """The code by which the template is refused to everybody, by what became of those who were reached out to last, the
    newest first; None: it is not."""
    last = newest[:FEW]
    codes = {bare(one.error_code) for one in last}
    if len(last) < FEW or len(codes) > 1 or any(one.status != "failed" for one in last):
        return None
    (code,) = codes
    return code if code in TEMPLATE_FAULTS else None


def under_way(rate: float) -> int:
    """How many messages of a campaign may be queued or sent at a time, by its *rate* in a second."""
    return max(FEWEST, min(MOST, math.ceil(rate * AT_ONCE_S)))


class Stride(NamedTuple):
    """How many messages may be queued now, and the first place of the rate, from which they are counted."""

    places: int
    since: datetime

    def after(self, taken: int, rate: float) -> datetime:
        """The next place when *taken* of them are taken."""
        return self.since + timedelta(seconds=taken / rate)


def stride(since: datetime, now: datetime, rate: float) -> Stride:
    """What the *rate* has room for *now*, where *since* is its next place."""
    return Stride(0 if since > now else int((now - since).total_seconds() * rate) + 1, since)


def when(now: datetime, quiet: Quiet | None, zones: Sequence[str], home: str) -> When:
    """When a person may be disturbed whose phone's prefix is used in *zones*. With several it is awake in all of them;
    where that never is, and without any, *home* is the zone."""
    if quiet is None:
        return When(now)
    for known in (zones, (home,)):
        if known and (awake := next_awake(now, quiet, known)) is not None:
            return When(awake, next_quiet(awake, quiet, known))
    return When(None)

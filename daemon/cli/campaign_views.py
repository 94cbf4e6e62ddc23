"""How the command line shows campaigns."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import Any, Final

from daemon.cli.screen import say
from daemon.cli.tools import shown_time
from daemon.operator.audience import shown_duplicates
from daemon.operator.campaigns import Plan

OPEN: Final = ("pending", "queued", "sending")
"""How recipients stand whose messages are to come."""

LISTED: Final = ("campaign", "status", "people", "open", "template", "provider", "made at (UTC)")
COLUMNS: Final = (
    "line", "phone", "status", "error", "error_code", "message_id", "queued_at", "sent_at", "delivered_at", "read_at",
)  # fmt: skip
"""Of a report."""

_FORMULAS: Final = ("=", "-", "@", "\t", "\r")


def people_of(count: int) -> str:
    """1 person, 2 people."""
    return "1 person" if count == 1 else f"{count} people"


def say_plan(made: Plan) -> None:
    """Say what was checked."""
    campaign, people = made.campaign, made.audience
    quiet = "no quiet hours"
    if campaign.quiet_from is not None and campaign.quiet_to is not None:
        quiet = f"quiet hours {campaign.quiet_from:%H:%M}-{campaign.quiet_to:%H:%M} where the person is"
    messages = "1 message" if made.to_send == 1 else f"{made.to_send} messages"
    say(f"{messages} by {campaign.provider}, {campaign.rate:g} in a second at most, {quiet}")
    for text in shown_duplicates(people.duplicates):
        say(f"  {text}")
    if skipped := len(people.recipients) - made.to_send:
        say(f"  {people_of(skipped)} without consent: no message")


def plan_document(made: Plan) -> dict[str, Any]:
    """What was checked, as JSON."""
    campaign = made.campaign
    names = ("name", "provider", "account", "template", "language", "category", "rate", "ends_at", "duplicates")
    told = {name: getattr(campaign, name) for name in names}
    return {"dry_run": True, **told, "recipients": len(made.audience.recipients), "to_send": made.to_send}


def say_status(found: Mapping[str, Any]) -> None:
    """Say how far a campaign has come."""
    reason = f": {found['reason']}" if found["reason"] else ""
    say(f"{found['name']} is {'a ' if found['status'] == 'draft' else ''}{found['status']}{reason}")
    counts = ", ".join(f"{count} {status}" for status, count in found["counts"].items() if count)
    say(f"  of {people_of(found['recipients'])}: {counts}")
    if found["status"] == "running":
        left = "" if found["left_s"] is None else f", about {found['left_s']} s left"
        say(f"  {found['per_minute']} in the last minute, at most {found['rate']:g} in a second{left}")
    for one in found["waits"]:
        until = "" if one["until"] is None else f" until {shown_time(one['until'])} UTC"
        say(f"  {one['count']} wait: {one['why']}{until}")
    for one in found["errors"]:
        code = f" (code {one['code']})" if one["code"] else ""
        say(f"  {one['count']} {one['status']}{code}: {one['error'] or 'no reason is known'}")


def table_of(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The rows of LISTED."""
    return [
        [
            one["name"],
            one["status"],
            str(one["recipients"]),
            str(sum(one["counts"][status] for status in OPEN)),
            one["template"],
            one["provider"],
            shown_time(one["created_at"]),
        ]
        for one in found
    ]


async def report_of(recipients: AsyncIterator[Mapping[str, Any]]) -> str:
    """A report as CSV, with the lines of RFC 4180."""
    lines = StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(COLUMNS)
    async for one in recipients:
        writer.writerow([_cell(one[column]) for column in COLUMNS])
    return lines.getvalue()


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = shown_time(value) if isinstance(value, datetime) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text

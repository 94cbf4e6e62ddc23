"""When Chatwoot was last looked through for messages that no webhook had brought, for status and doctor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daemon.accounts import CHATWOOT
from daemon.operator.finding import Finding, Findings, age
from daemon.operator.inspection import Inspection

MISSED: Final = 3
"""Sweeps that may be missing before that is a finding."""

SLACK_S: Final = 300.0


def document(inspection: Inspection) -> dict[str, Mapping[str, Any]]:
    """Account -> how its last sweep ended, to be shown; `at`: None where none was complete yet."""
    return {
        one.place: {
            "at": one.ended_at,
            "seconds_ago": None if one.ended_at is None else round(one.age_s),
            "found": one.found,
            "error": one.error,
        }
        for one in inspection.sweeps
    }


def check(inspection: Inspection) -> Findings:
    """A sweep that fails, or that nobody makes, of the account that the processes are set to, or else this shell."""
    texts = inspection.members[0].report.settings if inspection.members else inspection.shell.settings
    minutes = texts.get("CHATWOOT_SWEEP_MINUTES", "")
    if CHATWOOT in inspection.sources_off or not minutes.isdigit():
        return
    most_s = MISSED * int(minutes) * 60 + SLACK_S
    for one in inspection.sweeps:
        if one.place != f"{CHATWOOT}:{texts.get('CHATWOOT_ACCOUNT_ID')}" or one.running:
            continue
        if one.error is not None:
            text = f"the sweep of {one.place} does not come to its end ({one.error}), for {age(one.age_s)}"
            yield Finding("warn", text, "lost webhooks are not made good: `ferryman doctor --live`, the daemon's log")
        elif one.age_s > most_s:
            yield Finding("warn", f"the last sweep of {one.place} was {age(one.age_s)} ago", "keep a daemon running")

"""`ferryman doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from adapters.registry import SOURCES
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED, code_of
from daemon.cli.screen import say, show_json
from daemon.cli.tools import Json, shown_time
from daemon.operator.addresses import Address, addresses, public_url
from daemon.operator.doctor import document, examine, healthy
from daemon.operator.finding import Finding
from daemon.operator.inspection import Inspection, inspect_installation
from daemon.settings.load import SettingsError
from daemon.settings.model import Settings

Live = Annotated[
    bool,
    typer.Option("--live", help="Also ask each provider whether its settings work, and show the webhooks' addresses."),
]


def doctor(live: Live = False, json: Json = False) -> None:
    """Check settings, stores, clocks, disk, port and backlog: one line a finding. Exit code 1 when one is an error,
    and 2, as of every verb, when the settings are wrong."""
    wrong, more = FAILED, dict[str, Any]()
    webhooks: Sequence[Address] = ()
    try:
        settings = read_settings()
    except SettingsError as exc:
        findings = [Finding("error", problem, "correct the settings") for problem in exc.problems]
        wrong = code_of(exc)
    else:
        inspection = run_async(inspect_installation(settings, look_for_arrivals=live, ask_upstream=True))
        findings = [Finding("ok", "the settings are sound"), *examine(inspection)]
        if live:
            webhooks = addresses(inspection, SOURCES)
            found, more = _live(settings, inspection)
            findings += found
            more["webhooks"] = [one.document() for one in webhooks]
    if json:
        show_json(document(findings) | more)
    else:
        for finding in findings:
            say(str(finding))
        _show(webhooks)
    if not healthy(findings):
        raise typer.Exit(wrong)


def _live(settings: Settings, inspection: Inspection) -> tuple[list[Finding], dict[str, Any]]:
    """What the providers say, as findings and as JSON."""
    from daemon.operator import live

    looked = run_async(live.look_at_accounts(settings))
    findings = [finding for one in looked for finding in one.findings]
    if not looked:
        findings.append(Finding("warn", "no provider has settings", "deploy/SETTINGS.md has those of each"))
    return [*findings, *public_url(inspection)], {"providers": live.document(looked)}


def _show(webhooks: Sequence[Address]) -> None:
    """The addresses, each on a line of its own, so that it can be copied whole."""
    if not webhooks:
        return
    say("")
    say("Webhooks, to be entered at their senders:")
    for one in webhooks:
        say("")
        say(f"{one.source}: {one.url or one.path}")
        say(f"  enter it at: {one.entered}")
        if one.needs:
            say(f"  lacks: {one.needs}")
        say(f"  not served: {one.off}" if one.off else f"  has come in: {_came(one)}")


def _came(one: Address) -> str:
    last = f", the last at {shown_time(one.came.last)} UTC" if one.came is not None and one.came.last else ""
    refused = ""
    if one.came is not None and one.came.refused:
        refused = f"; refused in 7 days: {one.came.refused} (the last: {one.came.reason}), see `ferryman refused list`"
    return f"{one.arrived}{last}{refused}"

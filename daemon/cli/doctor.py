"""`ferryman doctor`."""

from __future__ import annotations

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED, code_of
from daemon.cli.screen import say, show_json
from daemon.cli.tools import Json
from daemon.operator.doctor import document, examine, healthy
from daemon.operator.finding import Finding
from daemon.operator.inspection import inspect_installation
from daemon.settings.load import SettingsError


def doctor(json: Json = False) -> None:
    """Check settings, stores, clocks, disk, port and backlog: one line a finding. Exit code 1 when one is an error,
    and 2, as of every verb, when the settings are wrong."""
    wrong = FAILED
    try:
        settings = read_settings()
    except SettingsError as exc:
        findings = [Finding("error", problem, "correct the settings") for problem in exc.problems]
        wrong = code_of(exc)
    else:
        findings = [Finding("ok", "the settings are sound"), *examine(run_async(inspect_installation(settings)))]
    if json:
        show_json(document(findings))
    else:
        for finding in findings:
            say(str(finding))
    if not healthy(findings):
        raise typer.Exit(wrong)

"""`ferryman doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.tools import print_json
from daemon.operator.doctor import Finding, examined
from daemon.operator.inspection import gathered
from daemon.settings.load import SettingsError


def doctor(json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Look over settings, stores, disk, port and backlog: one line a finding. Exit code 1 when one is an error."""
    try:
        settings = read_settings()
    except SettingsError as exc:
        findings = [Finding("error", problem, "correct the settings") for problem in exc.problems]
    else:
        findings = [Finding("ok", "the settings are sound"), *examined(run_async(gathered(settings)))]
    healthy = all(finding.level != "error" for finding in findings)
    if json:
        print_json({"ok": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            typer.echo(str(finding))
    if not healthy:
        raise typer.Exit(1)

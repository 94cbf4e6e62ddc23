"""argv to exit code. An error is one line: what is wrong, what to do. 0 done, 1 failed, 2 usage or settings."""

from __future__ import annotations

import sys

import typer

from daemon.cli import config, dead_letters, demo, doctor, events, pause, replay, run, status
from daemon.embedded_processes import EmbeddedError
from daemon.lifecycle import StartError
from daemon.settings_load import SettingsError
from schemas.errors import FerrymanError

app = typer.Typer(
    name="ferryman",
    help="One daemon between an order system, a CRM and WhatsApp channels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("migrate")(run.migrate)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("status")(status.status)
app.command("audit")(run.audit)
app.command("replay")(replay.replay)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(events.app, name="events")
app.add_typer(config.app, name="config")


def main() -> None:
    """The entry point of the `ferryman` script."""
    try:
        app()
    except SettingsError as exc:
        print(f"ferryman: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except (StartError, EmbeddedError, FerrymanError) as exc:
        print(f"ferryman: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(1)

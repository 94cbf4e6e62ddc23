"""argv to exit code. An error is one line: what is wrong, what to do. 0 done, 1 failed, 2 usage or settings."""

from __future__ import annotations

import sys
from typing import Final

import typer

from daemon.lifecycle import StartError
from daemon.settings.load import SettingsError
from daemon.stores.embedded.processes import EmbeddedError
from schemas.errors import FerrymanError

VERBS: Final = (
    *("run", "migrate", "demo", "doctor", "status", "audit", "replay", "partitions", "pause", "resume"),
    *("dead-letters", "events", "config"),
)


def commands(verb: str) -> typer.Typer:
    """The command line. Where *verb* is one, it is there alone and has imported what it needs, which is what most of
    a start is spent on; else all are there, for the help and for what is misspelled."""
    app = typer.Typer(
        name="ferryman",
        help="One daemon between an order system, a CRM and WhatsApp channels.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_group)
    for name in [verb] if verb in VERBS else VERBS:
        _add(app, name)
    return app


def _group() -> None:
    """Keeps a verb a verb where it is the only one."""


def _add(app: typer.Typer, verb: str) -> None:
    match verb:
        case "run":
            from daemon.cli.run import run

            app.command(verb)(run)
        case "migrate":
            from daemon.cli.migrate import migrate

            app.command(verb)(migrate)
        case "demo":
            from daemon.cli.demo import demo

            app.command(verb)(demo)
        case "doctor":
            from daemon.cli.doctor import doctor

            app.command(verb)(doctor)
        case "status":
            from daemon.cli.status import status

            app.command(verb)(status)
        case "audit":
            from daemon.cli.audit import audit

            app.command(verb)(audit)
        case "replay":
            from daemon.cli.replay import replay

            app.command(verb)(replay)
        case "partitions":
            from daemon.cli.partitions import partitions

            app.command(verb)(partitions)
        case "pause" | "resume":
            from daemon.cli import pause

            app.command(verb)(pause.pause if verb == "pause" else pause.resume)
        case "dead-letters":
            from daemon.cli import dead_letters

            app.add_typer(dead_letters.app, name=verb)
        case "events":
            from daemon.cli import events

            app.add_typer(events.app, name=verb)
        case "config":
            from daemon.cli import config

            app.add_typer(config.app, name=verb)


def main() -> None:
    """The entry point of the `ferryman` script."""
    try:
        commands(sys.argv[1] if len(sys.argv) > 1 else "")()
    except SettingsError as exc:
        print(f"ferryman: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except (StartError, EmbeddedError, FerrymanError) as exc:
        print(f"ferryman: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(1)

"""argv to exit code. An error is one line: what is wrong, what to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Final

import typer

from daemon.cli import screen
from daemon.cli.env_file import with_env_file
from daemon.cli.exits import DONE, FAILED, MEANINGS, code_of
from daemon.telemetry import logs
from daemon.version import version
from schemas.errors import FerrymanError


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.say(f"ferryman {version()}")
        raise typer.Exit


@dataclass(frozen=True, slots=True)
class Verb:
    """A first word of the command line.

    *source*: "module:attribute" in `daemon.cli`, imported when the verb is used: a function, or, of a *group*, the
    Typer that holds its verbs.
    """

    name: str
    source: str
    group: bool = False

    def add_to(self, app: typer.Typer) -> None:
        """Import the verb, and add it to *app*."""
        module, _, attribute = self.source.partition(":")
        found = getattr(import_module(f"daemon.cli.{module}"), attribute)
        if self.group:
            for command in found.registered_commands:
                command.callback = with_env_file(command.callback)
            app.add_typer(found, name=self.name)
        else:
            app.command(self.name)(with_env_file(found))


_TABLE: Final = (
    Verb("run", "run:run"),
    Verb("reload", "reload:reload"),
    Verb("migrate", "migrate:migrate"),
    Verb("demo", "demo:demo"),
    Verb("doctor", "doctor:doctor"),
    Verb("status", "status:status"),
    Verb("audit", "audit:audit"),
    Verb("replay", "replay:replay"),
    Verb("partitions", "partitions:partitions"),
    Verb("workers", "workers:app", group=True),
    Verb("pause", "pause:pause"),
    Verb("resume", "pause:resume"),
    Verb("dead-letters", "dead_letters:app", group=True),
    Verb("refused", "refused:app", group=True),
    Verb("events", "events:app", group=True),
    Verb("orders", "orders:app", group=True),
    Verb("sync", "sync:app", group=True),
    Verb("reconcile", "reconcile:reconcile"),
    Verb("validate", "validate:validate"),
    Verb("contacts", "contacts:app", group=True),
    Verb("conversations", "conversations:app", group=True),
    Verb("send", "send:app", group=True),
    Verb("messages", "messages:app", group=True),
    Verb("templates", "templates:app", group=True),
    Verb("campaign", "campaign:app", group=True),
    Verb("labels", "labels:app", group=True),
    Verb("uncertain", "uncertain:app", group=True),
    Verb("credentials", "credentials:app", group=True),
    Verb("tokens", "tokens:app", group=True),
    Verb("mappings", "mappings:app", group=True),
    Verb("chatwoot", "chatwoot:app", group=True),
    Verb("send-test", "send_test:send_test"),
    Verb("config", "config:app", group=True),
    Verb("rules", "rules:app", group=True),
    Verb("records", "records:app", group=True),
)

VERBS: Final = {verb.name: verb for verb in _TABLE}
"""Every verb by its name, in the order of the help."""


def commands(name: str) -> typer.Typer:
    """The command line with the verb *name* alone, or with all verbs where *name* is not one.

    Most of a start is spent on imports, so a start imports what its own verb needs. The help and the answer to a
    misspelled verb need all of them.
    """
    app = typer.Typer(
        name="ferryman",
        help="One daemon between an order system, a CRM and WhatsApp channels.",
        epilog="\n\n".join(["Exit codes:", *(f"{code}: {means}" for code, means in MEANINGS.items())]),
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_group)
    if name == "--version":
        return app
    for verb in [VERBS[name]] if name in VERBS else VERBS.values():
        verb.add_to(app)
    return app


def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of the `ferryman` script. What a verb logs goes to standard error: its output is for programs."""
    screen.prepare()
    logs.configure("warning", stream=sys.stderr.buffer, human=True)
    code: object
    try:
        commands(sys.argv[1] if len(sys.argv) > 1 else "")()
        code = DONE
    except SystemExit as end:
        code = end.code
    except FerrymanError as exc:
        screen.complain(exc)
        code = code_of(exc)
    except Exception as exc:
        if isinstance(exc, OSError) and not screen.finished():  # of typer's help, which does not pass through `screen`
            screen.complain(screen.OutputGone(exc))
        else:
            screen.crashed(exc)
        code = FAILED
    sys.exit(code if screen.finished() else code or FAILED)

"""What a start imports: each command what it needs, since that is what most of its start is spent on."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from daemon.cli.main import VERBS, Verb, commands
from daemon.version import version

SHOW = "import sys; from daemon.cli.main import commands; [commands(v) for v in sys.argv[1:]]; print(*sys.modules)"


def imported(*verbs: str) -> set[str]:
    """The modules of a fresh interpreter that is about to run *verbs*."""
    done = subprocess.run([sys.executable, "-c", SHOW, *verbs], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def names(app: typer.Typer) -> list[str]:
    found = [command.name for command in app.registered_commands] + [group.name for group in app.registered_groups]
    return [name for name in found if isinstance(name, str)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_there_alone(verb: str) -> None:
    assert names(commands(verb)) == [verb]


@pytest.mark.parametrize("misspelled", ["", "--help", "runn"])
def test_the_help_and_what_is_misspelled_know_every_verb(misspelled: str) -> None:
    assert sorted(names(commands(misspelled))) == sorted(VERBS)


@pytest.mark.parametrize(
    "added", [Verb("made-up", "config:show"), Verb("made-up", "config:app", group=True)], ids=["command", "group"]
)
def test_a_new_verb_is_one_line_of_the_table(added: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, added.name, added)
    assert names(commands("made-up")) == ["made-up"]
    assert "made-up" in names(commands("--help"))


def test_the_version_is_said_without_importing_any_verb() -> None:
    answer = CliRunner().invoke(commands("--version"), ["--version"])
    assert (answer.exit_code, answer.output) == (0, f"ferryman {version()}\n")
    assert not {name for name in imported("--version") if name.startswith("daemon.operator")}


def test_a_shell_completes_verbs_and_their_options() -> None:
    def completed(*words: str) -> list[str]:
        env = {"_FERRYMAN_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return CliRunner().invoke(commands(""), [], prog_name="ferryman", env=env).output.split()

    assert completed("ferryman", "campaign", "cr") == ["create"]
    assert completed("ferryman", "send", "text", "--pro") == ["--provider"]


def test_run_imports_nothing_of_the_demo_or_of_the_operators_verbs() -> None:
    found = imported("run")
    assert "daemon.app" in found
    assert not {name for name in found if name.startswith("daemon.sandbox")}
    others = {
        "daemon.demo",
        "daemon.operator.doctor",
        "daemon.operator.inspection",
        "daemon.operator.trail",
        "daemon.operator.dead_letters",
    }
    assert not others & found
    assert {name for name in found if name.startswith("daemon.cli.")} == {
        "daemon.cli.main",
        "daemon.cli.context",
        "daemon.cli.env_file",
        "daemon.cli.exits",
        "daemon.cli.run",
        "daemon.cli.screen",
    }


def test_verbs_on_the_tables_import_neither_the_daemon_nor_a_web_server() -> None:
    found = imported("audit", "events", "dead-letters", "pause", "resume", "migrate", "config")
    assert "daemon.cli.events" in found
    assert not {"daemon.app", "daemon.web.listener", "aiohttp", "daemon.sandbox"} & found

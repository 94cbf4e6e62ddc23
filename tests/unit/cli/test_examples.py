"""The help of each verb ends with an example, and each example is understood."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from daemon.cli.examples import EXAMPLES
from daemon.cli.exits import code_of
from daemon.cli.main import commands
from schemas.errors import FerrymanError

NOWHERE: Final = {
    "REDIS_URL": "unix:///nowhere/redis.sock",
    "DATABASE_URL": "postgresql://nobody@/none?host=/nowhere",
    "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef0123456789abcdef",
    "ORDERS_API_KEY": "vizi.0123456789abcdef",
}
EMBEDDED: Final = {"FERRYMAN_DATA_DIR": "nowhere"}
LASTING: Final = {"run", "demo"}
"""Verbs that would go on for long, or need no store to: their example is read with `--help`."""


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, verb in getattr(command, "commands", {}).items():
        yield from verbs(verb, (*path, name))
    if path and not getattr(command, "commands", {}):
        yield " ".join(path)


def test_every_verb_has_an_example_of_its_own() -> None:
    assert set(verbs(get_command(commands("")))) == EXAMPLES.keys()
    assert [verb for verb, example in EXAMPLES.items() if f"{example} ".find(f"{verb} ") != 0] == []


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_help_ends_with_the_example(verb: str) -> None:
    words = shlex.split(EXAMPLES[verb])
    answer = CliRunner().invoke(commands(words[0]), [*words, "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert answer.exit_code == 0, answer.output
    assert answer.output.rstrip().endswith(f"Example: ferryman {EXAMPLES[verb]}")


@pytest.mark.parametrize("verb", sorted(EXAMPLES.keys() - LASTING))
def test_an_example_is_a_right_command_line(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    account = {"phone_number_id": "100000000000001", "waba_id": "100000000000002", "access_token": "EAAG-invented-01"}
    (tmp_path / "erasures.jsonl").touch()
    (tmp_path / "meta.json").write_text(json.dumps(account))
    words = shlex.split(EXAMPLES[verb])
    env = EMBEDDED if verb in ("backup", "restore") else NOWHERE
    typed = "correct-horse-7\ncorrect-horse-7\n" if verb in ("users add", "users password") else ""
    answer = CliRunner().invoke(commands(words[0]), words, env=env, input=typed)
    error = answer.exception
    code = code_of(error) if isinstance(error, FerrymanError) else answer.exit_code
    assert code != 2, f"{error} {answer.output}"
    assert error is None or isinstance(error, FerrymanError | SystemExit), error


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["evnts"], "events"),
        (["bakup", "x"], "backup"),
        (["events", "shw", "x"], "show"),
        (["dead-letters", "rety"], "retry"),
        (["tail", "--worke", "x"], "--worker"),
    ],
)
def test_what_is_misspelled_is_told_what_was_meant(typed: list[str], meant: str) -> None:
    answer = CliRunner().invoke(commands(typed[0]), typed, env=NOWHERE | {"COLUMNS": "300", "TERM": "dumb"})
    assert answer.exit_code == 2
    told = " ".join(answer.output.split())
    guesses = told.partition("Did you mean")[2] or told.partition("(Possible options:")[2]
    assert meant in guesses.partition("?")[0].partition(")")[0]

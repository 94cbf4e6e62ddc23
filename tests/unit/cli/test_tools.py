"""What the operator's verbs share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from daemon.cli.main import commands
from daemon.cli.tools import NotConfirmed, confirm, shown_json, shown_ranges, shown_time
from tests.support.toy import NOON


def terminal(monkeypatch: pytest.MonkeyPatch, is_one: bool, answer: bool = False) -> list[str]:
    """A standard input that is a terminal or not, and an operator who says *answer*; returns what they were asked."""
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: is_one, raising=False)
    monkeypatch.setattr(typer, "confirm", ask)
    return asked


def test_without_a_terminal_only_yes_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = terminal(monkeypatch, False)
    confirm("send 3?", "send 3", yes=True)
    for ask in (True, False):
        with pytest.raises(NotConfirmed, match="would send 3: add --yes"):
            confirm("send 3?", "send 3", yes=False, ask=ask)
    assert asked == []


def test_on_a_terminal_a_no_ends_the_command_and_a_single_item_needs_no_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = terminal(monkeypatch, True, answer=False)
    confirm("send 1?", "send 1", yes=False, ask=False)
    with pytest.raises(typer.Abort):
        confirm("send 3?", "send 3", yes=False)
    assert asked == ["send 3?"]
    terminal(monkeypatch, True, answer=True)
    confirm("send 3?", "send 3", yes=False)


def test_data_are_shown_indented_and_whatever_they_are() -> None:
    assert shown_json('{"name":"Ä"}'.encode()) == '{\n  "name": "Ä"\n}'
    assert shown_json(b"\xff junk") == "\ufffd junk"
    assert shown_json(b'{"text":\r\n "he said "hi""}\n') == '{"text":\n "he said "hi""}\n'
    assert shown_time(NOON) == "2031-03-01 12:00:00"
    assert shown_time(None) == ""


@pytest.mark.parametrize(
    ("numbers", "text"), [([], "nothing"), ([3], "3"), ([2, 0, 1, 5], "0-2,5"), ([1, 3, 4, 9, 10], "1,3-4,9-10")]
)
def test_partitions_are_shown_as_ranges(numbers: list[int], text: str) -> None:
    assert shown_ranges(numbers) == text


@pytest.mark.parametrize(
    "argv", [["0"], ["1025"], ["four"], ["4", "--json"], ["--yes"], ["--move"], ["--dry-run"]], ids=" ".join
)
def test_a_change_of_the_partitions_that_makes_no_sense_is_a_usage_error(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(commands("partitions"), ["partitions", *argv], env={"FERRYMAN_PORT": "0"})
    assert answer.exit_code == 2
    assert list(tmp_path.iterdir()) == [], "no server was started for it"

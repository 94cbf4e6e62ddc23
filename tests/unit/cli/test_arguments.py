"""What operators type: understood, or a usage error, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from daemon.cli.arguments import parse_words, time_ahead, time_meant
from daemon.cli.exits import code_of
from daemon.cli.main import commands
from schemas.errors import FerrymanError
from tests.support.verb_forms import FORMS

NOW = datetime(2026, 11, 27, 10, 30, tzinfo=UTC)
NOWHERE = {
    "REDIS_URL": "unix:///nowhere/redis.sock",
    "DATABASE_URL": "postgresql://nobody@/none?host=/nowhere",
    "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef0123456789abcdef",
}
VALUED = {form[-2] for form in FORMS if form[-2].startswith("--") and form[-2] != "--dry-run"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    {
        "2026-11-27": datetime(2026, 11, 27, tzinfo=UTC),
        "2026-11-27T04:00": datetime(2026, 11, 27, 4, tzinfo=UTC),
        "2026-11-27 04:00:30": datetime(2026, 11, 27, 4, 0, 30, tzinfo=UTC),
        "2026-11-27T04:00+02:00": datetime(2026, 11, 27, 2, tzinfo=UTC),
        "2026-11-27T02:00Z": datetime(2026, 11, 27, 2, tzinfo=UTC),
        "2026-11-27t02:00z": datetime(2026, 11, 27, 2, tzinfo=UTC),
        "2026-11-26T20:00-06:00": datetime(2026, 11, 27, 2, tzinfo=UTC),
        "1h": NOW - timedelta(hours=1),
        "90 min": NOW - timedelta(minutes=90),
        "30m": NOW - timedelta(minutes=30),
        "2d ago": NOW - timedelta(days=2),
        "1w": NOW - timedelta(weeks=1),
        "45s": NOW - timedelta(seconds=45),
        "now": NOW,
        "today": datetime(2026, 11, 27, tzinfo=UTC),
        "Yesterday": datetime(2026, 11, 26, tzinfo=UTC),
    }.items(),
)
def test_a_time_is_understood_with_its_offset(typed: str, meant: datetime) -> None:
    assert time_meant(typed, NOW) == meant
    assert time_meant(typed, NOW).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "typed", ["", "soon", "25:00", "999999w", "0001-01-01T00:00+14:00", "9999-12-31T23:00-12:00", "-1h"]
)
def test_what_is_no_time_says_how_to_write_one(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="yesterday"):
        time_meant(typed, NOW)


@given(st.text())
def test_any_text_is_a_time_in_utc_or_a_usage_error(typed: str) -> None:
    try:
        at = time_meant(typed, NOW)
    except typer.BadParameter:
        return
    assert at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("typed", ["", "  ", "a\x00b", "a\udcffb", "x" * 5000])
def test_words_that_no_database_can_be_asked_for_are_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_words(typed)


def ended(argv: list[str]) -> tuple[int, str]:
    """Exit code and output of a verb, on stores that are not there."""
    answer = CliRunner().invoke(commands(argv[0]), argv, env=NOWHERE)
    if isinstance(answer.exception, FerrymanError):
        return code_of(answer.exception), str(answer.exception)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def nasty() -> Iterator[Any]:
    yield st.sampled_from(
        ["", " ", "\udcff", "\x00", "-1", "0", "9" * 23, "1e9", "+", "@", "%", "'", "\\", "--", "9" * 5000]
    )
    yield st.text(max_size=40)
    yield st.integers().map(str)


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_no_argument_of_any_verb_ends_in_a_traceback(form: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=30)
    @given(st.one_of(*nasty()))
    def run(typed: str) -> None:
        code, said = ended([typed if word == "*" else word for word in form])
        assert code in (1, 2) or form[:2] == ["rules", "init"], said
        assert code in (0, 2) or "cannot use" in said or "cannot be read" in said or "nothing here proves" in said

    run()
    assert not list(tmp_path.iterdir()), "nothing was made for it"


def values(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every verb with each of its arguments and options that take a value: an option by its name, an argument by *."""
    for name, verb in getattr(command, "commands", {}).items():
        yield from values(verb, (*path, name))
    if path and not getattr(command, "commands", {}):
        for one in command.params:
            if not getattr(one, "is_flag", False):
                yield (*path, next((opt for opt in one.opts if opt.startswith("--")), "*"))


def test_every_argument_and_option_of_every_verb_is_tried_here() -> None:
    tried = {
        (*(word for word in form[:2] if not word.startswith(("-", "*"))), form[-2] if form[-2] in VALUED else "*")
        for form in FORMS
    }
    # what `demo` takes is no question to a database, and asking it for a few orders would run it
    there = {found for found in values(get_command(commands(""))) if found[0] != "demo"}
    there -= {found for found in there if found[-1] == "--env-file" and found[0] != "config"}  # the same in each verb
    assert there <= tried, there - tried


@pytest.mark.parametrize(
    "argv",
    [
        ["events", "show", "\udcff"],
        ["events", "list", "--key", ""],
        ["events", "list", "--key", "\udcff"],
        ["events", "list", "--limit", "9" * 23],
        ["dead-letters", "retry", "", "--yes"],
        ["dead-letters", "discard", "1", "--all"],
        ["orders", "list", "--status", "lost"],
        ["send-test", "nothing"],
        ["send-test", "orders", "--url", "127.0.0.1:8080"],
        ["pause", "nobody"],
        ["replay", "--worker", "nobody"],
        ["replay", "--worker", "journal", "--key", "+12"],
        ["replay", "--worker", "journal", "--type", "nothing"],
    ],
    ids=repr,
)
def test_bad_input_is_a_usage_error_and_no_store_is_asked(argv: list[str]) -> None:
    code, _ = ended(argv)
    assert code == 2


@pytest.mark.parametrize(
    ("typed", "after"), [("2h", timedelta(hours=2)), ("in 30m", timedelta(minutes=30)), ("3d", timedelta(days=3))]
)
def test_a_length_of_time_ahead_counts_from_now_on(typed: str, after: timedelta) -> None:
    assert time_ahead(typed, NOW) == NOW + after


def test_a_time_ahead_may_be_written_whole() -> None:
    later = NOW + timedelta(days=400)
    assert time_ahead(later.isoformat(), NOW) == later


@pytest.mark.parametrize("typed", ["2h ago", "yesterday", "2020-01-01", "soon", "", "999999w", "9999999999999h"])
def test_a_time_ahead_that_has_passed_or_is_none_is_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        time_ahead(typed, NOW)

"""What verbs print: harmless to a terminal, whole in a pipe, and never a traceback because of where it goes."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.screen import LONGEST_CELL, OutputGone, safe, say, show_json, show_table

CLI = Path(__file__).parents[3] / "daemon" / "cli"
NASTY = {
    "an escape sequence": "\x1b[2Jgone",
    "a C1 control": "\x9b31mred",
    "a bidirectional override": "a\u202egnp.exe",
    "a bidirectional isolate": "\u2067abc\u2069",
    "a line end": "one\ntwo",
    "a carriage return": "one\rtwo",
    "a line separator": "one\u2028two",
    "an invisible mark": "pay\u200bpal",
    "a tag character": "a\U000e0041b",
    "half of a character": "a\udc80b",
}


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_what_commands_a_terminal_or_misleads_a_reader_is_shown_as_an_escape(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say(text)
    show_table(["a column"], [[text]])
    line, _, cell = capsys.readouterr().out.splitlines()
    assert line == cell == safe(text)
    assert line.isprintable()
    assert "\\u" in line


@given(st.text())
def test_an_escaped_text_is_what_json_would_read_back(text: str) -> None:
    shown = safe(text)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable() or not text.isprintable()
    assert "\x1b" not in shown
    assert json.loads(json.dumps("") if not text else f'"{safe(json.dumps(text, ensure_ascii=False)[1:-1])}"') == text


def test_names_in_any_script_and_emoji_stay_as_they_are() -> None:
    for text in ("Łukasz Müller", "משה לוי", "مريم", "می‌خواهم", "李明", "👩‍💻", "→ … –"):
        assert safe(text) == text


def test_a_document_stays_the_same_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"email": "a\u202e\x9b\U000e0041@x.org", "lines": "a\nb"}
    show_json(document)
    out = capsys.readouterr().out
    assert json.loads(out) == document
    assert out.replace("\n", "").isprintable()


def test_markup_in_a_cell_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["a column"], [["[link=https://x.org]here[/link]"]])
    assert "[link=https://x.org]here[/link]" in capsys.readouterr().out


def test_a_table_in_a_pipe_is_as_wide_as_its_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cells = ["x" * 120, "5b2f7c1e-0000-4000-8000-000000000000", "contact-sync: done"]
    show_table(["first", "event", "workers"], [cells])
    _, row = capsys.readouterr().out.splitlines()
    assert all(cell in row for cell in cells)


def test_no_verb_prints_on_its_own() -> None:
    for file in sorted(CLI.glob("*.py")):
        if file.name == "screen.py":
            continue
        tree = ast.parse(file.read_text())
        imported = {n.module.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        imported |= {a.name.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert "rich" not in imported, file.name
        called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert not called & {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}, file.name


def ferryman(*argv: str, cwd: Path, stdout: int | IO[Any] = subprocess.PIPE, **env: str) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of a verb."""
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CLI.parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *argv], stdout=stdout, stderr=subprocess.PIPE, cwd=cwd, env=kept | env
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("argv", ["config show", "config show --json", "doctor", "--help", "--version"])
def test_an_output_that_takes_nothing_is_one_line_and_no_traceback(argv: str, tmp_path: Path) -> None:
    wrong = {"FERRYMAN_PORT": "soon"} if argv == "doctor" else {}
    with Path("/dev/full").open("w") as full:
        code, _, err = ferryman(*argv.split(), cwd=tmp_path, stdout=full, **wrong)
    assert code == 1
    assert err.decode().startswith("ferryman: the output cannot be written (No space left on device)")
    assert err.count(b"\n") == 1


def test_a_reader_that_leaves_early_is_not_complained_about(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code, _, err = ferryman("config", "show", cwd=tmp_path, stdout=writing)
    os.close(writing)
    assert (code, err) == (1, b"")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_an_output_that_is_not_utf_8_gets_what_it_can_show(encoding: str, tmp_path: Path) -> None:
    _, out, err = ferryman("doctor", cwd=tmp_path, PYTHONIOENCODING=encoding, FERRYMAN_PORT="soon")
    assert err == b""
    assert out.decode(encoding).rstrip().endswith(" -> correct the settings")


def test_a_closed_output_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    with pytest.raises(OutputGone, match="it is closed"):
        say("hello")


def test_a_table_that_is_not_fitted_keeps_its_ids_whole_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    cells = ["2026-11-27 10:56:54", "5b2f7c1e-0000-4000-8000-000000000000", "IL310214IN0", "contact-sync: done"]
    for fit in (True, False):
        monkeypatch.setattr(sys, "stdout", out := Terminal())
        show_table(["time", "event", "order", "workers"], [cells], fit=fit)
        assert all(cell in out.getvalue() for cell in cells) is not fit


def test_a_cell_that_is_too_long_for_any_line_does_not_widen_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["event", "order"], [["e1", "9" * 10_000], ["e2", "IL1"]], fit=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= LONGEST_CELL + 10
    assert f"{'9' * (LONGEST_CELL - 1)}…" in lines[-2]

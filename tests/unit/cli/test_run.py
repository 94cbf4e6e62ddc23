"""How `run` begins: its log, and the admin token that an installation makes for itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.cli import run
from daemon.cli.run import admin_token
from daemon.settings.model import Settings


def test_the_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = admin_token(tmp_path)
    token = path.read_text()
    assert len(token.strip()) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert admin_token(tmp_path).read_text() == token


def test_a_file_that_a_crash_left_without_its_token_gets_one(tmp_path: Path) -> None:
    (tmp_path / "admin-token").touch(mode=0o600)
    (tmp_path / "admin-token.new").write_text("half a tok")
    assert len(admin_token(tmp_path).read_text().strip()) >= 32
    assert [file.name for file in tmp_path.iterdir()] == ["admin-token"]


@pytest.mark.parametrize(
    ("terminal", "env", "told"),
    [
        (False, {}, {"human": False, "colors": False}),
        (True, {"TERM": "xterm"}, {"human": True, "colors": True}),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, {"human": True, "colors": False}),
        (True, {"TERM": "dumb"}, {"human": True, "colors": False}),
    ],
)
def test_the_log_has_lines_for_people_on_a_terminal_and_json_elsewhere(
    terminal: bool, env: dict[str, str], told: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    configured: list[dict[str, bool]] = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: terminal, fileno=lambda: 1))
    monkeypatch.setattr("daemon.telemetry.logs.configure", lambda _, **how: configured.append(how))
    monkeypatch.setattr(run, "read_settings", Settings)
    monkeypatch.setattr(run, "run_async", lambda main: main.close())
    run.run()
    (how,) = configured
    assert {name: how[name] for name in told} == told

"""The admin token that an installation makes for itself."""

from __future__ import annotations

from pathlib import Path

from daemon.cli.run import admin_token


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

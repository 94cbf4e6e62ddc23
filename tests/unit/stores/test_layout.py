"""Other data in the place of those that are there: all of them or none, wherever it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.stores.embedded import layout

OLD = {"postgres/base": "old", "valkey/aof": "old", "admin-token": "old", "archive/u1/a.ogg": "old"}
NEW = {"postgres/base": "new", "valkey/aof": "new", "secret-key": "new", "archive/u2/b.ogg": "new"}
STAYS = {"lock": "1", "valkey.log": "said", "demo/postgres/base": "demo", "replaced-1/admin-token": "older"}


class Killed(BaseException):
    """The process is gone."""


def make(top: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)


def content(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


def begun(data_dir: Path) -> None:
    make(data_dir, OLD | STAYS)
    make(data_dir / layout.PARTIAL, NEW | {"lock": "2", "postgres.running": "", "postgres.log": "of the restore"})


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die in the place of its *step*-th change of a directory."""
    left = step

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return change(*args, **kwargs)

        return changed

    for name in ("rename", "unlink", "rmdir", "mkdir"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))


def test_a_restore_replaces_everything_and_keeps_what_was_there_aside(tmp_path: Path) -> None:
    begun(tmp_path)
    layout.commit(tmp_path, "2")
    assert layout.restored(tmp_path)
    layout.settle(tmp_path)
    assert content(tmp_path) == NEW | STAYS | {f"replaced-2/{name}": text for name, text in OLD.items()}
    assert not layout.restored(tmp_path)


def test_wherever_a_restore_is_killed_the_next_opening_has_the_old_data_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = NEW | STAYS | {f"replaced-2/{name}": text for name, text in OLD.items()}
    seen = []
    for step in range(100):
        data_dir = tmp_path / str(step)
        begun(data_dir)
        with monkeypatch.context() as patch:
            killed_at(step, patch)
            try:
                layout.commit(data_dir, "2")
                layout.settle(data_dir)
                died = False
            except Killed:
                died = True
        for again in range(100):  # and the next opening may be killed, too
            with monkeypatch.context() as patch:
                killed_at(again, patch)
                try:
                    layout.settle(data_dir)
                    break
                except Killed:
                    continue
        found = content(data_dir)
        assert found in (OLD | STAYS, whole), step
        seen.append(found == whole)
        if not died:
            break
    assert seen == sorted(seen), "what counts once counts from then on"
    assert (seen[0], seen[-1]) == (False, True)


def test_into_an_empty_directory_nothing_is_put_aside(tmp_path: Path) -> None:
    make(tmp_path / layout.PARTIAL, NEW)
    layout.commit(tmp_path, "2")
    layout.settle(tmp_path)
    assert content(tmp_path) == NEW
    assert not list(tmp_path.glob("replaced-*"))


def test_what_is_beside_the_stores_has_no_store_no_lock_and_no_link(tmp_path: Path) -> None:
    make(tmp_path, OLD | STAYS | {"postgres.password": "x", "postgres.access": "x"})
    (tmp_path / "link").symlink_to(tmp_path / "admin-token")
    (tmp_path / "archive" / "link").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in layout.beside_the_stores(tmp_path)]
    assert found == ["admin-token", "archive/u1/a.ogg"]

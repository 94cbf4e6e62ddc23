"""What a shell completes, by the protocol through which it asks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon.cli import completing
from daemon.workers import WORKERS
from tests.support.daemons import ROOT, environment

ASK = "from daemon.cli.main import main; main()"


def asked(words: str, tmp_path: Path, shell: str = "bash", **settings: str) -> list[str]:
    """What `ferryman` offers a shell for the last of *words*."""
    telling = {
        "_FERRYMAN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    if shell == "bash":
        del telling["_TYPER_COMPLETE_ARGS"]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['ferryman']; {ASK}"],
        cwd=tmp_path,
        env=environment(**telling, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ferryman bac", ["backup"]),
        ("ferryman events sh", ["show"]),
        ("ferryman tail --worker contact-s", ["contact-sync"]),
        ("ferryman dead-letters retry --worker journ", ["journal"]),
        ("ferryman replay --worker crm", ["crm-labels"]),
        ("ferryman send text --provider tw", ["twilio"]),
        ("ferryman pause whats", ["whatsapp-validation"]),
        ("ferryman credentials set wha", ["whapi"]),
        ("ferryman nothing here", []),
    ],
)
def test_verbs_and_names_are_completed_and_nothing_is_made(words: str, offered: list[str], tmp_path: Path) -> None:
    assert asked(words, tmp_path) == offered
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered_alike(shell: str, tmp_path: Path) -> None:
    told = " ".join(asked("ferryman tail --worker contact", tmp_path, shell))
    assert "contact-sync" in told
    assert "journal" not in told


@pytest.mark.parametrize("wrong", [{"CGB_TIMEOUT": "soon"}, {"DATABASE_URL": "nonsense", "REDIS_URL": "nonsense"}, {}])
def test_what_cannot_be_asked_for_is_completed_by_nothing(wrong: dict[str, str], tmp_path: Path) -> None:
    assert asked("ferryman dead-letters list --class R", tmp_path, **wrong) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for name, value in {
            "DATABASE_URL": f"postgresql://u:p@127.0.0.1:{port}/f",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2,
        }.items():
            monkeypatch.setenv(name, value)
        completing.error_classes("")  # the first call imports
        began = time.monotonic()
        assert completing.error_classes("") == []
        assert time.monotonic() - began < 2 * completing.WITHIN_S + 0.2


def test_names_are_those_of_the_program() -> None:
    assert completing.workers("") == sorted(worker.name for worker in WORKERS)
    assert completing.providers("") == ["cgb", "chatwoot", "meta", "twilio", "whapi"]


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config")])
def test_completion_is_installed(shell: str, file: str, tmp_path: Path) -> None:
    env = environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1") | {"HOME": str(tmp_path)}
    argv = [sys.executable, "-c", f"import sys; sys.argv = ['ferryman', *sys.argv[1:]]; {ASK}"]
    done = subprocess.run(
        [*argv, "--install-completion", shell], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / file).exists()
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert f"complete_{shell}" in written
    assert os.environ.get("HOME") != str(tmp_path)

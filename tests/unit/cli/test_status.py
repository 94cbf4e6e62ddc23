"""`ferryman status`: how a worker's row reads."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import pytest

from adapters.postgres.sweeps import Swept
from daemon.cli.status import _cells, _print_sweep
from daemon.operator import sweeps

AT: Final = datetime(2026, 11, 28, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "oldest"),
    [({}, "-"), ({"pending": 2}, "?"), ({"lag": None}, "?"), ({"pending": 2, "oldest_seconds": 3.9}, "3.9")],
)
def test_only_what_is_not_known_is_a_question_mark(changed: dict[str, Any], oldest: str) -> None:
    worker = {"state": "running", "lag": 0, "pending": 0, "oldest_seconds": None} | changed
    assert _cells(worker)[-1] == oldest


@pytest.mark.parametrize(
    ("error", "ended_at", "said"),
    [
        (None, AT, "sweep of chatwoot:3: the last 2026-11-28 10:00:00 UTC, 4 found"),
        ("http-401", None, "sweep of chatwoot:3: none yet; it fails now (http-401)"),
    ],
)
def test_a_sweep_is_told(
    capsys: pytest.CaptureFixture[str], error: str | None, ended_at: datetime | None, said: str
) -> None:
    ended = Swept("chatwoot:3", ended_at, 60.0, 4, error, False)
    inspected = SimpleNamespace(sweeps=[ended])
    (document,) = sweeps.document(inspected).values()  # type: ignore[arg-type]
    _print_sweep(ended.place, document)
    assert capsys.readouterr().out.strip() == said

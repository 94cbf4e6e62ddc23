"""The tests themselves can be run as people run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("how", [["-p", "no:xdist"], []], ids=" ".join)
def test_tests_run_with_and_without_xdist(how: list[str]) -> None:
    one = "tests/unit/web/test_place.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *how, one],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_first_run_on_a_slow_machine_is_no_failure_of_a_property() -> None:
    now = hypothesis.settings()
    assert now.deadline is None
    assert hypothesis.HealthCheck.too_slow in now.suppress_health_check

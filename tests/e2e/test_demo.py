"""`ferryman demo`: the ends that it promises to show, and a second run in which nothing is left to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ENDS: Final = {
    "Vizi's own test": "skipped: a test",
    "no phone": "failed: the order has no usable phone",
    "a landline": "not on WhatsApp, contact made",
    "a wrong phone": "synced, contact made",
    "the order, corrected": "synced, contact made by the right phone",
    "a report on documents": "found its order, passed on",
    "the same webhook again": "duplicate, nothing done",
    "forged": "refused (401)",
}


def demo(home: Path, *options: str) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    argv = [sys.executable, "-m", "daemon", "demo", "--json", *options]
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_demo_shows_every_kind_of_end_and_a_second_run_does_nothing_more(tmp_path: Path) -> None:
    first = demo(tmp_path, "--orders", "10")
    assert (first["ok"], first["disagreements"]) == (True, [])
    assert {one["what"]: one["outcome"] for one in first["orders"]}.items() >= ENDS.items()
    assert first["bulk"] == {"orders": 8, "outcomes": {"done": 8}, "writes": 0}

    again = demo(tmp_path, "--orders", "10")
    assert again["ok"] is True
    accepted = [one for one in again["orders"] if one["status"] == 202]
    assert {one["outcome"] for one in accepted} == {"duplicate, nothing done"}
    assert again["simulator"]["writes"] == 0

"""`ferryman demo --offline`: the ends that it promises to show, again in a second run, and a failure where something
does not agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

LIMIT_S: Final = 20.0
"""As long as the story may take, on a machine that runs other tests beside it. The servers' start comes before it."""

RULES: Final = {
    "newest",
    "server",
    "client",
    "merge, other fields",
    "merge, a set",
    "manual",
    "update wins",
    "delete wins",
    "owner",
    "fields",
}


def demo(home: Path, *options: str) -> bytes:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    argv = [sys.executable, "-m", "daemon", "demo", "--offline", *options]
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, timeout=150, check=False)
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr.decode()[-2000:])
    return done.stdout


@pytest.mark.timeout(320)  # two runs with servers of their own
def test_everything_agrees_in_the_end_no_value_is_lost_and_a_second_run_shows_the_same(tmp_path: Path) -> None:
    first = json.loads(demo(tmp_path, "--json"))
    check(first)
    assert first["seconds"] <= LIMIT_S
    shown = demo(tmp_path).decode()
    assert "all three places agree, record by record" in shown
    for words in ("won: the later one", "stays deleted; her day is kept as a conflict", "never comes to the branch"):
        assert words in shown
    assert " NO " not in shown
    assert "NOT" not in shown


def check(document: dict[str, Any]) -> None:
    assert (document["ok"], document["disagreements"]) == (True, [])
    records = {one["record"].rpartition("-")[0]: one for one in document["records"]}
    assert {one["rule"] for one in records.values()} >= RULES
    assert all(one["equal"] and one["as_told"] for one in records.values())
    both = [one for one in records.values() if one["branch"] is not None]
    assert len(both) >= 12
    assert all(one["office"] == one["branch"] == one["phone"] for one in both)
    assert records["cohen"]["office"]["stage"] == "won"
    assert records["fried"]["phone"]["price"] == "19500"
    assert records["itzik"]["branch"]["tags"] == ["diesel", "family", "urgent"]
    assert records["visit"]["office"] is None
    assert (records["niv"]["office"]["owner_id"], records["niv"]["phone"]) == ("omer", None)

    conflicts = document["conflicts"]
    wanted = {"newest", "server", "client", "manual", "update-wins", "delete-wins"}
    assert {one["strategy"] for one in conflicts} == wanted
    assert all(one["decision"] for one in conflicts)
    (manual,) = [one for one in conflicts if one["strategy"] == "manual"]
    assert manual["decided_by"] != "rule"
    assert (manual["ours"]["discount"], manual["theirs"]["discount"]) == ("5", "10")
    assert {(one["record"].rpartition("-")[0], one["reason"], one["kept"]) for one in document["refused"]} == {
        ("niv", "owner", "branch"),
        ("oren", "field", "phone"),
    }
    assert document["waited_on_phone"] >= 10
    assert document["waited_at_branch"] >= 10

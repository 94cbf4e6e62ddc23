"""`ferryman demo --offline`: the ends that it promises to show, again in a second run, and a failure where something
does not agree."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from yarl import URL

from adapters.records_client import RecordsClient
from tests.support.kept_demos import kept_demo
from tests.support.until import until

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


@pytest.mark.timeout(200)
async def test_what_is_kept_goes_on_syncing_until_it_is_stopped(tmp_path: Path) -> None:
    """A record that is made at one place reaches the other, and the phone's file, by itself."""
    async with kept(tmp_path) as told, ClientSession() as session:
        office, branch = Kept(session, *told["head office"]), Kept(session, *told["branch"])
        await office.put("l-office", {"name": "Made above", "branch_id": "haifa", "owner_id": "noa"})
        await branch.put("l-branch", {"name": "Made below", "branch_id": "haifa", "owner_id": "noa"})
        await until(lambda: office.has("l-branch"), "what was made at the branch, at the head office", 30)
        await until(lambda: branch.has("l-office"), "what was made at the head office, at the branch", 30)
        phone, _ = told["phone"]
        async with RecordsClient(tmp_path / phone, branch.url, "of nobody: it only reads the file") as reader:

            async def came() -> bool:
                return None not in [await reader.get("Lead", name) for name in ("l-office", "l-branch")]

            await until(came, "both, on the phone", 30)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", URL(branch.url).port)


@asynccontextmanager
async def kept(cwd: Path) -> AsyncIterator[dict[str, tuple[str, str]]]:
    """A demonstration that goes on, and ends well when it is told to: name -> (address, admin token) of its places."""
    async with kept_demo(cwd, "--offline", "--json", told_on_stderr=True) as demo:
        found = [place for line in demo.lines if (place := PLACE.match(line.strip()))]
        yield {place["name"]: (place["where"], place["admin"] or "") for place in found}
    check(json.loads(demo.out))


PLACE: Final = re.compile(r"(?P<name>head office|branch|phone) +(?P<where>\S+)  \((?:.*admin token (?P<admin>\w+))?")
"""What is said of each place that is kept."""


@dataclass(frozen=True)
class Kept:
    """A daemon that goes on, and its operator's token."""

    session: ClientSession
    url: str
    admin: str

    async def put(self, name: str, data: dict[str, Any]) -> None:
        proof = {"Authorization": f"Bearer {self.admin}", "If-None-Match": "*"}
        async with self.session.put(f"{self.url}/api/v1/records/Lead/{name}", json=data, headers=proof) as answer:
            assert answer.status == 201, await answer.text()

    async def has(self, name: str) -> bool:
        proof = {"Authorization": f"Bearer {self.admin}"}
        async with self.session.get(f"{self.url}/api/v1/records/Lead/{name}", headers=proof) as answer:
            return answer.status == 200


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

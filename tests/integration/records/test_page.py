"""Every example of the pages of records is true: its commands, its client, its requests and their answers."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.support.daemons import environment
from tests.support.records_rig import Site, Told, site

PAGES: Final = [Path(__file__).parents[3] / "daemon/records" / name for name in ("README.md", "INSIDE.md")]
SHIPPED: Final = Path(__file__).parents[3] / "daemon/rules/shipped/models.toml"
ADDRESS: Final = "https://records.example.com"


class Block(NamedTuple):
    """A fenced block of the pages."""

    kind: str
    text: str


def blocks() -> Iterator[Block]:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```", pages, flags=re.M | re.S):
        yield Block(kind, text)


def differs(said: Any, real: Any, where: str = "") -> list[str]:
    """Where *real* is not what the page has *said*; "…" is anything."""
    if said == "…":
        return []
    if isinstance(said, dict) and isinstance(real, dict):
        names = [f"{where}.{name}" for name in said.keys() ^ real.keys()]
        return names + [
            one for name in said.keys() & real.keys() for one in differs(said[name], real[name], f"{where}.{name}")
        ]
    if isinstance(said, list) and isinstance(real, list) and len(said) == len(real):
        return [one for n, pair in enumerate(zip(said, real, strict=True)) for one in differs(*pair, f"{where}[{n}]")]
    return [] if said == real else [f"{where}: {real!r}"]


async def asked(here: Site, text: str, token: str, before: dict[str, str]) -> Told:
    """The answer to the request *text*; *before*: what earlier answers gave, by the words that stand for it."""
    for word, value in before.items():
        text = text.replace(word, value)
    head, _, body = text.partition("\n{")
    request, *headers = head.strip().splitlines()
    method, path = request.split(" ", 1)
    given = dict(line.split(": ", 1) for line in headers)
    return await here.ask(method, path, json.loads("{" + body) if body else None, token=token, **given)


async def ran(here: Site, program: str, token: str, cwd: Path) -> str:
    """What the page's *program* prints, as a program of its own."""
    text = f"TOKEN = {token!r}\n" + program.replace(ADDRESS, here.url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", text, cwd=cwd, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_every_example_of_the_page_is_true(tmp_path: Path, postgres_url: str) -> None:
    seen: dict[str, int] = {}
    async with site(tmp_path, "hub", postgres_url, models=SHIPPED.read_text(encoding="utf-8")) as here:
        token = ""
        before: dict[str, str] = {}
        told: Told | None = None
        for kind, text in blocks():
            seen[kind] = seen.get(kind, 0) + 1
            if kind == "sh":
                for line in text.splitlines():
                    out = await here.verb(*shlex.split(line)[1:])
                    token = token or json.loads(out)["token"]
            elif kind == "python":
                out = await ran(here, text, token, tmp_path)
                assert "Lead lead_1" in out
                assert "error=None" in out
                assert "pending=0" in out
            elif kind == "http":
                told = await asked(here, text, token, before)
            else:
                assert kind == "json"
                assert told is not None
                assert differs(json.loads(text), told.body) == [], text
                assert isinstance(told.body, dict)
                before |= {name.upper(): told.body[name] for name in ("ack", "cursor") if name in told.body}
    assert seen == {"sh": 3, "python": 1, "http": 8, "json": 8}

"""Prometheus itself, where it is installed (`.ci/run` tries to)."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests.support.daemons import free_port
from tests.support.until import until


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that scrapes one process every 200 ms."""

    url: str
    session: ClientSession

    async def rules(self) -> list[dict[str, Any]]:
        """The rules, and how the server finds each."""
        async with self.session.get(f"{self.url}/api/v1/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def series(self, query: str) -> list[dict[str, Any]]:
        """What *query* gives now: each series with its labels and value. A query that is wrong fails the test."""
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            document = await answer.json()
        assert document["status"] == "success", f"{query}: {document.get('error')}"
        found: list[dict[str, Any]] = document["data"]["result"]
        return found

    async def ask(self, query: str) -> float | None:
        """The value of *query* now; None where it has none, or several."""
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            found = (await answer.json())["data"]["result"]
        value = float(found[0]["value"][1]) if len(found) == 1 else math.nan
        return None if math.isnan(value) else value


def promtool(*arguments: str) -> tuple[int, str]:
    """Run it: exit code, and all its output. A test without the program is skipped."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    ended = subprocess.run([program, *arguments], stdout=PIPE, stderr=STDOUT, text=True, check=False)
    return ended.returncode, ended.stdout


@asynccontextmanager
async def prometheus(scraped: str, directory: Path, *rules: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes *scraped* (host:port) and goes by these files of rules. A test without the program is
    skipped."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    port, config = free_port(), directory / "prometheus.yml"
    how = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
        "scrape_configs": [{"job_name": "ferryman", "static_configs": [{"targets": [scraped]}]}],
        "rule_files": [str(file) for file in rules],
    }
    config.write_text(json.dumps(how))  # JSON is YAML
    options = (f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}")
    process = await asyncio.create_subprocess_exec(
        program,
        *options,
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with ClientSession() as session:
            server = Prometheus(f"http://127.0.0.1:{port}", session)

            async def scrapes() -> bool:
                assert process.returncode is None, "prometheus has ended"
                try:
                    return await server.ask("up") == 1.0
                except (ClientError, OSError):
                    return False

            await until(scrapes, "a Prometheus that scrapes")
            yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()

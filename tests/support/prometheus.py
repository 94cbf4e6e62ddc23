"""Prometheus itself, where it is installed (`.ci/run` tries to)."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from tests.support.daemons import free_port
from tests.support.until import until


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that scrapes one process every 200 ms."""

    url: str
    session: ClientSession

    async def ask(self, query: str) -> float | None:
        """The value of *query* now; None where it has none, or several."""
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            found = (await answer.json())["data"]["result"]
        value = float(found[0]["value"][1]) if len(found) == 1 else math.nan
        return None if math.isnan(value) else value


@asynccontextmanager
async def prometheus(scraped: str, directory: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes *scraped* (host:port). A test without the program is skipped."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    port, config = free_port(), directory / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: ferryman, static_configs: [{{targets: ['{scraped}']}}]}}]\n"
    )
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

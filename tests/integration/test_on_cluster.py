"""The tests of the bus once more, the same files, on a cluster of six nodes started from the embedded binary."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.cluster import ClusterNodes, cluster_of_six
from tests.support.daemons import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FILES: Final = (
    *("bus/test_consumer", "bus/test_stale_reads", "bus/test_leases", "bus/test_intake", "web/test_listener"),
    *("operator/test_partitions", "operator/test_dead_letters", "operator/test_events", "redis/test_limits"),
    *("redis/test_limits_line", "redis/test_limits_priority"),
)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[ClusterNodes]:
    async with cluster_of_six(tmp_path / "cluster") as started:
        yield started


@pytest.mark.parametrize("file", FILES)
async def test_what_passes_on_one_server_passes_on_a_cluster(nodes: ClusterNodes, postgres_url: str, file: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", f"tests/integration/{file}.py"),
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": nodes.url, "DATABASE_URL": postgres_url, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = out.decode(errors="replace")
    assert process.returncode == 0, text[-8000:]
    summary = text.strip().splitlines()[-1]
    print(f"{file} on a cluster: {summary}")
    assert re.search(r"\d+ passed", summary)
    assert "skipped" not in summary

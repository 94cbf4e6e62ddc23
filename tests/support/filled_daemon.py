"""A `ferryman run` on stores of its own that are filled with a few of everything, for whoever looks at its pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.daemons import API_KEY, environment, free_port
from tests.support.servers import own_servers

CGB_TOKEN: Final = "pages-cgb-token"


@dataclass(frozen=True)
class FilledDaemon:
    """*cgb_port*: where it looks for CGB; nothing listens there, until a test does. *ended*: whether it has ended,
    against its will."""

    url: str
    database_url: str
    redis_url: str
    cgb_port: int
    log: Path
    ended: Callable[[], bool]

    def failed(self) -> list[str]:
        """What its log has of pages that failed."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if '"page.' in line][-5:]


@contextmanager
def daemon_process(directory: Path) -> Iterator[FilledDaemon]:
    """The daemon, not ready yet, until the context ends. Its log goes into a file: no loop has to read it, so that it
    runs on between tests."""
    with own_servers(directory / "stores", fsync=False) as stores:
        port, cgb, log = free_port(), free_port(), directory / "log"
        env = environment(
            FERRYMAN_PORT=port,
            ORDERS_API_KEY=API_KEY,
            REDIS_URL=stores.redis_url,
            DATABASE_URL=stores.database_url,
            CGB_API_URL=f"http://127.0.0.1:{cgb}",
            CGB_API_KEY=CGB_TOKEN,
            CGB_SYNC_DELAY_MS=0,
            FERRYMAN_LEASE_SECONDS=5,
            FERRYMAN_PARTITIONS=2,
        )
        subprocess.run(
            [sys.executable, "-m", "daemon", "migrate"], cwd=directory, env=env, check=True, capture_output=True
        )
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "run"], cwd=directory, env=env, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            url = f"http://127.0.0.1:{port}"
            assert stores.database_url is not None
            assert stores.redis_url is not None
            yield FilledDaemon(url, stores.database_url, stores.redis_url, cgb, log, lambda: process.poll() is not None)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

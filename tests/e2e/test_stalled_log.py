"""A real process whose log goes into a full pipe that no program reads."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from tests.support.daemons import API_KEY, environment, free_port
from tests.support.until import until


def full_pipe() -> tuple[int, int]:
    """(reading end, writing end that blocks whoever writes to it)"""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"\n" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


async def test_a_process_whose_log_nobody_reads_starts_answers_and_ends_on_sigterm(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    port = free_port()
    env = environment(**settings, FERRYMAN_PORT=port, ORDERS_API_KEY=API_KEY, FERRYMAN_LOG_LEVEL="debug")
    reading, writing = full_pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "run", cwd=tmp_path, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=writing
    )
    os.close(writing)
    try:
        async with ClientSession() as session:

            async def answers(path: str) -> bool:
                try:
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        return answer.status == 200
                except (ClientError, OSError):
                    return False

            await until(lambda: answers("/readyz"), "a process that is ready", within_s=15)
            assert await answers("/livez")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(reading)

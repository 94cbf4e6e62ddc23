"""`ferryman reload`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

from daemon.card import Found, running
from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say
from schemas.errors import FerrymanError

ANSWER_S: Final = 10.0
"""Longest wait for the processes to say what they did."""

LOOK_S: Final = 0.02


class NotReloaded(FerrymanError):
    """At least one process goes on with its former settings; the text says which, and why."""


def reload() -> None:
    """Let every daemon of this data directory read its settings again. It takes new secrets of sources, a new
    CGB_API_KEY, CHATWOOT_API_ACCESS_TOKEN, META_ACCESS_TOKEN, TWILIO_AUTH_TOKEN or WHAPI_TOKEN without closing
    anything. What else has changed is named: it takes effect at the next start."""
    data_dir = read_settings().ferryman_data_dir.absolute()
    run_async(_reload(data_dir))


async def _reload(data_dir: Path) -> None:
    before = _running(data_dir)
    if not before:
        raise NotReloaded(
            f"no daemon runs on {data_dir} of this machine, or it waits for a store at its start:"
            " start one, see its log, or correct FERRYMAN_DATA_DIR"
        )
    for one in before:
        _signal(one.pid)
    silent, failed = {one.pid: one for one in before}, []
    give_up = asyncio.get_running_loop().time() + ANSWER_S
    while silent and asyncio.get_running_loop().time() < give_up:
        await asyncio.sleep(LOOK_S)
        there = {one.pid: one for one in _running(data_dir)}
        for pid, one in list(silent.items()):
            now = there.get(pid)
            if now is None:
                del silent[pid]
                say(f"process {pid}: it has ended")
            elif now.said.get("asked", 0) > one.said.get("asked", 0):
                del silent[pid]
                say(f"process {pid}: {now.said['text']}")
                if not now.said["done"]:
                    failed.append(pid)
    if silent or failed:
        named = ", ".join(map(str, sorted([*silent, *failed])))
        raise NotReloaded(f"not every process has taken the settings ({named}): see its log")


def _running(data_dir: Path) -> list[Found]:
    try:
        return running(data_dir)
    except OSError as exc:
        raise NotReloaded(f"{data_dir} cannot be read ({exc.strerror}): run this as the user of the daemon") from exc


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        pass  # it has just ended
    except PermissionError as exc:
        raise NotReloaded(f"process {pid} belongs to another user: run this as the user of the daemon") from exc

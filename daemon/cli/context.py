"""What every verb begins with: the settings, and an event loop (uvloop where it is installed)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar

from adapters.registry import SOURCES
from daemon.lifecycle import stop_on_signals
from daemon.settings.load import ENV_FILE, SettingsError, load_settings, names_in
from daemon.settings.model import Settings
from daemon.workers import WORKERS

T = TypeVar("T")

env_file: Final[ContextVar[Path | None]] = ContextVar("env_file", default=None)
"""The file that `--env-file` names on the command line under way."""


def read_settings() -> Settings:
    """The settings of the environment and of `.env`; of a file that `--env-file` names, its settings win over the
    environment. Raises: SettingsError with every problem at once."""
    known = {
        "FERRYMAN_WORKERS": [worker.name for worker in WORKERS],
        "FERRYMAN_ALLOW_UNSIGNED": [source.name for source in SOURCES],
    }
    path = env_file.get()
    if path is None:
        return load_settings(os.environ, Path(".env"), known=known)
    if not path.is_file():  # a pipe is empty at the second look
        raise SettingsError([f"--env-file {path} is no file that can be read again: name one that stays"])
    given = names_in(path) | {ENV_FILE}
    return load_settings({name: text for name, text in os.environ.items() if name not in given}, path, known=known)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* to its end, on uvloop where it is installed; returns its result."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def until_stopped() -> None:
    """Wait for Ctrl-C, or for the signal by which a service manager stops the process."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    await stop.wait()

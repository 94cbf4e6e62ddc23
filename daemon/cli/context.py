"""What every verb begins with: the settings, and an event loop (uvloop where it is installed)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from adapters.registry import SOURCES
from daemon.settings.load import load_settings
from daemon.settings.model import Settings
from daemon.workers import WORKERS

T = TypeVar("T")


def read_settings() -> Settings:
    """The settings of the environment and of `.env`. Raises: SettingsError with every problem at once."""
    known = {
        "FERRYMAN_WORKERS": [worker.name for worker in WORKERS],
        "FERRYMAN_ALLOW_UNSIGNED": [source.name for source in SOURCES],
    }
    return load_settings(os.environ, Path(".env"), known=known)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* to its end, on uvloop where it is installed; returns its result."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)

"""Ferryman whose pools close idle connections after a second, so that a test need not wait for long."""

from __future__ import annotations

from typing import Final

from adapters.postgres import pool
from adapters.redis import idle
from daemon.cli.main import main

IDLE_S: Final = 1.0

if __name__ == "__main__":
    pool.IDLE_S = IDLE_S  # type: ignore[misc]
    idle.IDLE_S = IDLE_S  # type: ignore[misc]
    main()

"""`--env-file`: a file that can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli import context
from daemon.settings.load import SettingsError


@pytest.fixture
def pipe() -> Iterator[Path]:
    """What a shell makes of `<(command)`."""
    reading, writing = os.pipe()
    os.write(writing, b"CGB_API_KEY=0123456789abcdef\n")
    os.close(writing)
    yield Path(f"/dev/fd/{reading}")
    os.close(reading)


def test_a_pipe_is_refused_and_not_taken_for_an_empty_file(pipe: Path) -> None:
    token = context.env_file.set(pipe)
    try:
        with pytest.raises(SettingsError, match="no file that can be read again"):
            context.read_settings()
    finally:
        context.env_file.reset(token)

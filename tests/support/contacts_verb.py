"""`ferryman contacts`, and other groups of verbs, as a function of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from typer.testing import CliRunner

from daemon.cli.exits import code_of
from daemon.cli.main import commands
from schemas.errors import FerrymanError

Verb: TypeAlias = Callable[..., Awaitable[tuple[int, str]]]


def contacts_verb(redis_url: str, database_url: str, group: str = "contacts") -> Verb:
    """`ferryman GROUP …` on these stores: its exit code, and what it says; of a failure, its line."""
    env = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}

    async def run(*argv: str) -> tuple[int, str]:
        answer = await asyncio.to_thread(CliRunner().invoke, commands(group), [group, *argv], env=env)
        if isinstance(answer.exception, FerrymanError):
            return code_of(answer.exception), answer.output + str(answer.exception)
        assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
        return answer.exit_code, answer.output

    return run

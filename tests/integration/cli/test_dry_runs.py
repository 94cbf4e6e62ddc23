"""`--dry-run` together with `--json`: one JSON document, and nothing is changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from typer.main import get_command
from typer.testing import CliRunner, Result

from adapters.postgres import windows
from adapters.postgres.pool import Pool
from adapters.postgres.windows import Written
from daemon.cli.main import commands
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.by_meta import settings_for

PHONE: Final = "+972505550142"
THEIRS: Final = "wamid.THEIRS"

FORMS: Final[Mapping[str, Sequence[str]]] = {
    "validate": (PHONE, "--ask"),
    "send text": (PHONE, "hello"),
    "send template": (PHONE, "hello_world", "--language", "en_US"),
    "send media": (PHONE, "https://example.com/a.pdf"),
    "send choices": (PHONE, "which?", "--choice", "a"),
    "send reaction": (PHONE, THEIRS, "👍"),
    "templates sync": (),
    "campaign create": ("news", "--template", "news", "--language", "he"),
    "tokens create": ("--user", "u-1"),
    "records compact": (),
}
"""Verb -> what it takes besides, where the sandboxes of this test can answer it."""

ELSEWHERE: Final = {
    "send read": "tests/integration/cli/test_reading_and_reactions.py",
    "send automatic": "tests/e2e/test_automatic_messages.py",
    "labels create": "tests/integration/operator/test_labels.py",
    "chatwoot setup": "tests/integration/cli/test_chatwoot_setup.py",
    "partitions": "tests/unit/cli/test_tools.py",  # --json is for looking, --dry-run for a change
    "records replicas": "tests/integration/records/test_compaction.py",  # the same
}
"""Verb -> where its documents are looked at."""


def both(command: Any, name: str = "") -> Iterator[str]:
    """The verbs below *command* that take --json and --dry-run."""
    below = getattr(command, "commands", {})
    for word, one in below.items():
        yield from both(one, f"{name} {word}".strip())
    if {"--json", "--dry-run"} <= {option for param in command.params for option in param.opts}:
        yield name


def test_every_verb_with_both_options_has_its_form() -> None:
    assert set(both(get_command(commands("")))) == FORMS.keys() | ELSEWHERE.keys()


@pytest.fixture
async def env(redis: Redis, redis_url: str, database_url: str, db: Pool) -> AsyncIterator[dict[str, str]]:
    async with MetaSandbox() as meta:
        meta.chats.note(THEIRS, PHONE.removeprefix("+"), theirs=True)
        one = Written("meta", PHONE, PHONE, datetime.now(UTC), "text", {"text": "hello"}, THEIRS, str(uuid4()), True)
        async with db.acquire() as conn, conn.transaction():
            await windows.record(conn, [one._replace(our_number=PHONE_NUMBER_ID)])
        yield settings_for(meta) | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}


async def document(env: dict[str, str], verb: str, *more: str) -> Any:
    argv = [*verb.split(), *FORMS[verb], *more, "--dry-run", "--json"]
    answer: Result = await asyncio.to_thread(CliRunner().invoke, commands(argv[0]), argv, env=env)
    assert answer.exit_code == 0, (answer.output, answer.exception)
    return json.loads(answer.stdout)


CHANGED: Final = ("messages", "campaigns", "tokens", "templates", "whatsapp_checks", "audit_log")


async def held(db: Pool) -> list[int]:
    """How many rows there are that the verbs would add."""
    return [await db.fetchval(f"SELECT count(*) FROM {table}") for table in CHANGED]


@pytest.mark.parametrize("verb", FORMS)
async def test_a_look_prints_one_document_and_changes_nothing(
    env: dict[str, str], db: Pool, verb: str, tmp_path: Any
) -> None:
    people = tmp_path / "people.csv"
    people.write_text(f"phone,1,name\n{PHONE},a,Buyer\n")
    before = await held(db)
    assert await document(env, verb, *(("--csv", str(people)) if verb == "campaign create" else ()))
    assert await held(db) == before


async def test_the_documents_say_what_would_be(env: dict[str, str]) -> None:
    made = await document(env, "tokens create", "--role", "read", "--expires", "9")
    wanted = {"dry_run": True, "kind": "user", "name": "u-1", "role": "read", "days": 9}
    assert {name: made[name] for name in wanted} == wanted
    assert "token" not in made
    sent = await document(env, "send text")
    assert sent == {
        "dry_run": True,
        "provider": "meta",
        "account": "default",
        "phone": PHONE,
        "not_before": None,
        "messages": 1,
        "skipped": None,
    }

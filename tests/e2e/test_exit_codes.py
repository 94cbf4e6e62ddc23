"""The same exit code means the same, whichever verb ends with it; and the pages and `--help` say what it means."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from adapters.postgres.bus import journal
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from daemon.cli.exits import MEANINGS
from daemon.cli.main import commands
from schemas.envelope import Event, event_id
from tests.support.daemons import API_KEY, ROOT, environment, ferryman, free_port
from tests.support.toy import NOON

NOWHERE: Final = {
    "REDIS_URL": "unix:///nowhere/redis.sock",
    "DATABASE_URL": "postgresql://nobody@/none?host=/nowhere",
    "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2,
    "ORDERS_API_KEY": API_KEY,
}
TOKEN_FILE: Final = "token.txt"
SOUND: Final = {
    "migrate": [],
    "doctor": [],
    "status": [],
    "audit": [],
    "replay": ["--worker", "journal", "--yes"],
    "partitions": [],
    "workers list": [],
    "workers forget": ["gone", "--yes"],
    "pause": ["cgb"],
    "resume": ["cgb"],
    "dead-letters list": [],
    "dead-letters show": ["1"],
    "dead-letters retry": ["--all", "--yes"],
    "dead-letters discard": ["--all", "--yes"],
    "refused list": [],
    "refused show": ["1"],
    "refused resend": ["1"],
    "events list": [],
    "events show": ["IL-1"],
    "events tail": [],
    "orders list": [],
    "orders show": ["IL-1"],
    "validate": ["+972505550142"],
    "orders correct": ["IL-1", "--name", "Noa"],
    "sync order": ["IL-1"],
    "sync failed": ["--yes"],
    "sync bulk": ["--yes"],
    "reconcile": [],
    "contacts find": ["ann"],
    "contacts show": ["ann"],
    "contacts conflicts": [],
    "contacts merge": ["ann", "bob", "--yes"],
    "contacts unmerge": ["ann", "--yes"],
    "conversations find": [],
    "conversations show": ["481"],
    "send text": ["+972505550142", "hello", "--yes"],
    "send template": ["+972505550142", "order_confirmation", "--yes"],
    "send media": ["+972505550142", "https://example.com/a.pdf", "--yes"],
    "send choices": ["+972505550142", "which?", "--choice", "a", "--yes"],
    "messages list": [],
    "messages show": ["6f1d1b56"],
    "messages cancel": ["6f1d1b56"],
    "send reaction": ["+972505550142", "wamid.1", "👍", "--yes"],
    "send read": ["6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11"],
    "templates list": [],
    "templates sync": [],
    "send automatic": ["IL-1", "--yes"],
    "campaign create": ["n", "--template", "t", "--branch", "il"],
    "campaign start": ["n", "--yes"],
    "campaign pause": ["n"],
    "campaign resume": ["n", "--yes"],
    "campaign stop": ["n", "--yes"],
    "campaign status": ["n"],
    "campaign list": [],
    "campaign report": ["n"],
    "uncertain list": [],
    "uncertain settle": ["6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11", "--sent"],
    "credentials set": ["whapi", "--from", TOKEN_FILE],
    "credentials list": [],
    "credentials delete": ["whapi", "--yes"],
    "credentials rotate": [],
    "tokens create": ["--user", "u1"],
    "tokens list": [],
    "tokens revoke": ["1", "--yes"],
    "records stats": [],
    "records sync": [],
    "records queue": [],
    "records retry-failed": [],
    "records show": ["Lead", "lead_1"],
    "records conflicts": [],
    "records compact": [],
    "records new-epoch": [],
    "records check": [],
    "records resolve": ["1", "--take", "ours"],
    "records erase": ["Lead", "lead_1", "--yes"],
    "records replicas": [],
    "mappings add": ["u1", "--phone", "+12025550143"],
    "mappings list": [],
    "mappings remove": ["1", "--yes"],
    "mappings notify": ["u1", "on"],
    "chatwoot setup": [],
    "send-test": ["orders"],
}
"""Every verb that needs the stores, as it is called for something."""

OTHERS: Final = {"run", "reload", "demo", "config show", "rules check", "rules init", "labels create"}
"""Verbs that ask no store: the demo has its own, and the daemon may wait for its."""

NAMES: Final = {
    "events show": ["*"],
    "events list": ["--event", "*"],
    "replay": ["--worker", "journal", "--dry-run", "--event", "*"],
    "orders show": ["*"],
    "orders correct": ["*", "--name", "Noa"],
    "sync order": ["*"],
    "send automatic": ["--dry-run", "*"],
    "dead-letters show": ["*"],
    "dead-letters retry": ["--dry-run", "*"],
    "dead-letters discard": ["--dry-run", "*"],
}
"""Every verb that is told an event, with the place of its name."""


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, verb in getattr(command, "commands", {}).items():
        yield from verbs(verb, (*path, name))
    if path and not getattr(command, "commands", {}):
        yield " ".join(path)


async def code_of(verb: str, *argv: str, cwd: Path, **settings: object) -> tuple[int, str]:
    env = environment(**{"FERRYMAN_PORT": free_port()} | settings)
    (cwd / TOKEN_FILE).write_text("whapi-token-0123456789\n")
    code, out, err = await ferryman(*verb.split(), *argv, cwd=cwd, env=env)
    return code, f"{verb} {argv}: {out}{err}"


def test_every_verb_is_tried_here() -> None:
    assert set(verbs(get_command(commands("")))) == SOUND.keys() | OTHERS


@pytest.mark.parametrize("verb", SOUND)
async def test_a_store_that_is_away_is_a_failure_of_every_verb(verb: str, tmp_path: Path) -> None:
    code, said = await code_of(verb, *SOUND[verb], cwd=tmp_path, **NOWHERE)
    assert code == 1, said


async def test_wrong_settings_and_a_wrong_command_line_are_usage_errors_of_every_verb(tmp_path: Path) -> None:
    for verb in [*SOUND, *OTHERS]:
        code, said = await code_of(verb, *SOUND.get(verb, []), cwd=tmp_path, **NOWHERE | {"CGB_TIMEOUT": "soon"})
        assert (code, "CGB_TIMEOUT" in said) == (2, True), said
        code, said = await code_of(verb, "--nonsense", cwd=tmp_path, **NOWHERE)
        assert code == 2, said
    assert (await code_of("nonsense", cwd=tmp_path, **NOWHERE))[0] == 2


async def test_a_wrong_rule_file_is_a_usage_error_of_run_before_any_store_is_opened(tmp_path: Path) -> None:
    (tmp_path / "fields.toml").write_text('[[rules]]\nwhere = { field = "Emial" }\nthen = { owner = "nobody" }\n')
    (tmp_path / "feilds.toml").write_text("")
    code, said = await code_of("run", cwd=tmp_path, **NOWHERE | {"FERRYMAN_RULES_DIR": tmp_path})
    assert (code, "3 problems in the rules" in said) == (2, True), said
    for problem in ("fields.toml:2: rules[1].where.field: Emial", "fields.toml:3: rules[1].then.owner: must", "feilds"):
        assert problem in said, said
    assert "store" not in said, said


async def test_a_name_that_is_not_there_fails_and_one_that_fits_several_is_a_usage_error(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    id = event_id("orders", "IL-1")
    one = Event(id=id, type="order.received", source="orders", subject="+972505550001", time=NOON, data=b"{}")
    twin = one._replace(id=id[:20] + "0000-000000000000")
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(one, ""), Journaled(twin, "")])
    for verb, argv in NAMES.items():
        for name, expected in (("IL-nothing", 1), (id[:6], 2), ("+972505550001", 2)):
            code, said = await code_of(
                verb, *(name if word == "*" else word for word in argv), cwd=tmp_path, **settings
            )
            assert code == expected, said
            assert (id in said) is (expected == 2), "a usage error lists what the name fits"


async def test_what_is_sound_ends_with_0_and_what_lacks_a_yes_fails(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    for verb in (
        "status",
        "audit",
        "events list",
        "orders list",
        "contacts conflicts",
        "conversations find",
        "dead-letters list",
        "refused list",
        "config show",
        "rules check",
    ):
        code, said = await code_of(verb, cwd=tmp_path, **settings)
        assert code == 0, said
    await db.execute(
        "INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid,"
        " schemaversion, error_class, error_text, attempts)"
        " VALUES ('contact-sync', 'a', 'order.received', 'orders', 'b', now(), '{}', '', '', 1, 'Refused', 'no', 1)"
    )
    for verb in ("dead-letters retry", "dead-letters discard"):
        assert (await code_of(verb, "--all", cwd=tmp_path, **settings))[0] == 1
        assert (await code_of(verb, "--all", "--dry-run", cwd=tmp_path, **settings))[0] == 0


async def test_ctrl_c_ends_a_verb_under_way_with_130(tmp_path: Path, settings: dict[str, Any], db: Pool) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "daemon", "send-test", "orders", "--url", f"http://127.0.0.1:{port}"),
            cwd=tmp_path,
            env=environment(ORDERS_API_KEY=API_KEY, **settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # what a shell runs in the background ignores Ctrl-C, and so would these tests, and what they start
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        await asyncio.wait_for(asked.wait(), 20)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130, err.decode()
    assert b"Traceback" not in err


async def test_the_page_and_the_help_say_what_each_code_means(tmp_path: Path) -> None:
    page = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    table = page.partition("\n| exit code | |\n")[2].partition("\n\n")[0]
    assert {int(code): means for code, means in re.findall(r"^\| (\d+) \| (.+) \|$", table, flags=re.M)} == MEANINGS
    code, said = await code_of("--help", cwd=tmp_path)
    assert code == 0
    told = " ".join(said.split())
    assert all(f"{code}: {means}" in told for code, means in MEANINGS.items())

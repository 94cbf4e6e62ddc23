"""What the doctor and the status see of real servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import typer
from aiohttp import web
from redis.asyncio import Redis

from adapters.postgres.bus import journal, spool, workers
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.bus.workers import Registered
from adapters.postgres.operator.inspect import inspect_server, open_events
from adapters.postgres.pool import Pool
from adapters.redis import lease_table
from adapters.redis.inspect import inspect_redis, waiting_since
from adapters.redis.lease_table import LeaseTable
from adapters.redis.streams import Streams, stream_key, stream_keys
from daemon.cli.status import status
from daemon.operator.doctor import examine
from daemon.operator.inspection import inspect_installation, port_at
from daemon.operator.status import document, read_status
from daemon.settings.model import Settings
from tests.support.daemons import free_port
from tests.support.servers import fresh_database
from tests.support.toy import make_event


def settings(redis_url: str, database_url: str, **more: Any) -> Settings:
    given: dict[str, Any] = {"redis_url": redis_url, "database_url": database_url, "ferryman_port": 0} | more
    return Settings(**given)


async def test_the_look_at_the_servers_finds_versions_durability_and_clocks(
    redis: Redis, redis_url: str, database_url: str
) -> None:
    found = await inspect_installation(settings(redis_url, database_url))
    assert found.away == {}
    assert found.redis is not None
    assert found.redis.appendonly is True
    assert found.redis.policy == "noeviction"
    assert abs(found.redis.skew_s) < 0.5
    assert found.redis.failing == ()
    assert found.postgres is not None
    assert found.postgres.major >= 15
    assert found.postgres.pending == ()
    assert abs(found.postgres.skew_s) < 0.5
    assert found.postgres.free_connections > 0
    assert found.tables is not None
    assert found.tables.spool == 0
    assert found.leases is not None
    assert found.leases.members == {}
    assert found.disk is not None
    errors = [finding for finding in examine(found) if finding.level == "error"]
    assert errors == []


@pytest.mark.parametrize("lacks", [["INFO"], ["CONFIG GET"], ["INFO", "CONFIG GET"], ["INFO", "CONFIG GET", "WAITAOF"]])
async def test_a_redis_user_without_some_commands_is_no_outage_and_the_doctor_names_them(
    redis: Redis, redis_url: str, database_url: str, lacks: list[str]
) -> None:
    commands: Any = redis
    less = [f"-{command.split()[0].lower()}" for command in lacks]
    await commands.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">sesame", "~*", "&*", "+@all", *less)
    try:
        url = redis_url.replace("unix://", "unix://narrow:sesame@", 1)
        found = await inspect_installation(settings(url, database_url))
    finally:
        await commands.execute_command("ACL", "DELUSER", "narrow")
    assert found.away == {}
    assert found.redis is not None
    assert list(found.redis.lacks) == lacks
    assert found.leases is not None
    findings = examine(found)
    named = [finding.text for finding in findings if "our user of Redis may not run" in finding.text]
    assert [text.split(" may not run ")[1].split(":")[0] for text in named] == lacks
    assert [finding for finding in findings if finding.level == "error"] == []
    (loss,) = (finding for finding in findings if finding.text.startswith("Loss window"))
    assert ("a crash of Redis may lose events" in loss.text) == ("WAITAOF" in lacks)


async def test_stores_that_are_away_are_named_without_their_passwords(redis: Redis, redis_url: str) -> None:
    away = f"postgresql://user:hunter2@127.0.0.1:{free_port()}/x"
    found = await inspect_installation(settings(redis_url, away))
    assert list(found.away) == ["Postgres"]
    assert found.redis is not None
    found = await inspect_installation(settings(f"redis://user:hunter2@127.0.0.1:{free_port()}/0", away))
    assert sorted(found.away) == ["Postgres", "Redis"]
    text = "\n".join(str(finding) for finding in examine(found))
    assert "hunter2" not in text
    assert text.count("error") == 2


async def test_an_empty_database_lacks_its_migrations(redis: Redis, redis_url: str, empty_database_url: str) -> None:
    found = await inspect_installation(settings(redis_url, empty_database_url))
    assert found.postgres is not None
    assert found.postgres.pending
    assert any("ferryman migrate" in finding.do for finding in examine(found))


async def test_a_database_that_is_not_utf_8_is_an_error_in_one_line(
    redis: Redis, redis_url: str, postgres_url: str
) -> None:
    async with fresh_database(postgres_url, more="ENCODING 'LATIN1' LOCALE 'C'") as url:
        findings = examine(await inspect_installation(settings(redis_url, url)))
    (error,) = [finding for finding in findings if finding.level == "error"]
    assert "the database is in LATIN1, and Ferryman needs UTF-8" in error.text


async def test_backlogs_leases_and_open_events_are_counted(
    redis: Redis, redis_url: str, database_url: str, db: Pool
) -> None:
    bus = Streams(redis, 16)
    keys = [stream_key("orders", p) for p in range(16)]
    await bus.ensure_groups("contact-sync", keys)
    await bus.append([make_event(f"key-{n}", n) for n in range(5)])
    await bus.read("contact-sync", {keys[p]: ">" for p in range(8)}, count=100, epochs={})
    await spool.append(db, [make_event("key-9")])
    table = LeaseTable(redis, "m1", ["contact-sync"], 30)
    await table.tick([], [])
    await table.acquire([("contact-sync", 3)])
    found = await inspect_installation(settings(redis_url, database_url), count_open=True)
    backlog = found.backlogs["contact-sync"]
    assert backlog.unread + backlog.pending == 5
    assert backlog.pending > 0
    assert backlog.oldest_s is not None
    assert 0 <= backlog.oldest_s < 30
    assert {name: n for name, n in found.open_events.items() if n} == {
        "journal": 1,
        "contact-sync": 1,
    }
    assert found.tables is not None
    assert found.tables.spool == 1
    assert found.leases is not None
    assert found.leases.members == {"m1": frozenset({"contact-sync"})}
    assert found.leases.owners == {("contact-sync", 3): "m1"}


async def test_nothing_waits_where_everything_is_acknowledged(redis: Redis) -> None:
    bus, keys = Streams(redis, 1), [stream_key("orders", 0)]
    assert await waiting_since(redis, "g", keys) is None
    await bus.ensure_groups("g", keys)
    await bus.append([make_event("key-1")])
    assert await waiting_since(redis, "g", keys) is not None
    (entry,) = await bus.read("g", {keys[0]: ">"}, count=9, epochs={})
    assert await waiting_since(redis, "g", keys) is not None
    await bus.ack("g", [(entry.key, entry.id)])
    assert await waiting_since(redis, "g", keys) is None


async def test_the_look_at_the_leases_leaves_out_what_has_run_out_and_changes_nothing(redis: Redis) -> None:
    table = LeaseTable(redis, "m1", ["w"], 0.2)
    await table.tick([], [])
    await table.acquire([("w", 1)])
    await table.retire()
    await asyncio.sleep(0)
    before = await redis.hgetall(lease_table.LEASES)
    assert (await lease_table.read_table(redis)).owners == {("w", 1): "m1"}
    await asyncio.sleep(0.3)
    gone = await lease_table.read_table(redis)
    assert (gone.members, gone.owners) == ({}, {})
    assert await redis.hgetall(lease_table.LEASES) == before


async def test_stray_rows_are_seen(redis: Redis, redis_url: str, database_url: str, db: Pool) -> None:
    await db.execute(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash, at) VALUES ('w', 'e', 'done', '', '2001-01-01')"
    )
    found = await inspect_installation(settings(redis_url, database_url))
    assert found.tables is not None
    assert found.tables.stray["inbox"] == 1


@asynccontextmanager
async def answering(document: object) -> AsyncIterator[int]:
    """A program with a /readyz."""

    async def readyz(request: web.Request) -> web.Response:
        return web.json_response(document)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"ready": True, "leases": {}}, "ready"),
        ({"ready": False, "leases": {}}, "not ready"),
        ({"ok": True}, "taken"),
        ([1], "taken"),
    ],
)
async def test_a_daemon_of_ours_is_told_from_another_program(document: object, expected: str) -> None:
    async with answering(document) as port:
        assert await port_at("127.0.0.1", port) == expected
        assert await port_at("0.0.0.0", port) == expected
        with socket.socket() as webhooks:  # a daemon that tells of itself at another port
            webhooks.bind(("127.0.0.1", 0))
            webhooks.listen()
            assert await port_at("127.0.0.1", webhooks.getsockname()[1], port) == expected


async def test_ports_that_are_free_silent_or_elsewhere() -> None:
    assert await port_at("127.0.0.1", free_port()) == "free"
    assert await port_at("127.0.0.1", 0) == "any"
    assert await port_at("192.0.2.1", 8080) == "no such address"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert await port_at("127.0.0.1", silent.getsockname()[1]) == "taken"


async def test_a_managed_server_that_forbids_config_is_looked_at_all_the_same(redis: Redis, redis_url: str) -> None:
    await redis.acl_setuser(
        "limited", enabled=True, passwords=["+pw"], keys=["*"], categories=["+@all"], commands=["-config"]
    )
    limited = Redis.from_url(redis_url, username="limited", password="pw", legacy_responses=False)
    try:
        looked = await inspect_redis(limited)
    finally:
        await limited.aclose()
        await redis.acl_deluser("limited")
    (found,) = looked.nodes
    assert found == looked.whole
    assert found.policy == "noeviction"
    assert found.appendonly is True
    assert found.appendfsync is None


async def test_open_events_of_each_worker(database_url: str, db: Pool) -> None:
    conn = await asyncpg.connect(database_url)
    try:
        assert (await inspect_server(conn, 0.0)).skew_s > 1e9
    finally:
        await conn.close()
    early, late = make_event("key-1", 1), make_event("key-2", 2)
    late = late._replace(time=early.time + timedelta(hours=1))
    async with db.acquire() as held, held.transaction():
        await journal.append(held, [Journaled(early, ""), Journaled(late, "")])
    every = Registered(name="every", topics=["orders"], types=[early.type])
    new = replace(every, name="new", begins="now", began_at=late.time)
    none = Registered(name="none", topics=[], types=[])
    assert await open_events(db, [every, new, none]) == {"every": 2, "new": 1, "none": 0}


async def test_work_that_waits_for_a_worker_without_a_process_is_named(
    redis: Redis, redis_url: str, database_url: str, db: Pool
) -> None:
    worker = Registered(name="gone", topics=["orders"], types=["order.received"])
    await workers.register(db, [worker], [])
    await db.execute("UPDATE workers SET began_at = now() - interval '2 hours'")
    bus = Streams(redis, 16)
    await bus.ensure_groups("gone", stream_keys(["orders"], range(16)))
    await bus.append([make_event("key")])
    found = await inspect_installation(settings(redis_url, database_url))
    assert found.unattended["gone"] == pytest.approx(7200, abs=60)
    assert document(found)["unattended"]["gone"] == pytest.approx(7200, abs=60)


async def test_status_fails_while_a_store_is_away_and_shows_what_the_other_tells(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    here = settings(redis_url, f"postgresql://user@127.0.0.1:{free_port()}/x")
    found = await read_status(here)
    monkeypatch.setattr("daemon.cli.status.read_settings", lambda: here)
    monkeypatch.setattr("daemon.cli.status.read_status", lambda _: found)
    monkeypatch.setattr("daemon.cli.status.run_async", lambda found: found)
    with pytest.raises(typer.Exit) as end:
        status()
    assert end.value.exit_code == 1
    assert "Postgres is away" in capsys.readouterr().out
    found["away"] = {}
    status()

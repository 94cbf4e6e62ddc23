"""A backup of embedded stores, taken beside a daemon under load, and what a restore makes of it."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from adapters.postgres.pool import Pool, connect
from daemon.operator.backup import container
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.stores.embedded.binaries import postgres_root
from daemon.stores.embedded.servers import in_use
from tests.support import daemons
from tests.support.daemons import ROOT, digits_of, environment, ferryman, running, some_orders
from tests.support.servers import fresh_database, open_directory
from tests.support.until import until

ORDERS = 150
_IDS = "SELECT id FROM event_journal WHERE source = 'orders'"
_JOURNALED = "SELECT count(*) FROM event_journal WHERE source = 'orders'"
_SYNCED = "SELECT count(*) FROM orders WHERE cgb_sync_status = 'synced'"


def settings_of(data_dir: Path, cgb: CgbSandbox) -> dict[str, Any]:
    return {
        "FERRYMAN_DATA_DIR": data_dir,
        "CGB_API_URL": cgb.url,
        "CGB_API_KEY": TOKEN,
        "CGB_RATE_PER_MINUTE": 1_000_000,
        "FERRYMAN_LEASE_SECONDS": 2,
    }


async def verb(cwd: Path, *argv: str, **settings: object) -> tuple[int, str, str]:
    return await ferryman(*argv, cwd=cwd, env=environment(**settings))


async def audit(cwd: Path, **settings: object) -> tuple[int, dict[str, int]]:
    code, out, _ = await verb(cwd, "audit", "--json", **settings)
    return code, json.loads(out)["workers"]["contact-sync"] if out.startswith("{") else {}


async def test_a_backup_under_load_restores_every_order_that_was_accepted_before_and_doubles_none(
    cgb: CgbSandbox,
) -> None:
    with open_directory() as place:
        settings = settings_of(place / "data", cgb)
        file = place / "backup.tar"
        sent: list[tuple[float, str]] = []
        loop = asyncio.get_running_loop()
        async with running(place, **settings) as here:

            async def post(order: dict[str, Any]) -> None:
                status, answer = await here.post(order)
                assert status == 202
                sent.append((loop.time(), answer["event_ids"][0]))

            async def load() -> None:
                for order in some_orders(ORDERS):
                    await post(order)

            loading = asyncio.create_task(load())
            await until(lambda: len(sent) >= ORDERS // 8, "orders that are accepted")
            began = loop.time()
            code, out, err = await verb(place, "backup", str(file), "--json", **settings)
            assert code == 0, err
            assert not loading.done(), "there was no load meanwhile"
            await loading
            assert await here.stop() == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        before = {event_id for at, event_id in sent if at < began}
        other = settings | {"FERRYMAN_DATA_DIR": place / "other"}
        code, said, err = await verb(place, "restore", str(file), **other)
        assert code == 0, err
        assert "all that was accepted before is here" in said
        async with running(place, **other) as here:
            servers = in_use(place / "other")
            assert servers is not None
            assert servers.database_url is not None
            async with connect(servers.database_url, size=1) as pool:

                async def settled() -> bool:
                    found = await pool.fetchval(_JOURNALED)
                    return bool(found >= len(before) and found == await pool.fetchval(_SYNCED))

                await until(settled, "the end of all that was restored", every_s=0.2)
                found = {row["id"] for row in await pool.fetch(_IDS)}
            code, sums = await audit(place, **other)
            assert (code, sums["accepted"], sums["open"]) == (0, len(found), 0)
            assert before <= found <= {event_id for _, event_id in sent}
            assert await here.stop() == 0
        assert set(cgb.ledger.creates_by_contact().values()) == {1}
        assert json.loads(out)["parts"].keys() >= {container.DUMP, container.EVENTS, "files/admin-token"}


async def test_whom_was_erased_since_the_backup_is_erased_again_by_the_restore(cgb: CgbSandbox) -> None:
    with open_directory() as place:
        settings = settings_of(place / "data", cgb) | {"FERRYMAN_SECRET_KEY": "k" * 43 + "="}
        gone, stays = some_orders(2)
        async with running(place, **settings) as here:
            for order in (gone, stays):
                assert (await here.post(order))[0] == 202
            servers = in_use(place / "data")
            assert servers is not None
            assert servers.database_url is not None
            async with connect(servers.database_url, size=1) as pool:

                async def synced() -> bool:
                    return bool(await pool.fetchval(_SYNCED) == 2)

                await until(synced, "two orders that are synced", every_s=0.2)
            code, _, err = await verb(place, "backup", "b.tar", **settings)
            assert code == 0, err
            assert await here.stop() == 0
        phone, other = (f"+{digits_of(order)}" for order in (gone, stays))
        code, said, err = await verb(place, "privacy", "erase", phone, "--yes", **settings)
        assert code == 0, said + err
        code, said, err = await verb(place, "restore", "b.tar", "--yes", **settings)
        assert code == 0, said + err
        code, said, err = await verb(place, "privacy", "verify", phone, **settings)
        assert code == 0, said + err
        code, said, err = await verb(place, "contacts", "show", other, **settings)
        assert code == 0, said + err
        code, said, err = await verb(place, "contacts", "show", phone, **settings)
        assert code == 1, said + err


async def test_stores_of_the_operators_own_come_back_from_a_dump_and_an_empty_redis(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool, database_url: str, redis: Redis
) -> None:
    page = (ROOT / "deploy" / "README.md").read_text().partition("\n## Back up and restore\n")[2].partition("\n## ")[0]
    told = [line for block in re.findall(r"^```sh\n(.*?)^```", page, flags=re.M | re.S) for line in block.splitlines()]
    dumping, loading = (next(line for line in told if line.startswith(name)) for name in ("pg_dump", "pg_restore"))
    before, later = some_orders(4), some_orders(6)[4:]
    async with running(tmp_path, **settings) as here:
        for order in before:
            assert (await here.post(order))[0] == 202
        await daemons.synced(db, 4)
        await shell(tmp_path, dumping, database_url)
        assert await here.stop() == 0
    await redis.flushdb()
    async with fresh_database(database_url) as empty:
        await shell(tmp_path, loading, empty)
        restored = settings | {"DATABASE_URL": empty}
        for line in ("migrate", "pause outbound-messaging"):
            assert f"ferryman {line}" in told
            code, _, err = await verb(tmp_path, *line.split(), **restored)
            assert code == 0, err
        async with running(tmp_path, **restored) as here, connect(empty, size=2) as pool:
            for order in (*before, *later):  # the order system sends again
                assert (await here.post(order))[0] in (200, 202)
            await daemons.synced(pool, 6)
            code, sums = await audit(tmp_path, **restored)
            assert (code, sums["open"]) == (0, 0)
            assert await here.stop() == 0
    assert set(cgb.ledger.creates_by_contact().values()) == {1}


async def shell(cwd: Path, line: str, database_url: str) -> None:
    """Run a command of the page with the programs of PostgreSQL that are installed with the tests."""
    env = environment(DATABASE_URL=database_url)
    env["PATH"] = f"{postgres_root() / 'bin'}:{env['PATH']}"
    done = await asyncio.to_thread(
        partial(subprocess.run, ["/bin/sh", "-ec", line], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr

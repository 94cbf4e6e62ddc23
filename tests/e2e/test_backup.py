"""A backup of embedded stores, taken beside a daemon under load, and what a restore makes of it."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

from adapters.postgres.pool import connect
from daemon.operator.backup import container
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.stores.embedded.servers import in_use
from tests.support.daemons import environment, ferryman, running, some_orders
from tests.support.servers import open_directory
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

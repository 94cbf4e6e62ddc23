"""A person is erased beside a running daemon: what comes late or is replayed brings nothing back, a new order begins
anew."""

from __future__ import annotations

import json
import random
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from adapters.postgres import erasures as marks
from adapters.postgres.operator.privacy import erasures
from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import CgbSandbox
from daemon.settings.model import Settings
from daemon.stores import pepper
from tests.support.daemons import ended, environment, ferryman, running
from tests.support.until import until

KEY: Final = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
PERSON: Final = "+972505550042"


def an_order(id: str, person: int = 42, *, hour: int = 9, created: datetime | None = None) -> dict[str, Any]:
    """An order of *person*."""
    phone = {"code": "972", "number": f"50555{person:04d}"}
    body = orders.make_order(random.Random(id), 1, branch="il", order_id=id, phone=phone)
    body["form"]["client"]["name"] = f"Zanzibarsky {person}"
    body["form"]["client"]["email"] = f"canary{person}@example.com"
    body["form"]["created_at"] = f"2021-02-14T{hour - 1:02d}:00:00.000Z" if created is None else created.isoformat()
    body["form"]["updated_at"] = f"2021-02-14T{hour:02d}:00:00.000Z" if created is None else created.isoformat()
    return body


async def verb(settings: dict[str, Any], cwd: Path, *argv: str) -> tuple[int, str]:
    code, out, err = await ferryman(*argv, cwd=cwd, env=environment(**settings))
    return code, out + err


async def erased_ends(db: Pool, least: int) -> bool:
    return int(await db.fetchval("SELECT count(*) FROM inbox WHERE reason = 'erased'")) >= least


async def test_nothing_that_comes_late_brings_an_erased_person_back_and_a_new_order_begins_anew(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    settings |= {"FERRYMAN_SECRET_KEY": KEY, "FERRYMAN_DATA_DIR": tmp_path / "data"}
    (tmp_path / "data").mkdir()
    async with running(tmp_path, **settings) as here:
        await here.post(an_order("IL210214KN1001"))
        await here.post(an_order("IL210214KN1002", 43))
        await ended(db, 2)
        out = tmp_path / "person.zip"
        assert (await verb(settings, tmp_path, "privacy", "export", PERSON, "--to", str(out)))[0] == 0
        assert out.stat().st_mode & 0o777 == 0o600
        with zipfile.ZipFile(out) as archive:
            (row,) = archive.read("database/orders.jsonl").splitlines()
            assert json.loads(row)["order_id"] == "IL210214KN1001"
            assert "canary43" not in "".join(archive.read(name).decode() for name in archive.namelist())

        assert (await verb(settings, tmp_path, "privacy", "verify", PERSON))[0] == 1
        code, said = await verb(settings, tmp_path, "privacy", "erase", PERSON, "--yes")
        assert code == 0, said
        assert "delete it in CGB" in said
        assert await verb(settings, tmp_path, "privacy", "verify", PERSON) == (
            0,
            "nothing is kept about this person\n",
        )

        status, answer = await here.post(an_order("IL210214KN1001", hour=11))
        assert status == 202, "it is accepted, and nothing of it is kept"
        await until(lambda: erased_ends(db, 1), "the end of the late webhook")
        (late,) = answer["event_ids"]
        await until(lambda: _journaled(db, late), "the journal")
        kept = await db.fetchrow("SELECT subject, data FROM event_journal WHERE id = $1", late)
        assert kept is not None
        assert (kept["subject"][:7], kept["data"]) == ("erased:", "null")

        code, said = await verb(settings, tmp_path, "replay", "--worker", "contact-sync", "--yes")
        assert code == 0, said
        await until(lambda: erased_ends(db, 2), "the end of the replay")
        assert (await verb(settings, tmp_path, "privacy", "verify", PERSON))[0] == 0
        assert await db.fetchval("SELECT count(*) FROM orders") == 1

        again = datetime.now(UTC) + timedelta(seconds=1)
        await here.post(an_order("IL310214KN2001", created=again))
        await until(lambda: _synced(db, "IL310214KN2001"), "the sync of the new order")
        await here.post(an_order("IL210214KN1001", hour=12))
        await until(lambda: erased_ends(db, 3), "the old order, which stays erased")
        assert await db.fetchval("SELECT count(*) FROM orders") == 2

        async def none_open() -> bool:
            code, out = await verb(settings, tmp_path, "audit", "--json")
            return code == 0 and all(worker["open"] == 0 for worker in json.loads(out)["workers"].values())

        await until(none_open, "accounts that balance, with nothing open")


async def test_a_daemon_that_cannot_know_who_was_erased_does_not_start(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    opened = Settings(ferryman_secret_key=(SecretStr(KEY),), database_url="postgresql://x")
    await pepper.made(db, opened)
    async with db.acquire() as conn, conn.transaction():
        one = await erasures.begin(conn, "me")
        await marks.put(conn, [(b"0123456789abcdef", "key")], one.id, one.started_at)
    code, said = await verb(settings, tmp_path, "run")
    assert code == 1
    assert "FERRYMAN_SECRET_KEY is not set, and people were erased here under one" in said


async def _journaled(db: Pool, event: str) -> bool:
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM event_journal WHERE id = $1)", event))


async def _synced(db: Pool, order: str) -> bool:
    return bool(await db.fetchval("SELECT cgb_sync_status = 'synced' FROM orders WHERE order_id = $1", order))

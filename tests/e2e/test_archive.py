"""What people write by Chatwoot is archived by a real process: in files, at Google's emulator, and while that is away;
and it goes to its user when one becomes known."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import ClientSession

from adapters.chatwoot.source import signed
from adapters.postgres.pool import Pool
from daemon.conversations.archive.names import bucket_name
from tests.support.archive_worker import ACCOUNT, OGG, attached, incoming
from tests.support.daemons import Running, free_port, running
from tests.support.file_server import FileServer
from tests.support.object_stores import emulator
from tests.support.until import until

SECRET: Final = "chatwoot-secret-0123456789"
BEARER: Final = {"Authorization": "Bearer e2e-admin-token-0123456789"}


async def post(here: Running, body: dict[str, Any]) -> None:
    """Post *body* as Chatwoot does."""
    webhook = signed(orjson.dumps(body), SECRET, int(time.time()))
    async with here.session.post(
        f"{here.url}/webhooks/chatwoot", data=webhook.body, headers=dict(webhook.headers)
    ) as answer:
        assert answer.status == 202, await answer.text()


async def in_cloud(url: str, bucket: str, path: str) -> bytes | None:
    """The object at the emulator; None: it has none such."""
    place = f"{url}/storage/v1/b/{bucket}/o/{path.replace('/', '%2F')}?alt=media"
    async with ClientSession() as session, session.get(place) as answer:
        return await answer.read() if answer.status == 200 else None


async def test_what_people_write_is_in_files(tmp_path: Path, stores: dict[str, str], db: Pool) -> None:
    async with FileServer() as files:
        files.files["/v"] = OGG
        own: dict[str, Any] = {
            "CHATWOOT_WEBHOOK_SECRET": SECRET,
            "CHATWOOT_BASE_URL": files.url,
            "CHATWOOT_API_ACCESS_TOKEN": "chatwoot-token-0123456789",
            "CHATWOOT_ACCOUNT_ID": 3,
            "FERRYMAN_DATA_DIR": tmp_path / "d",
        }
        async with running(tmp_path, **stores, **own) as here:
            await post(here, incoming(7301, files=[attached(88, f"{files.url}/v", "audio")]))
            stored = "SELECT * FROM note_attachments WHERE status = 'stored'"
            file = await until(lambda: db.fetchrow(stored), "the file")
    note = await db.fetchrow("SELECT * FROM meeting_notes")
    assert note is not None
    assert file is not None
    for row in (note, file):
        kept = (tmp_path / "d" / "archive" / ACCOUNT / row["object_path"]).read_bytes()
        assert sha256(kept).hexdigest() == row["sha256"]


async def test_an_outage_of_the_store_and_a_user_who_is_known_later(
    tmp_path: Path, stores: dict[str, str], db: Pool
) -> None:
    port, of_user = free_port(), bucket_name("pacelane-whatsapp", "u1")
    own = {"CHATWOOT_WEBHOOK_SECRET": SECRET, "STORAGE_EMULATOR_HOST": f"127.0.0.1:{port}"}
    async with running(tmp_path, **stores, **own) as here:
        await post(here, incoming(7301))
        await until(lambda: db.fetchval("SELECT count(*) FROM archive_objects"), "an object that waits")
        note = await db.fetchrow("SELECT * FROM meeting_notes")
        assert note is not None
        assert (note["processing_status"], note["bucket"]) == ("stored", ACCOUNT)
        with emulator(port) as url:

            async def moved(bucket: str) -> bool:
                kept = await in_cloud(url, bucket, note["object_path"])
                return kept is not None and sha256(kept).hexdigest() == note["sha256"]

            await until(lambda: moved(ACCOUNT), "the object in the store", within_s=60, every_s=0.2)
            body = {"user_id": "u1", "whatsapp_number": "+1 202 555 0143"}
            async with here.session.post(f"{here.url}/api/v1/user-mappings", json=body, headers=BEARER) as answer:
                assert (answer.status, (await answer.json())["reassigned"]) == (201, 1)
            await until(lambda: moved(of_user), "the object in the user's bucket", within_s=60, every_s=0.2)
            deleted = "SELECT count(*) FROM archive_moved WHERE deleted_at IS NOT NULL"
            await until(lambda: db.fetchval(deleted), "the end of the old object", within_s=60)
            assert await in_cloud(url, ACCOUNT, note["object_path"]) is None

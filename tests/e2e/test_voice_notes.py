"""A voice note from Chatwoot's webhook to the text of its message, through a real process that is killed meanwhile."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, Final

from adapters.chatwoot.source import signed
from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot_webhooks import contact, conversation, escaped, message
from daemon.sandbox.openai import BYTES_A_SECOND, OpenAiSandbox
from tests.support.daemons import Running, running
from tests.support.file_server import FileServer
from tests.support.until import until

SECRET: Final = "whs-e2e-0123456789abcdef"
PHONE: Final = "+12025550143"
VOICE: Final = b"OggS" + b"\0" * 24 + b"OpusHead" + b"\1" * (5 * BYTES_A_SECOND - 36)
SAID: Final = "write a short post about visas"


async def hear(here: Running, id: int, url: str) -> None:
    """Chatwoot's webhook of a voice note."""
    person = contact(905, PHONE)
    told = message(id, None, conversation(481, person, PHONE[1:]))
    told["attachments"] = [{"id": id + 10, "file_type": "audio", "data_url": url}]
    body = escaped(told)
    proof = signed(body, SECRET, int(time.time())).headers
    async with here.session.post(f"{here.url}/webhooks/chatwoot", data=body, headers=proof) as answer:
        assert answer.status == 202, await answer.text()


async def test_a_voice_note_becomes_text_although_the_process_is_killed_while_it_is_heard(
    tmp_path: Path, stores: dict[str, str], db: Pool
) -> None:
    async with OpenAiSandbox() as openai, FileServer() as chatwoot:
        openai.switches.hears = lambda body: SAID
        openai.faults.add("slow", seconds=60, times=1)
        chatwoot.files["/v.ogg"] = VOICE
        settings: dict[str, Any] = stores | {
            "CHATWOOT_BASE_URL": chatwoot.url,
            "CHATWOOT_API_ACCESS_TOKEN": "token-0123456789",
            "CHATWOOT_ACCOUNT_ID": 3,
            "CHATWOOT_WEBHOOK_SECRET": SECRET,
            "OPENAI_API_KEY": openai.key,
            "OPENAI_BASE_URL": openai.url,
            "FERRYMAN_DATA_DIR": tmp_path / "data",
            "FERRYMAN_LEASE_SECONDS": 2,
        }
        async with running(tmp_path, **settings) as here:
            await hear(here, 7301, f"{chatwoot.url}/v.ogg")
            await until(lambda: openai.ledger.of("transcribe"), "the voice note to be sent")
            await here.stop(signal.SIGKILL)

        async def said() -> bool:
            return bool(await db.fetchval("SELECT content = $1 FROM meeting_notes", SAID))

        async with running(tmp_path, **settings):
            await until(said, "the note to say what was said")
        (row,) = await db.fetch("SELECT * FROM audio_files")
        assert (row["transcription_status"], row["transcription"], row["duration_seconds"]) == ("completed", SAID, 5)
        assert row["chatwoot_attachment_id"] == "7311"
        assert [heard.body for heard in openai.heard] == [VOICE]

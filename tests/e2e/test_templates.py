"""Templates through a real process and a simulated Meta: read at the start, kept new by webhooks, asked before each
message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import WABA_ID, definition
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.daemons import Running, running
from tests.support.until import until

SECRET: Final = "meta-app-secret-0123456789"
TOKEN: Final = "e2e-admin-token-0123456789"
HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
FILE: Final = "https://cdn.example.test/files?id=7"


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox(app_secret=SECRET) as sandbox:
        yield sandbox


async def send(here: Running, **variables: str) -> tuple[int, str]:
    template = {"name": "parcel_ready", "language": "en_US", "variables": variables}
    body = {"to": "+972505550142", "template": template}
    async with here.session.post(f"{here.url}/api/v1/messages", json=body, headers=HEADERS) as answer:
        told = await answer.json(content_type=None)
        return answer.status, told.get("detail", "")


async def status_of(db: Pool, wanted: str) -> bool:
    return bool(await db.fetchval("SELECT status FROM templates") == wanted)


async def test_a_template_is_known_from_the_start_and_a_webhook_keeps_it_so(
    tmp_path: Path, stores: dict[str, str], meta: MetaSandbox, db: Pool
) -> None:
    row = definition(body="For {{1}}", header="DOCUMENT", category="MARKETING")
    meta.switches.templates = [row]
    settings: dict[str, Any] = stores | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "META_WABA_ID": WABA_ID,
        "META_ACCESS_TOKEN": meta.token,
        "META_APP_SECRET": SECRET,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
    }
    async with running(tmp_path, **settings) as here:
        meta.callback_url = here.url
        await until(partial(status_of, db, "APPROVED"), "the list that is read at the start")
        status, why = await send(here, **{"1": "Noa"})
        assert (status, "shows a document" in why) == (422, True)
        await meta.tell_of("message_template_status_update", row, event="PAUSED", reason="NONE")
        await until(partial(status_of, db, "PAUSED"), "the pause")
        status, why = await send(here, **{"1": "Noa", "header": FILE})
        assert (status, "paused" in why) == (422, True)
        await meta.tell_of("message_template_status_update", row, event="APPROVED")
        await until(partial(status_of, db, "APPROVED"), "the end of the pause")
        assert await send(here, **{"1": "Noa", "header": FILE, "header_filename": "visa.pdf"}) == (202, "")
        await until(lambda: db.fetchval("SELECT true FROM messages WHERE status = 'delivered'"), "the message")
    assert meta.sent[0].body["template"]["components"] == [
        {
            "type": "header",
            "parameters": [{"type": "document", "document": {"link": FILE, "filename": "visa.pdf"}}],
        },
        {"type": "body", "parameters": [{"type": "text", "text": "Noa"}]},
    ]
    assert await db.fetchval("SELECT category FROM messages") == "marketing"

"""`ferryman send-test` against a real daemon: code 0 only when the test ended as it should, and each step is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.fernet import Fernet

from adapters.postgres.pool import Pool
from adapters.vizi.source import SOURCE
from daemon.bus.worker import utc_now
from daemon.sandbox.cgb import CgbSandbox
from tests.support.daemons import API_KEY, ROOT, Running, environment, ferryman, free_port, running
from tests.support.until import until

SECRET: Final = "whsec_" + "c2FtcGxlLXNlY3JldC1vZi10aGUtcGFnZSE="


class Sender:
    """Runs `send-test` for a source with the settings of a daemon."""

    def __init__(
        self, cwd: Path, settings: dict[str, Any], here: Running | None = None, source: str = "orders"
    ) -> None:
        self.cwd, self.settings, self.source = cwd, settings, source
        self.port = free_port() if here is None else here.url.rpartition(":")[2]

    async def run(self, *argv: str, **changed: object) -> tuple[int, str]:
        env = environment(**{"ORDERS_API_KEY": API_KEY, "FERRYMAN_PORT": self.port} | self.settings | changed)
        code, out, err = await ferryman("send-test", self.source, *argv, cwd=self.cwd, env=env)
        return code, out + err


async def test_a_test_order_is_posted_and_followed_to_its_end_in_every_worker(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    async with running(tmp_path, **settings) as here:
        sender = Sender(tmp_path, settings, here)
        code, said = await sender.run()
        assert code == 0, said
        (order_id,) = re.findall(r"posting the test order (\S+-TEST) to", said)
        (event_id,) = re.findall(r"answer 202, event (\S+)", said)
        assert "journal: done" in said
        assert "contact-sync: skipped (test order)" in said
        assert (
            await db.fetchval("SELECT data::json #>> '{order,id}' FROM event_journal WHERE id = $1", event_id)
            == order_id
        )
        code, planned = await sender.run("--dry-run")
        assert (code, "would post" in planned) == (0, True)
        code, again = await sender.run("--url", here.url)
        assert code == 0, again
        assert order_id not in again, "each test is a new order"
        code, said = await sender.run("--url", f"{here.url}{SOURCE.path}")
        assert code == 0, said
    assert await db.fetchval("SELECT count(*) FROM orders") == 0
    assert await db.fetchval("SELECT count(*) FROM event_journal") == 3
    assert cgb.ledger.contacts_made() == []


async def test_a_test_report_is_posted_and_followed_to_its_end_in_every_worker(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    async with running(tmp_path, **settings) as here:
        code, said = await Sender(tmp_path, settings, here, "issues").run()
        assert code == 0, said
        assert re.search(r"posting the test webhook applicant:apl_\S+-TEST to \S+/webhooks/issues", said)
        assert "applicant-issues: skipped (test report)" in said
        assert "contact-sync" not in said
    assert await db.fetchval("SELECT count(*) FROM applicant_issues") == 0
    assert await db.fetchval("SELECT count(*) FROM event_journal") == 1


@pytest.mark.parametrize(
    ("source", "name", "key"),
    [
        ("cgb", "CGB_WEBHOOK_SECRET", r"cgb:\d+-TEST"),
        ("whapi", "WHAPI_WEBHOOK_SECRET", r"chat:\d+-TEST@s\.whatsapp\.net"),
        ("meta", "META_APP_SECRET", r"message:wamid\.\d+-TEST"),
        ("360dialog", "DIALOG360_WEBHOOK_SECRET", r"message:wamid\.\d+-TEST"),
    ],
)
async def test_a_test_message_is_posted_and_followed_to_its_end_in_every_worker(
    tmp_path: Path, settings: dict[str, Any], db: Pool, source: str, name: str, key: str
) -> None:
    secret = {name: "whisper-0d41-0d41"}
    async with running(tmp_path, **settings | secret) as here:
        sender = Sender(tmp_path, settings | secret, here, source)
        code, said = await sender.run()
        assert code == 0, said
        assert re.search(rf"posting the test webhook {key} to \S+/webhooks/{source}", said)
        assert "whatsapp-validation: skipped (tells nothing)" in said
        code, said = await sender.run(**{name: ""})
        assert (code, f"set {name}" in said) == (1, True)
    assert await db.fetchval("SELECT count(*) FROM event_journal") == 1


async def test_a_test_of_twilio_is_signed_for_the_public_address_and_followed_to_its_end(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    account = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "tok_ferry_0001"}
    public = {"FERRYMAN_PUBLIC_URL": "https://ferryman.example"}
    async with running(tmp_path, **settings | account | public) as here:
        sender = Sender(tmp_path, settings | account, here, "twilio")
        code, said = await sender.run(**public)
        assert code == 0, said
        assert "answer 204, which names no event" in said
        assert "whatsapp-validation: skipped (tells nothing)" in said
        code, said = await sender.run(FERRYMAN_PUBLIC_URL="https://other.example")
        assert (code, "answer 401: the sender could not be verified" in said) == (1, True)
        code, said = await sender.run()
        assert (code, "set FERRYMAN_PUBLIC_URL" in said) == (1, True)
    assert await db.fetchval("SELECT count(*) FROM event_journal") == 1


async def test_a_test_order_is_signed_where_the_settings_have_a_secret_and_no_key(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    signed = {"ORDERS_API_KEY": "", "ORDERS_WEBHOOK_SECRET": SECRET}
    async with running(tmp_path, **settings | signed) as here:
        sender = Sender(tmp_path, settings, here)
        code, said = await sender.run(**signed)
        assert code == 0, said
        code, said = await sender.run(ORDERS_API_KEY="", ORDERS_WEBHOOK_SECRET=SECRET.replace("c2", "d2"))
        assert code == 1
        assert "answer 401" in said


async def test_a_test_that_does_not_end_as_it_should_says_what_is_missing(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    async with running(tmp_path, **settings, FERRYMAN_WORKERS="journal") as here:
        sender = Sender(tmp_path, settings, here)
        code, said = await sender.run("--timeout", "2")
        assert code == 1
        assert "journal: done" in said
        assert "contact-sync: open after 2 s" in said
        assert "as it should" not in said
        code, said = await sender.run("--timeout", "1", CGB_API_KEY="")
        assert "CGB_API_KEY is not set" in said
        code, said = await sender.run(ORDERS_API_KEY="wrong" * 5)
        assert (code, "answer 401" in said) == (1, True)
        code, said = await sender.run(ORDERS_API_KEY="")
        assert (code, "set ORDERS_API_KEY or ORDERS_WEBHOOK_SECRET" in said) == (1, True)
        await until(lambda: refused(db), "the refusal")


async def refused(db: Pool) -> bool:
    return bool(await db.fetchval("SELECT count(*) FROM refused_requests WHERE status = 401"))


async def test_no_daemon_is_one_line_that_says_what_to_do(tmp_path: Path, settings: dict[str, Any], db: Pool) -> None:
    sender = Sender(tmp_path, settings)
    code, said = await sender.run()
    assert code == 1
    assert "no answer from" in said
    assert "ferryman doctor" in said
    code, said = await sender.run(FERRYMAN_PORT=0)
    assert (code, "--url" in said) == (2, True)
    assert (await sender.run("--url", "127.0.0.1:8080"))[0] == 2


def test_the_test_order_is_the_sample_of_the_page_under_a_new_id() -> None:
    page = json.loads((ROOT / "deploy" / "order.json").read_bytes())
    sent = [json.loads(SOURCE.sample({}, utc_now()).body) for _ in range(2) if SOURCE.sample is not None]
    ids = {one["order"].pop("id") for one in sent}
    page["order"].pop("id")
    assert sent == [page, page]
    assert len(ids) == 2
    assert all(id.endswith("-TEST") for id in ids)


@pytest.mark.parametrize("proofs", [{"orders_api_key": [API_KEY]}, {"orders_webhook_secret": [SECRET]}])
def test_the_proof_of_a_test_is_one_that_the_source_takes(proofs: dict[str, list[str]]) -> None:
    assert SOURCE.sample is not None
    assert SOURCE.verify(SOURCE.sample(proofs, utc_now()), proofs)


async def test_a_test_is_signed_with_the_secret_that_a_setup_has_stored(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    """Promise: what `chatwoot setup` stores is enough, and shows so."""
    key = {"FERRYMAN_SECRET_KEY": Fernet.generate_key().decode()}
    given = tmp_path / "webhook.json"
    given.write_text('{"webhook_secret": "whisper-0d41-0d41-0d41"}')
    env = environment(**settings | key)
    code, out, err = await ferryman(
        "credentials", "set", "chatwoot", "--account", "webhook", "--from", str(given), cwd=tmp_path, env=env
    )
    assert code == 0, out + err
    async with running(tmp_path, **settings | key) as here:
        sender = Sender(tmp_path, settings | key, here, "chatwoot")
        code, said = await sender.run()
        assert code == 0, said
        assert "conversation-archive: skipped (test contact)" in said

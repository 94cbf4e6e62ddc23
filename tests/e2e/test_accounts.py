"""Several accounts through a real process: stored while it runs, each with its own outages, no secret said."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.fernet import Fernet

from adapters.postgres.pool import Pool
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.twilio import TwilioSandbox
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.until import until

TOKEN: Final = "e2e-admin-token-0123456789"
APP_SECRET: Final = "meta-app-secret-0123456789"
OTHER: Final = "other-canary-token-0123456789"
TEMPLATE: Final = {"name": "order_confirmation", "language": "he", "variables": {"1": "Noa"}}
WITHIN_S: Final = 5.0


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox(app_secret=APP_SECRET) as sandbox:
        yield sandbox


@pytest.fixture
async def other() -> AsyncIterator[MetaSandbox]:
    """Another number, of another app."""
    async with MetaSandbox(token=OTHER, number_id="2060002", app_secret=f"{APP_SECRET}-2") as sandbox:
        yield sandbox


@pytest.fixture
def sending(stores: dict[str, str], meta: MetaSandbox) -> dict[str, Any]:
    """Settings of a process that sends by `meta`, and that no secret of a webhook is set for."""
    return stores | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": meta.number_id,
        "META_ACCESS_TOKEN": meta.token,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
        "FERRYMAN_LEASE_SECONDS": 2,
        "FERRYMAN_SECRET_KEY": Fernet.generate_key().decode(),
    }


class Api:
    """The API of a process."""

    def __init__(self, here: Running) -> None:
        self._here = here

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self._here.url}/api/{path}"
        async with self._here.session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def store(self, account: str, other: MetaSandbox, **changed: str) -> int:
        secret = other.account() | {"app_secret": f"{APP_SECRET}-2"} | changed
        status, _ = await self.ask("POST", "v1/credentials", {"provider": "meta", "account": account, "secret": secret})
        return status

    async def send(self, n: int, account: str = "default") -> str:
        body = {"to": f"+97250555{n:04d}", "template": TEMPLATE, "account": account}
        status, document = await self.ask("POST", "v1/messages", body)
        assert status == 202, document
        return str(document["message_id"])

    async def status(self, id: str) -> str:
        _, document = await self.ask("GET", f"v1/messages/{id}")
        return str(document["status"])

    async def reaches(self, id: str, *wanted: str) -> None:
        async def there() -> bool:
            return await self.status(id) in wanted

        await until(there, f"a message that is {' or '.join(wanted)}")


async def breaker_is_open(here: Running) -> bool:
    """Whether the page of metrics says so, by the provider's name and not by the account's."""
    async with here.session.get(f"{here.health_url}/metrics") as page:
        text = await page.text()
    assert "meta/" not in text
    return 'ferryman_breaker_open{provider="meta"} 1' in text


async def test_an_account_that_is_down_stops_its_own_messages_until_its_token_is_stored_anew(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, other: MetaSandbox, db: Pool
) -> None:
    async with running(tmp_path, **sending) as here:
        api = Api(here)
        meta.callback_url = other.callback_url = here.url
        assert (
            await api.store("second", other, access_token="wrong-canary-0123456789", app_secret=f"{APP_SECRET}-2")
            == 201
        )
        waiting = [await api.send(n, "second") for n in range(3)]
        await until(lambda: other.ledger.entries, "a call of the second account")
        sent = [await api.send(n) for n in range(10, 13)]
        for id in sent:
            await api.reaches(id, "sent", "delivered")
        assert {await api.status(id) for id in waiting} == {"queued"}

        async def told() -> bool:
            """It takes a moment: each process reports its state from time to time."""
            _, out, _ = await ferryman("status", cwd=tmp_path, env=environment(**sending))
            return "meta/second refuses our account or key (meta-190)" in out

        await until(told, "a status that tells of the refused key")
        await until(lambda: breaker_is_open(here), "the measure of the breaker")
        began = time.monotonic()
        assert await api.store("second", other) == 200
        await until(lambda: len(other.sent) == len(waiting), "the messages that waited")
        assert time.monotonic() - began < WITHIN_S
        for id in waiting:
            await api.reaches(id, "delivered")  # its app's secret is stored: META_APP_SECRET is not set
        assert other.sends() == dict.fromkeys(waiting, 1)
        assert meta.sends() == dict.fromkeys(sent, 1)
        assert (await api.ask("DELETE", "v1/credentials/meta/second"))[0] == 200
        status, document = await api.ask(
            "POST", "v1/messages", {"to": "+972505550142", "text": "a", "account": "second"}
        )
        assert (status, "of meta there are: default" in document["detail"]) == (422, True)
    assert not [line for line in here.lines if "canary" in line or APP_SECRET in line]


async def test_verbs_store_list_rotate_and_delete_and_echo_nothing(
    tmp_path: Path, sending: dict[str, Any], db: Pool
) -> None:
    env = environment(**sending)

    async def run(*argv: str, **changed: str) -> tuple[int, str]:
        code, out, err = await ferryman("credentials", *argv, cwd=tmp_path, env=env | changed)
        assert "canary" not in out + err
        return code, out + err

    (tmp_path / "seed").write_text("AC0123456789abcdef0123456789abcdef:canary-auth-01:+15550001234:twilio\n")
    (tmp_path / "fields").write_text('\ufeff{"access_token": "EAAcanary0123456789", "phone_number_id": "1"}\n')
    (tmp_path / "wrong").write_text('{"access_token": "EAAcanary0123456789", "canary0123456789canary01": 1}')
    code, said = await run("set", "twilio", "--from", "seed", "--dry-run")
    assert (code, "account_sid, auth_token, whatsapp_number" in said) == (0, True)
    assert await db.fetchval("SELECT count(*) FROM credentials") == 0
    code, said = await run("set", "twilio", "--from", "seed")
    assert (code, "twilio/default is stored: account_sid ***cdef" in said) == (0, True), said
    code, said = await run("set", "meta", "--account", "second", "--from", "fields")
    assert (code, "meta/second is stored: access_token ***6789, phone_number_id ***" in said) == (0, True), said
    for argv in (["meta", "--from", "wrong"], ["whapi", "--from", "seed"], ["whapi"], ["whapi", "--from", "nowhere"]):
        code, said = await run("set", *argv)
        assert (code, said.count("\n")) == (2, 1), said
    code, said = await run("list")
    assert code == 0
    assert "2 stored" in said
    assert "by the settings" in said
    keys = f"{Fernet.generate_key().decode()},{sending['FERRYMAN_SECRET_KEY']}"
    code, said = await run("rotate", FERRYMAN_SECRET_KEY=keys)
    assert code == 0, said
    assert "2 accounts are encrypted anew, by the first key: meta/second, twilio/default" in said
    code, said = await run("rotate")
    assert (code, "no key decrypts meta/second, twilio/default" in said) == (1, True), said
    code, said = await run("delete", "meta", "--account", "second")
    assert (code, "--yes" in said) == (1, True), said
    code, said = await run("delete", "meta", "--account", "second", "--yes")
    assert (code, "meta/second is deleted" in said) == (0, True), said
    assert (await run("delete", "meta", "--account", "second", "--yes"))[0] == 1
    actors = await db.fetch("SELECT DISTINCT action FROM audit_log WHERE subject LIKE 'credentials:%'")
    assert {row["action"] for row in actors} == {f"credentials.{what}" for what in ("stored", "rotated", "deleted")}


async def test_a_webhook_is_served_as_soon_as_its_account_is_stored(
    tmp_path: Path, sending: dict[str, Any], db: Pool
) -> None:
    async with TwilioSandbox() as twilio:
        settings = sending | {"FERRYMAN_PUBLIC_URL": "https://ferryman.example", "TWILIO_API_URL": twilio.url}
        async with running(tmp_path, **settings) as here:
            api = Api(here)
            async with here.session.post(f"{here.url}/webhooks/twilio", data={"a": "b"}) as answer:
                assert answer.status == 404
            account = twilio.account
            token = f"{account['account_sid']}:{account['auth_token']}:{account['whatsapp_number']}:twilio"
            status, document = await api.ask("POST", "token", {"token": token})
            assert (status, document["success"]) == (200, True)

            async def served() -> bool:
                async with here.session.post(f"{here.url}/webhooks/twilio", data={"a": "b"}) as answer:
                    return answer.status == 401

            await until(served, "the webhook of the stored account")
            body = {"to": "+972505550142", "provider": "twilio", "template": {"name": "HX" + "0" * 32}}
            status, document = await api.ask("POST", "v1/messages", body)
            assert status == 202, document
            await until(lambda: twilio.made, "the message by Twilio")
            await api.reaches(document["message_id"], "sent")
            code, out, _ = await ferryman("status", cwd=tmp_path, env=environment(**settings))
            assert (code, "messages by twilio go by the stored account default" in out) == (0, True), out

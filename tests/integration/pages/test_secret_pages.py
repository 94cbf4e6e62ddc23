"""Pages of what has a secret: tokens, credentials, subscribers. A secret is shown once, to who makes it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.settings.model import Settings
from tests.support.browsers import Browser, Office, opened_office
from tests.support.subscribers import Receiver, event_of, settings_for, tell
from tests.support.until import until

KEY = Fernet.generate_key().decode()
VALUE = "very-secret-token-4711"
HOSTILE = "<b>shop</b>"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    more = {"ferryman_secret_key": (SecretStr(KEY),), "cgb_api_key": SecretStr("c" * 20)}
    return settings.model_copy(update=more)


@pytest.fixture
async def admin(office: Office) -> Browser:
    return await office.logged_in("admin", "Noa")


async def done(db: Pool) -> list[str]:
    rows = await db.fetch(
        "SELECT action FROM audit_log WHERE actor = 'Noa' AND action NOT LIKE 'operator.%' ORDER BY id"
    )
    return [row["action"] for row in rows]


async def test_a_token_is_made_shown_once_and_revoked(office: Office, admin: Browser) -> None:
    assert "Nothing yet. Make a token" in (await admin.get("/tokens")).text
    made = await admin.post("/tokens", {"kind": "service", "name": HOSTILE, "role": "read", "days": "30"})
    token = unescape(re.search(r'value="(fmt_[^"]+)"', made.text)[1])  # type: ignore[index]
    assert made.headers["Cache-Control"] == "no-store"
    html = (await admin.get("/tokens")).text
    assert (token in html, HOSTILE in html, HOSTILE in unescape(html)) == (False, False, True)
    id = await office.db.fetchval("SELECT id FROM tokens")
    asked = await admin.post("/tokens/revoke", {"id": id})
    assert "revoke the token of service" in asked.text
    assert await office.db.fetchval("SELECT revoked_at FROM tokens") is None
    assert (await admin.post("/tokens/revoke", {"id": id, "confirmed": "1", "upto": ""})).leads_to == "/tokens"
    assert await office.db.fetchval("SELECT revoked_by FROM tokens") == "Noa"
    assert await done(office.db) == ["token.created", "token.revoked"]
    assert (await admin.post("/tokens/revoke", {"id": "7", "confirmed": "1"})).status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "robot", "name": "x", "role": "read"},
        {"kind": "service", "name": "", "role": "read"},
        {"kind": "service", "name": "x", "role": "god"},
        {"kind": "service", "name": "x", "role": "read", "days": "soon"},
        {"kind": "edge", "name": "x", "role": "admin", "branch": "north"},
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(office: Office, admin: Browser, fields: dict[str, str]) -> None:
    assert (await admin.post("/tokens", fields)).status == 422
    assert await office.db.fetchval("SELECT count(*) FROM tokens") == 0


async def test_an_account_is_stored_masked_replaced_and_deleted(office: Office, admin: Browser) -> None:
    empty = (await admin.get("/credentials")).text
    assert ("Nothing yet. Choose a provider" in empty, "cgb: by the settings" in empty) == (True, True)
    assert 'name="secret.token"' in (await admin.get("/credentials?provider=whapi")).text
    fields = {"provider": "whapi", "account": "shop", "secret.token": VALUE, "secret.webhook_secret": ""}
    for said in ("is stored", "has taken the place of the former one"):
        assert (await admin.post("/credentials", fields)).leads_to == "/credentials"
        html = (await admin.get("/credentials")).text
        assert (f"whapi/shop {said}" in html, "***4711" in html, VALUE in html) == (True, True, False)
    gone = {"provider": "whapi", "account": "shop"}
    assert "delete the account whapi/shop" in (await admin.post("/credentials/delete", gone)).text
    assert await office.db.fetchval("SELECT count(*) FROM credentials") == 1
    await admin.post("/credentials/delete", gone | {"confirmed": "1", "upto": ""})
    assert await office.db.fetchval("SELECT count(*) FROM credentials") == 0
    assert await done(office.db) == ["credentials.stored", "credentials.replaced", "credentials.deleted"]


async def test_an_account_that_lacks_something_is_told_without_its_values(admin: Browser) -> None:
    fields = {"provider": "twilio", "account": "shop", "secret.auth_token": VALUE}
    answer = await admin.post("/credentials", fields)
    assert (answer.status, "secret.account_sid is missing" in answer.text, VALUE in answer.text) == (422, True, False)


async def test_who_may_only_look_is_offered_no_form_of_credentials(office: Office, admin: Browser) -> None:
    await admin.post("/credentials", {"provider": "whapi", "account": "shop", "secret.token": VALUE})
    html = (await (await office.logged_in("operate")).get("/credentials?provider=whapi")).text
    assert ("***4711" in html, "/credentials/delete" in html, "secret.token" in html) == (True, False, False)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened


@pytest.fixture
async def shop(redis: Redis, db: Pool, settings: Settings, receiver: Receiver) -> AsyncIterator[Office]:
    allowed = settings_for(receiver).ferryman_webhook_origins
    async with opened_office(redis, db, settings.model_copy(update={"ferryman_webhook_origins": allowed})) as office:
        yield office


async def test_a_subscriber_is_added_tried_and_removed(shop: Office, receiver: Receiver) -> None:
    admin = await shop.logged_in("admin", "Noa")
    assert "Nothing yet. A subscriber is told of events" in (await admin.get("/subscribers")).text
    fields = {"name": "shop", "url": receiver.url, "types": ["message.*", "order.*"]}
    made = await admin.post("/subscribers", fields)
    secret = unescape(re.search(r'value="(whsec_[^"]+)"', made.text)[1])  # type: ignore[index]
    assert secret not in (await admin.get("/subscribers/shop")).text
    again = await admin.post("/subscribers", fields)
    assert (again.status, "there is a subscriber shop already" in again.text) == (422, True)
    await admin.post("/subscribers/shop/test")
    await until(lambda: len(receiver.told) == 1, "a test")
    receiver.told[0].verify(secret)
    assert "It took the test" in (await admin.get("/subscribers/shop")).text
    rotated = (await admin.post("/subscribers/shop/rotate")).text
    assert "whsec_" in rotated
    assert secret not in rotated
    assert "remove shop" in (await admin.post("/subscribers/shop/remove")).text
    assert await shop.db.fetchval("SELECT count(*) FROM subscribers") == 1
    assert (await admin.post("/subscribers/shop/remove", {"confirmed": "1", "upto": ""})).leads_to == "/subscribers"
    assert (await admin.get("/subscribers/shop")).status == 404
    assert await done(shop.db) == ["webhook.added", "webhook.rotated", "webhook.removed"]


async def test_what_waits_for_a_disabled_subscriber_is_skipped_once_that_is_confirmed(
    shop: Office, receiver: Receiver
) -> None:
    admin = await shop.logged_in("admin", "Noa")
    await admin.post("/subscribers", {"name": "shop", "url": receiver.url, "types": ["message.*", "order.*"]})
    await admin.post("/subscribers/shop/disable", {"reason": HOSTILE})
    html = (await admin.get("/subscribers/shop?state=waiting")).text
    assert (HOSTILE in html, HOSTILE in unescape(html)) == (False, True)
    await tell(shop.db, [event_of(1), event_of(2)])
    assert (await admin.get("/subscribers/shop?state=waiting")).text.count('data-label="Event"') == 2
    assert "skip what waits for shop: 2" in (await admin.post("/subscribers/shop/enable", {"backlog": "skip"})).text
    await admin.post("/subscribers/shop/enable", {"backlog": "skip", "confirmed": "2", "upto": ""})
    assert (await admin.get("/subscribers/shop?state=skipped")).text.count('data-label="Event"') == 2


async def test_failed_deliveries_go_out_again_once_that_is_confirmed(shop: Office, receiver: Receiver) -> None:
    admin = await shop.logged_in("admin", "Noa")
    await admin.post("/subscribers", {"name": "shop", "url": receiver.url, "types": ["message.*", "order.*"]})
    await tell(shop.db, [event_of(1), event_of(2), event_of(3)])
    await shop.db.execute(
        "UPDATE webhook_deliveries SET state = 'failed', error = 'http-500', attempts = 10, ended_at = now(),"
        " answer = $1",
        HOSTILE,
    )
    html = (await admin.get("/subscribers/shop")).text
    assert ("http-500" in html, HOSTILE in html, html.count('name="id"')) == (True, False, 3)
    asked = (await admin.post("/subscribers/shop/retry", {"error": "http-500"})).text
    assert "send failed deliveries to shop again: 3" in asked
    upto = re.search(r'name="upto" value="(\d+)"', asked)[1]  # type: ignore[index]
    fields = {"error": "http-500", "confirmed": "3", "upto": upto}
    assert (await admin.post("/subscribers/shop/retry", fields)).leads_to == "/subscribers/shop"
    assert "3 wait to go out." in (await admin.get("/subscribers/shop")).text
    assert await shop.db.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'") == 3
    assert (await admin.post("/subscribers/shop/retry", {"id": "x"})).status == 400
    assert (await admin.get("/subscribers/shop?state=lost")).status == 400

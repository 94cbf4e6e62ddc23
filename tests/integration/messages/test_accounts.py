"""Several accounts of a provider, on real stores against the simulators: each by its own token and number, and each
with its own outages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs

from adapters.channel import Channels
from adapters.postgres.pool import Pool
from adapters.redis.limits import RateLimiter
from daemon.accounts import META, SCOPES, TWILIO
from daemon.bus.worker import Outside, utc_now
from daemon.messages.wiring import MESSAGES, MessageDeps
from daemon.operator import credentials as operating
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.twilio import ACCOUNT_SID, TwilioSandbox
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.credentials import Credentials
from schemas.credentials import DEFAULT
from schemas.errors import ChannelClosed, ChannelDown, Refused, Transient
from schemas.messages import Text
from tests.support.bus import make_metrics
from tests.support.sending import Claims, message

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
OTHER: Final = "other-token-0123456789"
SECOND: Final = "second"
NUMBER: Final = "+15550001234"
HELLO: Final = message(Text("hello"))


class World:
    """Two numbers of Meta: that of the settings, and another one, *second*, which is stored by some tests."""

    def __init__(
        self, db: Pool, redis: Redis, session: ClientSession, first: MetaSandbox, second: MetaSandbox, keys: list[str]
    ) -> None:
        self.db, self.first, self.second, self.keys = db, first, second, keys
        self.settings = Settings(
            database_url=SecretStr("postgresql://db.example/f"),
            ferryman_secret_key=tuple(map(SecretStr, keys)),
            meta_graph_url=first.url,
            meta_phone_number_id=first.number_id,
            meta_access_token=SecretStr(first.token),
            whapi_token=SecretStr("whapi-token-of-the-settings"),
            chatwoot_base_url="https://chat.example.test",
        )
        self.credentials = Credentials(db, lambda: self.keys)
        self.in_force = InForce(self.settings, self.credentials)
        self.outside = Outside(
            settings=self.settings,
            secret=self.in_force.secret,
            pool=db,
            redis=redis,
            session=session,
            channels=Channels(),
            metrics=make_metrics(),
            now=utc_now,
            credentials=self.credentials,
        )
        self.deps: MessageDeps

    async def store(self, account: str, provider: str = META, **values: Any) -> None:
        one = operating.given(provider, account, values or self.second.account())
        await operating.store(self.db, self.settings, one, "tests")

    async def send(self, account: str, provider: str = META) -> None:
        sender = self.deps.senders.get((provider, account))
        assert sender is not None
        await sender.send(HELLO, Claims(self.first.ledger))


@pytest.fixture
async def world(db: Pool, redis: Redis) -> AsyncIterator[World]:
    async with (
        MetaSandbox() as first,
        MetaSandbox(token=OTHER, number_id="2060002") as second,
        ClientSession() as session,
    ):
        made = World(db, redis, session, first, second, [NEW])
        async with MESSAGES.opened(made.outside) as deps:
            made.deps = deps
            yield made


async def test_each_account_sends_by_its_own_token_and_number(world: World) -> None:
    await world.store(SECOND)
    await world.send(DEFAULT)
    await world.send(SECOND)
    assert [entry.path for entry in world.first.ledger.entries] == [f"/v23.0/{world.first.number_id}/messages"]
    assert [entry.path for entry in world.second.ledger.entries] == ["/v23.0/2060002/messages"]
    assert (len(world.first.sent), len(world.second.sent)) == (1, 1)


async def test_a_stored_account_default_goes_before_that_of_the_settings(world: World) -> None:
    await world.store(DEFAULT)
    await world.send(DEFAULT)
    assert (len(world.first.sent), len(world.second.sent)) == (0, 1)
    await operating.delete(world.db, META, DEFAULT, "tests")
    await world.credentials.load()
    await world.send(DEFAULT)
    assert (len(world.first.sent), len(world.second.sent)) == (1, 1)


async def test_an_account_of_a_provider_without_settings(world: World) -> None:
    async with TwilioSandbox() as twilio:
        with pytest.raises(Refused, match="twilio is not configured"):
            await world.send(DEFAULT, TWILIO)
        await world.store(DEFAULT, TWILIO, **twilio.account | {"whatsapp_number": NUMBER})
        await world.send(DEFAULT, TWILIO)
        (made,) = twilio.made
        assert made.form["From"] == f"whatsapp:{NUMBER}"
        assert f"/Accounts/{ACCOUNT_SID}/" in twilio.ledger.entries[0].path


async def test_an_account_that_is_not_there_any_more_is_refused(world: World) -> None:
    await world.store(SECOND)
    await world.send(SECOND)
    await operating.delete(world.db, META, SECOND, "tests")
    await world.credentials.load()
    with pytest.raises(Refused, match="meta/second is not configured"):
        await world.send(SECOND)


async def test_an_account_that_proves_webhooks_alone_sends_nothing(world: World) -> None:
    await world.store("webhook", "chatwoot", webhook_secret="s" * 24)
    with pytest.raises(Refused, match="chatwoot/webhook is not configured"):
        await world.send("webhook", "chatwoot")


async def test_an_account_that_is_down_stops_no_other_one(world: World) -> None:
    await world.store(SECOND, **world.second.account() | {"access_token": "wrong-token-0123456789"})
    with pytest.raises(ChannelDown) as down:
        await world.send(SECOND)
    assert (down.value.channel, world.outside.channels["meta/second"].closed) == ("meta/second", False)
    with pytest.raises(ChannelClosed):
        await world.send(SECOND)
    await world.send(DEFAULT)
    assert world.outside.channels[META].closed


async def test_an_account_that_is_asked_to_wait_lets_the_others_go_on(world: World, redis: Redis) -> None:
    await world.store(SECOND)
    world.second.switches.per_second = 0
    with pytest.raises(Transient) as asked:
        await world.send(SECOND)
    assert asked.value.limited
    assert await redis.exists(*await redis.keys(f"*{SCOPES[META]}:{SECOND}*"))
    await world.send(DEFAULT)
    limiter = RateLimiter(redis, per_minute=80, window_s=1.0)
    assert await limiter.take(SCOPES[META]) is None


async def test_a_changed_token_is_used_at_the_next_look(world: World) -> None:
    await world.store(SECOND)
    await world.send(SECOND)
    world.second.token = "renewed-token-0123456789"
    await world.store(SECOND)
    await world.credentials.load()
    assert world.credentials.changes() == {(META, SECOND)}
    await world.send(SECOND)
    assert len(world.second.sent) == 2
    await world.credentials.load()
    assert world.credentials.changes() == frozenset()


async def test_what_no_key_decrypts_is_said_by_its_name_and_waits_for_its_key(world: World) -> None:
    await world.store(SECOND)
    await world.store("third")
    await world.db.execute("UPDATE credentials SET secret = 'nonsense' WHERE account = 'third'")
    world.keys[:] = [OLD]
    with capture_logs() as logs, pytest.raises(ChannelDown, match="meta/second"):
        await world.send(SECOND)
    told = [(line["provider"], line["account"]) for line in logs if line["event"] == "credentials.not_usable"]
    assert sorted(told) == [(META, SECOND), (META, "third")]
    assert all(world.credentials.states.values())
    await world.send(DEFAULT)
    world.keys[:] = [OLD, NEW]
    await world.credentials.load()
    world.outside.channels["meta/second"].probe_now()
    await world.send(SECOND)
    assert [name for name, why in world.credentials.states.items() if why] == ["meta/third"]
    world.keys[:] = []
    await world.credentials.load()
    assert set(world.credentials.states.values()) == {"FERRYMAN_SECRET_KEY is not set"}


async def test_stored_secrets_prove_webhooks_and_serve_other_calls(world: World) -> None:
    assert world.in_force.secret("whapi_token") == "whapi-token-of-the-settings"
    await world.store(SECOND, **world.second.account() | {"app_secret": "app-secret-0123456789"})
    await world.store("a", TWILIO, account_sid=ACCOUNT_SID, auth_token="token-a", whatsapp_number=NUMBER)
    await world.store("b", TWILIO, account_sid=ACCOUNT_SID, auth_token="token-b", whatsapp_number=NUMBER)
    await world.store(DEFAULT, "whapi", token="whapi-token-that-is-stored", webhook_secret="whapi-webhook-secret")
    await world.credentials.load()
    assert world.in_force.secrets("meta_app_secret") == ["app-secret-0123456789"]
    assert sorted(world.in_force.secrets("twilio_auth_token")) == ["token-a", "token-b"]
    assert world.in_force.secrets("whapi_webhook_secret") == ["whapi-webhook-secret"]
    assert world.in_force.secret("whapi_token") == "whapi-token-that-is-stored"
    await world.store(DEFAULT, "whapi", token="whapi-token-of-elsewhere", url="https://whapi.example")
    await world.credentials.load()
    assert world.in_force.secret("whapi_token") == "whapi-token-of-the-settings", "no other host gets that token"

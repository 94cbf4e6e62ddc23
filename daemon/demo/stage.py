"""What runs during a demonstration: embedded servers, the simulators and the whole daemon in one process."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession
from pydantic import SecretStr

from adapters.http import open_session
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams
from daemon.app import assembled
from daemon.demo.chat import ACTS
from daemon.demo.customer import Customer, customer_of, next_run
from daemon.demo.running import run
from daemon.operator.chatwoot_webhook import EVENTS
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.sandbox.chatwoot_webhooks import PATH as CHATWOOT_PATH
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.sandbox.openai import OpenAiSandbox
from daemon.sandbox.twilio import ACCOUNT_SID, TwilioSandbox
from daemon.sandbox.twilio_webhooks import NUMBER
from daemon.sandbox.vizi import Vizi
from daemon.sandbox.whapi import WhapiSandbox
from daemon.settings.model import Settings
from daemon.stores.located import Addresses, located_stores

GAP_S: Final = 0.1
"""Between two things that a simulator tells of a message."""

OUTSIDE: Final = "https://ferryman.example"
"""How the outside reaches the daemon of the demonstration, as its settings say."""

SILENCE_S: Final = 0.2
"""After so much of it what somebody has written is understood. Real people take longer to write on."""

WROTE: Final = "+46701740621"
STOPPED: Final = "+46701740622"
SILENT: Final = "+46701740623"
NOT_THERE: Final = "+46701740624"
"""Invented people: one who writes, one who writes STOP, one who writes nothing, and one who is not on WhatsApp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulators:
    """The outside systems, simulated."""

    cgb: CgbSandbox
    meta: MetaSandbox
    twilio: TwilioSandbox
    whapi: WhapiSandbox
    chatwoot: ChatwootSandbox
    openai: OpenAiSandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Simulators):
    """What runs during a demonstration. *token*: of the API, for those who may send. *customer*: who had written once
    before the daemon began."""

    addresses: Addresses
    url: str
    token: str
    session: ClientSession
    customer: Customer
    vizi: Vizi
    pool: Pool
    bus: Streams


@asynccontextmanager
async def staged(data_dir: Path) -> AsyncIterator[Stage]:
    """Servers, simulators and daemon, until the context ends."""
    signing = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    key = f"demo.{secrets.token_hex(16)}"
    token = secrets.token_hex(16)
    async with _simulated(token) as outside, open_session() as session:
        settings = Settings(
            ferryman_data_dir=data_dir,
            ferryman_port=0,
            ferryman_public_url=OUTSIDE,
            ferryman_admin_token=SecretStr(token),
            **_accounts(outside, token),
            **_conversations(outside, token),
            orders_webhook_secret=(SecretStr(signing),),
            orders_api_key=(SecretStr(key),),
        )
        customer = customer_of(next_run(data_dir), outside.chatwoot, outside.openai)
        customer.write(ACTS[0].text)  # nobody is told: the sweep finds it
        async with (
            located_stores(settings, make=True) as addresses,
            assembled(settings, addresses) as daemon,
            run(daemon) as url,
            _looked_into(addresses, settings) as (pool, bus),
        ):
            _let_tell(url, outside, token)
            yield Stage(
                **{part.name: getattr(outside, part.name) for part in fields(outside)},
                addresses=addresses,
                url=url,
                token=token,
                session=session,
                customer=customer,
                vizi=Vizi(session, url, secret=signing, api_key=key),
                pool=pool,
                bus=bus,
            )


@asynccontextmanager
async def _simulated(secret: str) -> AsyncIterator[Simulators]:
    """The simulators. *secret*: proves what they post."""
    async with (
        CgbSandbox("live") as cgb,
        MetaSandbox(app_secret=secret) as meta,
        TwilioSandbox() as twilio,
        WhapiSandbox(callback_secret=secret) as whapi,
        ChatwootSandbox() as chatwoot,
        OpenAiSandbox() as openai,
    ):
        cgb.switches.limit = None
        chatwoot.switches.role = "administrator"  # who may make the account's labels
        yield Simulators(cgb=cgb, meta=meta, twilio=twilio, whapi=whapi, chatwoot=chatwoot, openai=openai)


@asynccontextmanager
async def _looked_into(addresses: Addresses, settings: Settings) -> AsyncIterator[tuple[Pool, Streams]]:
    """Clients of the stores, to see what becomes of everything."""
    client = streams.client(addresses.redis_url, timeout_s=2)
    try:
        async with connect(addresses.database_url, size=2) as pool:
            yield pool, Streams(client, settings.ferryman_partitions)
    finally:
        await client.aclose()


def _accounts(outside: Simulators, secret: str) -> dict[str, Any]:
    """The settings of the accounts at the simulators. *secret*: proves what they post."""
    return {
        "cgb_api_url": outside.cgb.url,
        "cgb_api_key": SecretStr(TOKEN),
        "cgb_rate_per_minute": 1_000_000,
        "cgb_timeout": 5000,
        "cgb_sync_concurrency": 20,
        "meta_graph_url": outside.meta.url,
        "meta_phone_number_id": PHONE_NUMBER_ID,
        "meta_access_token": SecretStr(outside.meta.token),
        "meta_app_secret": (SecretStr(secret),),
        "twilio_api_url": outside.twilio.url,
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token": SecretStr(outside.twilio.token),
        "twilio_whatsapp_number": NUMBER,
        "whapi_api_url": outside.whapi.url,
        "whapi_token": SecretStr(outside.whapi.token),
        "whapi_webhook_secret": (SecretStr(secret),),
        "whapi_rate_per_minute": 1_000_000,
    }


def _conversations(outside: Simulators, secret: str) -> dict[str, Any]:
    """The settings of people who write in Chatwoot: what they say is understood within a moment."""
    return {
        "chatwoot_base_url": outside.chatwoot.url,
        "chatwoot_api_access_token": SecretStr(outside.chatwoot.token),
        "chatwoot_account_id": ACCOUNT_ID,
        "chatwoot_whatsapp_inbox_id": INBOX_ID,
        "chatwoot_webhook_secret": (SecretStr(secret),),
        "openai_base_url": outside.openai.url,
        "openai_api_key": SecretStr(outside.openai.key),
        "ferryman_understand_after_seconds": SILENCE_S,
    }


def _let_tell(url: str, outside: Simulators, secret: str) -> None:
    """Let the simulators tell the daemon at *url* what people write, and what becomes of messages: late, out of order,
    twice, and of some that they have failed."""
    meta, twilio, whapi = outside.meta, outside.twilio, outside.whapi
    meta.callback_url = url
    meta.switches.gap_s = twilio.switches.delay_s = whapi.switches.delay_s = GAP_S
    meta.switches.fates = {WROTE[1:]: ("delivered", "sent", "read", "read"), NOT_THERE[1:]: [131026]}
    twilio.behind = (OUTSIDE, url)
    twilio.switches.outcomes = {SILENT: "skipped"}  # it is read, and was never told to be delivered
    whapi.messages.url = f"{url}/webhooks/whapi"
    whapi.switches.outcomes = {NOT_THERE[1:]: "failed"}
    outside.chatwoot.hooks.subscribe(url + CHATWOOT_PATH, EVENTS, secret=secret)

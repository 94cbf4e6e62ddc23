"""What runs during a demonstration: embedded servers, the simulators and the whole daemon in one process."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from adapters.http import open_session
from adapters.postgres.pool import Pool, connect
from adapters.redis import streams
from adapters.redis.streams import Streams
from daemon.app import assembled
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.sandbox.vizi import Vizi
from daemon.settings.model import Settings
from daemon.stores.located import Addresses, located_stores


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs during a demonstration."""

    addresses: Addresses
    url: str
    cgb: CgbSandbox
    vizi: Vizi
    pool: Pool
    bus: Streams


@asynccontextmanager
async def staged(data_dir: Path) -> AsyncIterator[Stage]:
    """Servers, simulator and daemon, until the context ends."""
    signing = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    key = f"demo.{secrets.token_hex(16)}"
    async with CgbSandbox("live") as cgb, open_session() as session:
        settings = Settings(
            ferryman_data_dir=data_dir,
            ferryman_port=0,
            cgb_api_url=cgb.url,
            cgb_api_key=SecretStr(TOKEN),
            cgb_rate_per_minute=1_000_000,
            cgb_timeout=5000,
            cgb_sync_concurrency=20,
            orders_webhook_secret=(SecretStr(signing),),
            orders_api_key=(SecretStr(key),),
        )
        cgb.switches.limit = None
        async with located_stores(settings, make=True) as addresses, assembled(settings, addresses) as daemon:
            stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
            running = asyncio.create_task(daemon.run(stop, port.set_result))
            try:
                await asyncio.wait({running, port}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running
                url = f"http://127.0.0.1:{port.result()}"
                vizi = Vizi(session, url, secret=signing, api_key=key)
                client = streams.client(addresses.redis_url, timeout_s=2)
                try:
                    async with connect(addresses.database_url, size=2) as pool:
                        bus = Streams(client, settings.ferryman_partitions)
                        yield Stage(addresses, url, cgb, vizi, pool, bus)
                finally:
                    await client.aclose()
            finally:
                stop.set()
                await running

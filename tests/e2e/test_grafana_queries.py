"""The queries of the first seed's dashboard, as written there, on a real Prometheus."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.daemons import digits_of, running, some_orders
from tests.support.prometheus import prometheus
from tests.support.until import until

SUCCESS_RATE: Final = "rate(cgb_sync_success[5m]) / rate(cgb_sync_total[5m]) * 100"
DURATION: Final = "histogram_quantile(0.95, cgb_sync_duration_bucket)"
AVAILABILITY: Final = "cgb_whatsapp_available / (cgb_whatsapp_available + cgb_whatsapp_unavailable) * 100"


async def test_the_seed_s_three_queries_give_the_right_figures(
    tmp_path: Path, stores: dict[str, str], db: Pool
) -> None:
    many = some_orders(10)
    async with CgbSandbox("documented") as cgb:
        cgb.switches.limit = None
        cgb.switches.no_whatsapp = [digits_of(order) for order in many[:3]]
        cgb.faults.add("slow", seconds=0.03)
        settings: dict[str, Any] = stores | {
            "CGB_API_URL": cgb.url,
            "CGB_API_KEY": TOKEN,
            "CGB_API_STYLE": "documented",
            "CGB_RATE_PER_MINUTE": 1_000_000,
        }
        async with (
            running(tmp_path, **settings) as here,
            prometheus(here.url.removeprefix("http://"), tmp_path) as server,
        ):
            for order in (*many, *(orders.missing_phone(random.Random(n), 100 + n) for n in range(2))):
                assert (await here.post(order))[0] == 202

            async def all_counted() -> bool:
                return await server.ask("cgb_sync_total") == 12.0 and await server.ask(AVAILABILITY) is not None

            await until(all_counted, "12 orders in Prometheus")

            async def figures() -> bool:
                rate = await server.ask(SUCCESS_RATE)
                return rate is not None and abs(rate - 100 * 10 / 12) < 0.01

            await until(figures, "the success rate")
            duration = await server.ask(DURATION)
            assert duration is not None
            assert 0.05 < duration < 2.5
            assert await server.ask(AVAILABILITY) == 70.0
            rows = await db.fetch("SELECT cgb_sync_status AS status, count(*) AS n FROM orders GROUP BY 1")
            assert {row["status"]: row["n"] for row in rows} == {"synced": 7, "no_whatsapp": 3, "failed": 2}

"""The queries of the first seed's dashboard, as written there, those of ours and our alerts, on a real Prometheus."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from adapters.postgres.pool import Pool
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from tests.support.alerts import FILE, RULES
from tests.support.daemons import digits_of, running, some_orders
from tests.support.dashboards.every import DASHBOARDS
from tests.support.dashboards.made import CHOSEN, document
from tests.support.dashboards.overview import OVERVIEW
from tests.support.prometheus import prometheus
from tests.support.until import until

SUCCESS_RATE: Final = "rate(cgb_sync_success[5m]) / rate(cgb_sync_total[5m]) * 100"
DURATION: Final = "histogram_quantile(0.95, cgb_sync_duration_bucket)"
AVAILABILITY: Final = "cgb_whatsapp_available / (cgb_whatsapp_available + cgb_whatsapp_unavailable) * 100"


def on_page(query: str) -> str:
    """The query as Grafana asks it, where the reader has chosen all."""
    return query.replace(CHOSEN, 'job=~".+",instance=~".+"').replace("$__rate_interval", "5m")


OURS: Final = [
    on_page(target["expr"])
    for made in map(document, DASHBOARDS)
    for panel in made["panels"]
    for target in panel.get("targets", ())
]


def panel(title: str) -> str:
    """The query of the panel *title* of the overview."""
    shown = [panel for panel in document(OVERVIEW)["panels"] if panel["title"] == title]
    query: str = shown[0]["targets"][0]["expr"]
    return on_page(query)


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
            assert abs((await server.ask(panel("Sync success rate")) or 0) - 100 * 10 / 12) < 0.01
            assert await server.ask(panel("WhatsApp availability")) == 70.0
            assert 0.05 < (await server.ask(panel("Sync duration")) or 0) < 2.5

            async def as_counted() -> bool:  # a sync is counted when it has ended, a moment before that is committed
                rows = await db.fetch("SELECT cgb_sync_status AS status, count(*) AS n FROM orders GROUP BY 1")
                return {row["status"]: row["n"] for row in rows} == {"synced": 7, "no_whatsapp": 3, "failed": 2}

            await until(as_counted, "7 orders synced, 3 without WhatsApp, 2 failed")


async def test_every_panel_has_an_answer_and_an_open_breaker_is_an_alert(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox
) -> None:
    async with (
        running(tmp_path, **settings) as here,
        prometheus(here.url.removeprefix("http://"), tmp_path, FILE) as server,
    ):
        for query in OURS:
            await server.series(query)  # fails where the server refuses it
        (info,) = await server.series("ferryman_configuration_info")
        assert (info["metric"]["cgb_sync"], info["metric"]["redis"]) == ("on", "external")

        async def states() -> dict[str, str]:
            rules = await server.rules()
            assert [rule["lastError"] for rule in rules if rule["health"] == "err"] == []
            return {rule["name"]: rule["state"] for rule in rules if rule["health"] == "ok"}

        async def all_judged() -> bool:
            return (await states()).keys() == RULES.keys()

        await until(all_judged, "a look at every rule")
        assert set((await states()).values()) == {"inactive"}
        cgb.faults.add("bad_token")
        assert (await here.post(some_orders(1)[0]))[0] == 202

        async def noticed() -> bool:
            return (await states())["FerrymanBreakerOpen"] == "pending"

        await until(noticed, "the alert of an open breaker")

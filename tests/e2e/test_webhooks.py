"""Outgoing webhooks by real processes: from an order to a receiver, through kill -9, and as an operator types it."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.postgres.pool import Pool
from daemon.operator import subscribing
from daemon.subscribers.delivering import AT_ONCE
from tests.support.daemons import ROOT, environment, ferryman, running, some_orders
from tests.support.subscribers import Receiver, saying, settings_for, states, subscribe, taken
from tests.support.until import until

KEY: Final = "cmVjZWl2ZXJzLW9mLXdlYmhvb2tzLWhhdmUta2V5cyE="


@pytest.fixture
def named(settings: dict[str, Any]) -> dict[str, Any]:
    return settings | {"FERRYMAN_SECRET_KEY": KEY}


async def all_ended(db: Pool, count: int) -> bool:
    return await states(db, "shop") == {"delivered": count}


async def test_orders_reach_a_receiver_through_kills_and_doubles_are_only_what_was_in_flight(
    tmp_path: Path, named: dict[str, Any], db: Pool
) -> None:
    async with Receiver() as receiver:
        own = named | {"FERRYMAN_WEBHOOK_ORIGINS": receiver.origin, "CGB_SYNC_ENABLED": "false"}
        env = environment(**own)
        argv = ("webhooks", "add", "shop", receiver.url, "--type", "order.received")
        async with running(tmp_path, **own) as first:
            code, out, err = await ferryman(*argv, cwd=tmp_path, env=env)
            assert code == 0, err
            secret, orders = out.strip(), some_orders(120)
            for order in orders:
                assert (await first.post(order))[0] == 202
            await until(lambda: len(receiver.told) > 20, "some are told")
            await first.stop(signal.SIGKILL)
        async with running(tmp_path, **own) as second:
            await until(lambda: len(receiver.told) > 60, "more are told")
            await second.stop(signal.SIGKILL)
        async with running(tmp_path, **own):
            await until(lambda: all_ended(db, len(orders)), "every order is told")
        counts = Counter(told.document["data"]["order_id"] for told in receiver.told)
        assert counts.keys() == {order["order"]["id"] for order in orders}, "none is lost"
        assert len(receiver.told) - len(orders) <= 2 * AT_ONCE, "doubles are what was in flight at a kill"
        assert len(set(receiver.ids)) == len(orders), "and have the same id"
        for told in receiver.told:
            told.verify(secret)
        code, out, _ = await ferryman("audit", "--json", cwd=tmp_path, env=env)
        balance = json.loads(out)["workers"]["outgoing-webhooks"]
        assert (code, balance["done"], balance["open"]) == (0, len(orders), 0)


async def test_a_subscriber_from_first_to_last_as_an_operator_types_it(
    tmp_path: Path, named: dict[str, Any], db: Pool
) -> None:
    async with Receiver(saying(500, "ouch")) as receiver:
        env = environment(**named | {"FERRYMAN_WEBHOOK_ORIGINS": receiver.origin})

        async def typed(*argv: str) -> tuple[int, str]:
            code, out, err = await ferryman("webhooks", *argv, cwd=tmp_path, env=env)
            return code, out + err

        assert await typed("list") == (0, "no subscriber yet: `ferryman webhooks add`\n")
        add = ("add", "shop", receiver.url, "--type", "message.*", "--type", "order.moved")
        assert (await typed(*add, "--dry-run"))[0] == 0
        code, said = await typed(*add)
        assert (code, said.splitlines()[0].startswith("whsec_")) == (0, True)
        for url in ("http://example.com/", "https://10.0.0.1/", "https://u:p@example.com/"):
            code, said = await typed("add", "other", url, "--type", "message.*")
            assert (code, "no webhooks go to this url" in said) == (2, True), said
        code, said = await typed("add", "other", receiver.url, "--type", "messages.*")
        assert (code, "types must be of" in said) == (2, True)
        code, said = await typed("test", "shop")
        assert (code, "http-500" in said, "ouch" in said) == (1, True, True)
        receiver.answer = taken
        assert (await typed("test", "shop"))[0] == 0
        await db.execute(
            "INSERT INTO webhook_deliveries (subscriber_id, event_id, type, key, body, state, error, last_at)"
            " SELECT id, 'e' || n, 'message.sent', '+972505550001', '{}', 'failed', 'http-500', now()"
            " FROM subscribers, generate_series(1, 3) AS n"
        )
        code, said = await typed("show", "shop")
        assert (code, "3 have failed with http-500" in said, "+97250" in said) == (0, True, False), said
        code, said = await typed("retry", "shop", "--all")
        assert (code, "add --yes" in said) == (1, True)
        assert "2 wait again" in (await typed("retry", "shop", "--delivery", "1", "--delivery", "3", "--yes"))[1]
        assert "0 events of the journal" in (await typed("replay", "shop", "--from", "1h"))[1]
        code, said = await typed("rotate", "shop", "--yes")
        assert (code, said.splitlines()[0].startswith("whsec_")) == (0, True)
        assert await typed("disable", "shop", "--reason", "it moves") == (0, "shop is disabled: its events wait\n")
        code, said = await typed("enable", "shop")
        assert (code, "--backlog" in said) == (2, True)
        assert (await typed("enable", "shop", "--backlog", "skip"))[0] == 0
        (one,) = json.loads((await typed("list", "--json"))[1])
        assert (one["state"], one["waiting"], one["failed"]) == ("active", 0, 1)
        assert (await typed("remove", "shop", "--yes"))[0] == 0
        assert (await typed("show", "shop"))[0] == 1
        rows = await db.fetch("SELECT action FROM audit_log ORDER BY id")
        assert [row["action"].partition(".")[2] for row in rows] == [
            *("added", "retried", "rotated", "disabled", "enabled", "removed"),
        ]


async def test_the_receiver_of_the_page_takes_what_is_signed_once_and_refuses_the_rest(db: Pool) -> None:
    page = (ROOT / "deploy" / "WEBHOOKS.md").read_text()
    assert len(page.splitlines()) <= 80
    (code,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
    scope: dict[str, Any] = {}
    exec(compile(code, "WEBHOOKS.md", "exec"), scope)
    app = web.Application()
    app.router.add_post("/hook", scope["receive"])
    async with TestServer(app) as server, Receiver() as forger:
        settings = settings_for(forger, ferryman_lease_seconds=10).model_copy(
            update={"ferryman_webhook_origins": (forger.origin, f"http://127.0.0.1:{server.port}")}
        )
        made = await subscribe(db, settings, "shop", f"http://127.0.0.1:{server.port}/hook")
        scope["SECRET"] = made["secret"]
        for known in (1, 2):
            assert (await subscribing.try_out(db, settings, "shop"))["status"] == 204
            assert len(scope["known"]) == known
        scope["SECRET"] = (await subscribe(db, settings, "other", forger.url))["secret"]
        assert (await subscribing.try_out(db, settings, "shop"))["status"] == 401

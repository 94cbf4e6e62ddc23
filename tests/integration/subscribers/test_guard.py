"""Where no webhook goes: private addresses in every notation, names that lead there, redirects; and what each failure
is called."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.subscribers.delivery import ANSWER_BYTES, open_deliverer, why_not
from adapters.subscribers.signing import new_secret
from adapters.webhook_ports import Answer
from tests.support.file_server import FileServer, Names, internet
from tests.support.subscribers import Receiver, saying

SECRET: Final = new_secret()


async def posted(url: str, *, own: tuple[str, ...] = (), resolver: AbstractResolver | None = None) -> Answer:
    async with open_deliverer(own=own, resolver=resolver) as deliverer:
        return await deliverer.post(url, "id", "{}", [SECRET], datetime.now(UTC))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "[fd00::1]",
        "[2002:7f00:1::]",
    ],
)
async def test_a_private_address_is_no_subscriber_and_nothing_is_dialled(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FileServer() as server:
        dialled = internet(monkeypatch, server)
        assert why_not(f"https://{host}/hook") is not None
        assert (await posted(f"https://{host}/hook")).error == "not-public"
        assert dialled == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.shop.example/",
        "ftp://hooks.shop.example/",
        "https://user:password@hooks.shop.example/",
        "https://",
        "https://hooks.shop.example/#part",
        "https://hooks.shop.example:99999/",
        "https://hooks.shop.example/\n",
        "https://hooks.shop.example/" + "x" * 2000,
        "hooks.shop.example",
    ],
)
def test_what_is_no_address_of_a_subscriber_is_refused_with_the_reason(url: str) -> None:
    why = why_not(url)
    assert why is not None
    assert "password" not in why or "signature" in why


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:192.168.0.1"]])
async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FileServer() as server:
        dialled = internet(monkeypatch, server)
        answer = await posted("https://hooks.shop.example/", resolver=Names(hooks_shop_example=[addresses]))
        assert (answer.error, answer.ours, dialled) == ("not-public", False, [])


async def test_a_name_is_looked_at_for_each_connection_so_one_that_turns_private_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(hooks_shop_example=[["93.184.216.34"], ["127.0.0.1"]])
    async with FileServer() as server, open_deliverer(resolver=names) as deliverer:
        dialled = internet(monkeypatch, server)
        for error in ("tls", "not-public"):  # the server here speaks no TLS
            answer = await deliverer.post("https://hooks.shop.example/", "id", "{}", [SECRET], datetime.now(UTC))
            assert answer.error in (error, "connection-broke" if error == "tls" else error)
        assert dialled == ["93.184.216.34"], "the address that was checked is the one that is dialled"


async def test_an_own_origin_may_be_private_and_no_other_of_the_same_host() -> None:
    async with Receiver() as receiver, Receiver() as other:
        assert (await posted(receiver.url, own=(receiver.origin,))).delivered
        assert (await posted(other.url, own=(receiver.origin,))).error == "not-public"
        assert other.told == []


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with Receiver() as private, Receiver(saying(307, Location=private.url)) as receiver:
        answer = await posted(receiver.url, own=(receiver.origin, private.origin))
        assert (answer.status, answer.error) == (307, "http-307")
        assert private.told == []


class _Failing(AbstractResolver):
    def __init__(self, number: int) -> None:
        self.number = number

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        raise socket.gaierror(self.number, "no")

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("number", "error", "ours"), [(socket.EAI_AGAIN, "no-resolver", True), (socket.EAI_NONAME, "no-name", False)]
)
async def test_a_resolver_that_cannot_say_is_a_fault_of_ours(number: int, error: str, ours: bool) -> None:
    answer = await posted("https://hooks.shop.example/", resolver=_Failing(number))
    assert (answer.error, answer.ours, answer.status) == (error, ours, None)


async def test_nobody_there_is_no_connection_and_the_answer_is_kept_to_a_kilobyte() -> None:
    async with Receiver() as receiver:
        pass
    assert (await posted(receiver.url, own=(receiver.origin,))).error == "no-connection"

    async with Receiver(saying(500, "ouch\u202e\x07 " + "x" * 5000)) as receiver:
        answer = await posted(receiver.url, own=(receiver.origin,))
        assert (answer.error, len(answer.body) <= ANSWER_BYTES) == ("http-500", True)
        assert answer.body.startswith("ouch x")


async def test_what_a_receiver_says_of_waiting_and_of_giving_up_is_heard_where_it_fails() -> None:
    async with Receiver(saying(503, Retry_After="30", webhook_delivery="Abort-Message")) as receiver:
        answer = await posted(receiver.url, own=(receiver.origin,))
        assert (answer.retry_after_s, answer.aborts) == (30.0, True)
    async with Receiver(saying(200, webhook_delivery="abort-message")) as receiver:
        assert not (await posted(receiver.url, own=(receiver.origin,))).aborts


async def test_a_body_that_never_ends_does_not_undo_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.subscribers.delivery.BODY_S", 0.1)

    async def answering(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=200)
        await answer.prepare(request)
        await answer.write(b"thanks")
        await asyncio.Event().wait()
        return answer

    app = web.Application()
    app.router.add_post("/hook", answering)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        answer = await posted(f"{origin}/hook", own=(origin,))
        assert (answer.delivered, answer.body) == (True, "thanks")
    finally:
        await runner.cleanup()

"""What the shared HTTP client promises without a network."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import BodyPartReader, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from adapters import permit
from adapters.http import Part, exchange, open_session, retry_after
from schemas.errors import ChannelDown, Refused, TooLong, Transient, Uncertain
from tests.support.until import until

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("99999", 3600.0),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30.0),
        ("Saturday, 21-Nov-26 10:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 10:00:00 GMT", 3600.0),
        ("Sat, 21 Nov 2026 10:00:30 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("٣٠", None),
        ("３０", None),
        ("7 seconds", None),
        ("Sat, 99 Nov 2026 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_garbage_is_none(header: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": header}, NOW) == seconds


def test_no_retry_after_is_none() -> None:
    assert retry_after({}, NOW) is None


@given(st.text() | st.integers().map(str) | st.floats().map(str) | st.datetimes().map(format_datetime))
def test_retry_after_never_raises_and_never_leaves_its_bounds(header: str) -> None:
    seconds = retry_after({"Retry-After": header}, NOW)
    assert seconds is None or 0.0 <= seconds <= 3600.0


@given(st.integers(min_value=0, max_value=3600))
def test_a_date_means_the_same_as_its_seconds(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"Retry-After": date}, NOW) == retry_after({"Retry-After": str(seconds)}, NOW) == seconds


async def test_an_unreachable_host_is_transient_even_for_a_write() -> None:
    async with open_session() as session:
        with pytest.raises(Transient) as caught:
            await exchange(session, "POST", "http://127.0.0.1:1/contacts/972505550142", system="X", timeout_s=2)
    assert "972505550142" not in str(caught.value)
    assert caught.value.code == "no-connection"


async def test_an_invalid_address_is_refused() -> None:
    async with open_session() as session:
        with pytest.raises(Refused) as caught:
            await exchange(session, "GET", "not an address", system="X", timeout_s=2)
    assert caught.value.code == "no-url"


def test_an_error_without_a_code_of_its_own_has_the_name_of_its_class() -> None:
    assert (Transient("").code, ChannelDown("", channel="x").code) == ("transient", "channel-down")


async def _server(handler: object) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)  # type: ignore[arg-type]
    server = TestServer(app)
    await server.start_server()
    return server


async def test_waiting_for_a_free_connection_is_transient_for_a_write() -> None:
    release = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    server = await _server(wait)
    url = str(server.make_url("/"))
    try:
        async with open_session(per_host=1) as session:
            first = asyncio.create_task(exchange(session, "GET", url, system="X", timeout_s=20))
            await until(lambda: server.handler is not None and bool(server.handler.connections))
            with pytest.raises(Transient):
                await exchange(session, "POST", url, system="X", timeout_s=0.2)
            release.set()
            assert (await first).status == 200
    finally:
        await server.close()


async def test_as_many_calls_as_the_lanes_make_are_under_way_at_once() -> None:
    release, most = asyncio.Event(), 140
    under_way: list[web.Request] = []

    async def wait(request: web.Request) -> web.Response:
        under_way.append(request)
        await release.wait()
        return web.Response()

    server = await _server(wait)
    url = str(server.make_url("/"))
    try:
        async with open_session(per_host=most) as session:
            calls = [asyncio.create_task(exchange(session, "GET", url, system="X", timeout_s=20)) for _ in range(most)]
            await until(lambda: len(under_way) == most)
            release.set()
            assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    finally:
        await server.close()


async def test_the_permit_is_asked_once_there_is_a_connection_and_then_nothing_is_sent() -> None:
    """Promise: the last check before a request goes out, whatever it waited for, is whether it still may go out."""
    asked: list[str] = []
    release, closed = asyncio.Event(), False

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/first":
            await release.wait()
        return web.Response()

    class Over(Exception):
        pass

    def check() -> None:
        if closed:
            raise Over

    server = await _server(answer)
    try:
        async with open_session(per_host=1) as session:

            async def send(path: str) -> int:
                permit.current.set(permit.Permit(check))
                return (await exchange(session, "POST", str(server.make_url(path)), system="X", timeout_s=20)).status

            first = asyncio.create_task(send("/first"))
            await until(lambda: asked)
            second = asyncio.create_task(send("/second"))  # waits for the only connection
            await asyncio.sleep(0)
            closed = True
            release.set()
            assert await first == 200
            with pytest.raises(Over):
                await second
            closed = False
            assert await asyncio.create_task(send("/third")) == 200
    finally:
        await server.close()
    assert asked == ["/first", "/third"]


@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_that_is_too_long_is_cut_off_and_is_an_error_of_its_own(known: bool) -> None:
    """Promise: nothing says that the connection broke; and a write that was answered so may have happened."""

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "10000000000"} if known else {})
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    server = await _server(endless)
    try:
        async with open_session() as session:
            for method, error in (("GET", TooLong), ("POST", Uncertain)):
                with pytest.raises(error, match="longer than we read") as caught:
                    await exchange(session, method, str(server.make_url("/")), system="X", timeout_s=20)
                assert type(caught.value) is error
                assert (caught.value.code, caught.value.answered) == ("too-long", True)
    finally:
        await server.close()


async def test_redirects_are_answers_and_not_followed() -> None:
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    server = await _server(redirect)
    try:
        async with open_session() as session:
            reply = await exchange(session, "GET", str(server.make_url("/here")), system="X", timeout_s=5)
    finally:
        await server.close()
    assert (reply.status, asked) == (302, ["/here"])


async def test_cookies_are_not_kept() -> None:
    seen: list[str | None] = []

    async def cookie(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b; Path=/"})

    server = await _server(cookie)
    try:
        async with open_session() as session:
            for _ in range(2):
                await exchange(session, "GET", str(server.make_url("/")), system="X", timeout_s=5)
    finally:
        await server.close()
    assert seen == [None, None]


async def test_a_multipart_form_has_its_values_and_its_files() -> None:
    seen: list[tuple[str | None, str | None, str, bytes]] = []

    async def upload(request: web.Request) -> web.Response:
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            content_type = part.headers["Content-Type"].partition(";")[0]
            seen.append((part.name, part.filename, content_type, bytes(await part.read())))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", upload)
    parts = [Part("title", "שלום"), Part("file", b"\x89PNG\r\n", 'תמונה "b"\r\n.png', "image/png")]
    async with TestServer(app) as server, open_session() as session:
        url = str(server.make_url("/"))
        reply = await exchange(session, "POST", url, system="other", timeout_s=5, parts=parts)
    assert reply.status == 200
    assert seen == [
        ("title", None, "text/plain", "שלום".encode()),
        ("file", 'תמונה "b" .png', "image/png", b"\x89PNG\r\n"),
    ]

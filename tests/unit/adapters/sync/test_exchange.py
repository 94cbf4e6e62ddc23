"""What an answer means: only JSON in the shape of the protocol is the server's, and no failure costs an operation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiohttp import web

from adapters.http import open_session
from adapters.records_client import RecordsClient
from adapters.sync.exchange import Forked, Offline, Unauthorized, Upstream
from adapters.sync.store import Identity
from tests.support.records_server import TOKEN, RecordsServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOGIN: Final = "<html><body>Welcome to the hotel</body></html>"


def fixed(status: int, body: bytes | str, kind: str = "text/html", **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        raw = body if isinstance(body, bytes) else body.encode()
        return web.Response(status=status, body=raw, content_type=kind, headers=headers)

    return handler


async def cut(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'{"ack": "1", "resul')
    assert request.transport is not None
    request.transport.close()
    return answer


async def half(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"ack": "1", "resul', content_type="application/json")


async def hung_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    raise asyncio.CancelledError


NOT_THE_SERVER: Final[dict[str, Handler]] = {
    "a page with 200": fixed(200, LOGIN),
    "a page that says that it is JSON": fixed(200, LOGIN, "application/json"),
    "a redirect": fixed(302, "", Location="http://login.example/"),
    "another JSON": fixed(200, b'{"hello": 1}', "application/json"),
    "a list": fixed(200, b"[]", "application/json"),
    "half a document": half,
    "a body that was cut off": cut,
    "a hang-up": hung_up,
    "401 with a page": fixed(401, LOGIN),
    "403 with a page": fixed(403, LOGIN),
    "404": fixed(404, "", "text/plain"),
    "408": fixed(408, ""),
    "409 with a page": fixed(409, LOGIN),
    "410 with a page": fixed(410, LOGIN),
    "422 with other JSON": fixed(422, b'{"detail": "x"}', "application/json"),
    "429": fixed(429, ""),
    "500": fixed(500, "Internal Server Error"),
    "502 with a page": fixed(502, LOGIN),
    "503": fixed(503, ""),
    "511": fixed(511, LOGIN),
    "changes that are none": fixed(
        200, b'{"changes": [{"op": "upsert"}], "cursor": "c", "more": false, "ack": "a"}', "application/json"
    ),
    "gzip that is none": fixed(200, b"nothing", "application/json", **{"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("what", NOT_THE_SERVER)
async def test_nothing_is_lost_or_counted_while_somebody_else_answers(
    client: RecordsClient, server: RecordsServer, what: str
) -> None:
    server.write("Lead", "l0", name="Ada")
    await client.sync()
    await client.create("Lead", "l1", {"name": "Bo"})
    server.always = NOT_THE_SERVER[what]
    codes = set()
    for _ in range(4):
        error = (await client.sync()).error
        assert isinstance(error, Offline), error
        codes.add(error.code)
    (waiting,) = await client.pending()
    assert (waiting.retries, waiting.reason) == (0, None)
    status = await client.status()
    assert (status.online, {status.last_error}) == (False, codes)
    assert [one.id for one in await client.list("Lead")] == ["l0", "l1"]
    server.always = None
    assert (await client.sync()).synced == 1


async def test_a_server_that_is_not_there(tmp_path: Path, server: RecordsServer) -> None:
    async with RecordsClient(tmp_path / "x", "http://127.0.0.1:9", TOKEN) as client:
        await client.create("Lead", "l1", {})
        done = await client.sync()
    assert (str(done.error), done.failed) == ("record sync: no-connection", 0)


async def test_a_certificate_that_is_not_the_servers(tmp_path: Path, server: RecordsServer) -> None:
    # what is no TLS at all fails in the same place: a portal that answers in the clear
    async with RecordsClient(tmp_path / "x", server.url.replace("http:", "https:"), TOKEN) as client:
        await client.create("Lead", "l1", {})
        done = await client.sync()
        assert isinstance(done.error, Offline)
        assert len(await client.pending()) == 1


def told(status: int, kind: str, **members: Any) -> Handler:
    body = orjson.dumps({"type": kind, "title": "t", "status": status, "detail": "d"} | members)
    return fixed(status, body, "application/problem+json")


async def test_a_token_that_only_reads_still_fetches(client: RecordsClient, server: RecordsServer) -> None:
    server.write("Lead", "l0", name="Ada")
    await client.create("Lead", "l1", {})
    server.next_answers = [told(403, "about:blank")]
    done = await client.sync()
    assert isinstance(done.error, Unauthorized)
    assert [one.id for one in await client.list("Lead")] == ["l0", "l1"]
    assert len(await client.pending()) == 1


@pytest.mark.parametrize(("status", "kind"), [(401, "about:blank"), (403, "replica-of-another")])
async def test_a_refused_token_stops_the_round(
    client: RecordsClient, server: RecordsServer, status: int, kind: str
) -> None:
    await client.create("Lead", "l1", {})
    asked: list[str] = []

    async def counted(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await told(status, kind)(request)

    server.always = counted
    done = await client.sync()
    assert isinstance(done.error, Unauthorized)
    assert asked == ["/api/v1/sync/push"]
    assert len(await client.pending()) == 1


async def test_who_is_told_of_another_copy_for_ever_stops(client: RecordsClient, server: RecordsServer) -> None:
    await client.create("Lead", "l1", {})
    server.always = told(409, "replica-forked")
    done = await client.sync()
    assert isinstance(done.error, Forked)
    assert len(await client.pending()) == 1


async def test_a_server_is_told_to_be_busy_for_how_long(server: RecordsServer) -> None:
    server.always = fixed(503, "", **{"Retry-After": "17"})
    async with open_session() as session:
        with pytest.raises(Offline) as busy:
            await Upstream(session, server.url, TOKEN).push(Identity(replica="r", ack=None, cursor=None), ())
    assert busy.value.retry_after_s == 17


async def test_answers_to_others_are_ignored_and_those_that_miss_are_asked_for_again(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {})
    await client.create("Lead", "l2", {})

    def strange(answers: list[dict[str, Any]]) -> None:
        if not answers:
            return
        answers[0] = {"op_id": "01939c64-0000-7000-8000-000000000000", "result": "rejected", "reason": "owner"}
        answers += [{"op_id": 5}, {"op_id": "x", "result": "applied"}, {"result": "applied"}]

    server.after = strange
    done = await client.sync()
    assert (done.synced, done.again, done.error) == (1, 1, None)
    (waiting,) = await client.pending()
    assert (waiting.record_id, waiting.retries) == ("l1", 0)
    assert await client.failed() == []

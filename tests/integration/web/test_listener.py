"""The listener over real connections: 202 means durable, and a refusal says what to do, is kept, and costs nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from adapters.postgres.bus import payloads
from adapters.registry import SOURCES
from daemon.bus.batcher import Full
from daemon.bus.intake import NotAccepted
from daemon.sandbox.orders import make_order
from daemon.web import bodies
from daemon.web import server as http
from daemon.web.metrics import OUTCOMES, REASONS
from daemon.web.refusals import PER_WINDOW, WINDOW_S
from schemas.envelope import OF_ONE_THING, Event, content_digest, event_id
from tests.support.listening import (
    CANARY,
    CAP,
    KEY,
    PATH,
    PATIENCE_S,
    Answer,
    Open,
    Rig,
    check_problem,
    chunk,
    head,
    order,
    raw,
)

# accepted


async def test_an_order_is_answered_with_the_id_of_the_event_that_is_on_the_bus(rig: Rig) -> None:
    body = order(1)
    answer = await rig.post(body)
    assert (answer.status, answer.headers["Content-Type"]) == (202, "application/json")
    (event,) = await rig.events()
    assert answer.json == {"event_ids": [event.id]}
    assert event.data == body
    assert (event.type, event.source, event.time) == ("order.received", "orders", rig.clock.at)
    spelled = json.dumps(dict(reversed(json.loads(body).items())), indent=2).encode()
    assert (await rig.post(spelled)).json == answer.json
    update = (await rig.post(order(2, order_id=json.loads(body)["order"]["id"]))).json["event_ids"][0]
    assert update != event.id
    assert update[:OF_ONE_THING] == event.id[:OF_ONE_THING]


async def test_the_answer_comes_only_after_the_event_is_on_the_bus(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    append, entered, gate = rig.streams.append, asyncio.Event(), asyncio.Event()

    async def held(events: Sequence[Event]) -> None:
        entered.set()
        await gate.wait()
        await append(events)

    monkeypatch.setattr(rig.streams, "append", held)
    asked = asyncio.create_task(rig.post(order(1)))
    async with asyncio.timeout(PATIENCE_S):
        await entered.wait()
        assert (await rig.ask("GET", "/livez")).status == 200  # others are served meanwhile
        assert not asked.done()
        gate.set()
        assert (await asked).status == 202
    assert len(await rig.events()) == 1


async def test_requests_that_come_together_share_round_trips(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_in, round_trips, gate = 0, 0, asyncio.Event()
    append, pipeline = rig.intake.append, rig.redis.pipeline

    async def counted(events: Sequence[Event], *, by: float) -> bool:
        nonlocal handed_in
        handed_in += 1
        if handed_in == 64:
            gate.set()
        return await append(events, by=by)

    bus_append = rig.streams.append

    async def held(events: Sequence[Event]) -> None:
        await gate.wait()
        await bus_append(events)

    def piped(*args: Any, **kwargs: Any) -> Any:
        nonlocal round_trips
        round_trips += 1
        return pipeline(*args, **kwargs)

    monkeypatch.setattr(rig.intake, "append", counted)
    monkeypatch.setattr(rig.streams, "append", held)
    monkeypatch.setattr(rig.redis, "pipeline", piped)
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(rig.post(order(n)) for n in range(64)))
    assert {answer.status for answer in answers} == {202}
    on_bus = {event.id for event in await rig.events()}
    assert {answer.json["event_ids"][0] for answer in answers} == on_bus
    assert len(on_bus) == 64
    assert round_trips <= 4  # two under way when the gate opened, and what waited


async def test_a_large_order_goes_over_the_bus_as_a_reference(rig: Rig) -> None:
    document = make_order(Random(1), 1)
    document["form"]["note"] = "x" * 70_000
    body = json.dumps(document).encode()
    assert (await rig.post(body)).status == 202
    (event,) = await rig.events()
    assert event.data == b""
    assert await payloads.fetch(rig.db, [(event.id, event.dataref)]) == {(event.id, event.dataref): body}


async def test_a_body_in_chunks_is_taken_as_one(rig: Rig) -> None:
    body = order(1)
    chunks = b"".join(chunk(body[n : n + 100]) for n in range(0, len(body), 100)) + chunk(b"")
    assert (await raw(rig.port, head(None) + chunks)).status == 202
    assert [event.data for event in await rig.events()] == [body]


async def test_what_redis_does_not_take_is_accepted_into_the_spool(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(events: Sequence[Event]) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(rig.streams, "append", away)
    assert (await rig.post(order(1))).status == 202
    assert await rig.db.fetchval("SELECT count(*) FROM spool") == 1
    assert await rig.metric("ferryman_webhooks_total", outcome="spooled", source="orders") == 1


async def test_a_source_without_a_secret_is_not_there(open_rig: Open) -> None:
    nothing: tuple[dict[str, list[str]], ...] = ({}, {"orders_api_key": [], "orders_webhook_secret": []})
    for secrets in nothing:
        async with open_rig(secrets=secrets) as rig:
            check_problem(await rig.post(order(1)), 404)
            assert await rig.keys() == []


async def test_a_source_may_come_unsigned_where_the_settings_say_so(open_rig: Open) -> None:
    async with open_rig(secrets={}, unsigned=["orders"]) as rig:
        assert (await rig.ask("POST", PATH, order(1))).status == 202
        assert (await rig.post(order(2))).status == 202
        check_problem(await rig.ask("POST", PATH, b"[]"), 400)
        assert len(await rig.events()) == 2


# refused


def sent(body: bytes, *lines: str, key: str = KEY) -> Callable[[Rig], Awaitable[Answer]]:
    return lambda rig: raw(rig.port, head(len(body), *lines, key=key) + body)


CANARY_ORDER = json.dumps({"order": {"id": CANARY}, "form": {}}).encode()
REFUSED: dict[str, tuple[int, str, Callable[[Rig], Awaitable[Answer]]]] = {
    "a wrong key": (401, "key", sent(CANARY_ORDER, key=CANARY)),
    "a wrong bearer": (401, "key", sent(CANARY_ORDER, f"Authorization: Bearer {CANARY}", key="x")),
    "a wrong signature": (401, "signature", sent(CANARY_ORDER, f"Webhook-Signature: v1,{CANARY}", key="")),
    "no proof": (401, "missing", sent(CANARY_ORDER, key="")),
    "a wrong key and no JSON": (401, "key", sent(CANARY.encode(), key=CANARY)),
    "no JSON": (400, "not_json", sent(f'{{"{CANARY}'.encode())),
    "nothing": (400, "not_json", sent(b"")),
    "an array": (400, "not_json", sent(f'["{CANARY}"]'.encode())),
    "a key twice": (400, "not_json", sent(f'{{"{CANARY}":1,"{CANARY}":2}}'.encode())),
    "no UTF-8": (400, "not_json", sent(CANARY.encode() + b"\xff")),
    "no identity": (400, "no_identity", sent(f'{{"order":{{"{CANARY}":1}}}}'.encode())),
    "too large as declared": (413, "too_large", lambda rig: raw(rig.port, head(CAP + 1))),
    "far too large as declared": (413, "too_large", lambda rig: raw(rig.port, head(10**18))),
    "too large in chunks": (
        413,
        "too_large",
        lambda rig: raw(rig.port, head(None), chunk(CANARY.encode() * 1000), every_s=0),
    ),
    "a body that drips": (408, "timeout", lambda rig: raw(rig.port, head(5000), b" ")),
    "a body in chunks that drips": (408, "timeout", lambda rig: raw(rig.port, head(None), chunk(b"{"))),
    "a body that stops": (408, "timeout", lambda rig: raw(rig.port, head(50) + b"{")),
    "gzip": (415, "malformed", sent(b"\x1f\x8b" + CANARY.encode(), "Content-Encoding: gzip")),
    "an unknown encoding": (415, "malformed", sent(CANARY_ORDER, f"Content-Encoding: {CANARY}")),
}


@pytest.mark.parametrize(("status", "reason", "send"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_refusal_says_what_to_do_and_is_kept_without_what_was_sent(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    reason: str,
    send: Callable[[Rig], Awaitable[Answer]],
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.4)
    check_problem(await send(rig), status)
    (row,) = await rig.refused(1)
    assert (row["source"], row["reason"], row["status"]) == ("orders", reason, status)
    assert (row["remote"], row["suppressed"]) == ("127.0.0.1", 0)
    unread = status in (401, 408, 413, 415)
    assert (row["body_sha256"] is None) == (row["body_bytes"] is None) == unread
    whole = row.pop("body")
    assert (whole is None) == (unread or row["body_bytes"] == 0)  # of a proven sender, whose key is right
    assert json.loads(row["headers"])["Host"] == "ferryman"
    if reason != "malformed":  # there the canary is the name of an encoding, which tells about the transport
        assert CANARY not in str(row)
    assert KEY not in str(row)
    assert await rig.metric("ferryman_refused_total", reason=reason, source="orders") == 1
    assert await rig.metric("ferryman_webhooks_total", outcome="refused", source="orders") == 1
    assert await rig.keys() == []  # nothing reached the bus, and nothing else was written there
    assert await rig.db.fetchval("SELECT count(*) FROM spool") == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("DELETE", f"{PATH}?q={CANARY}", 405),
        ("POST", "/metrics", 405),
        ("PROPFIND", PATH, 405),
        ("POST", f"/webhooks/{CANARY}", 404),
        ("GET", f"/{CANARY}", 404),
        ("GET", f"/%2e%2e/{CANARY}", 404),
    ],
)
async def test_a_wrong_path_or_method_is_a_problem_that_says_what_to_do(
    rig: Rig, method: str, path: str, status: int
) -> None:
    answer = await raw(rig.port, head(0, f"X-Note: {CANARY}", method=method, path=path))
    check_problem(answer, status)
    if status == 405:
        assert answer.headers["Allow"].replace(", HEAD", "").replace("HEAD, ", "") in ("POST", "GET")
        assert answer.headers["Allow"].split(", ")[0] in answer.json["detail"]


async def test_no_secret_of_the_header_is_kept_with_a_refusal(rig: Rig) -> None:
    lines = (
        f"Authorization: Bearer {CANARY}",
        f"Cookie: s={CANARY}",
        f"X-Other: {CANARY}",
        f"Webhook-Signature: v1,{CANARY}",
    )
    await raw(rig.port, head(2, "User-Agent: relay/1.0", *lines, key=CANARY) + b"{}")
    (row,) = await rig.refused(1)
    kept = json.loads(row["headers"])
    assert {"Authorization", "Cookie", "X-Other", "X-API-Key", "Webhook-Signature", "User-Agent"} <= set(kept)
    assert kept["X-API-Key"] == f"*** ({len(CANARY)} characters)"
    assert kept["User-Agent"] == "relay/1.0"
    assert CANARY not in str(row)


async def test_headers_that_are_not_utf_8_are_refused_and_kept_like_others(rig: Rig) -> None:
    lines = b"X-API-Key: \xff\xfe\r\nUser-Agent: r\xff\r\nWebhook-Id: \xff\r\nWebhook-Signature: v1,\xff\r\n"
    message = head(2, key="x").replace(b"X-API-Key: x\r\n", lines) + b"\xff\xff"
    check_problem(await raw(rig.port, message), 401)
    (row,) = await rig.refused(1)
    assert json.loads(row["headers"])["User-Agent"].startswith("r")


async def test_a_burst_of_refusals_is_kept_to_its_bound_and_the_rest_is_counted(rig: Rig) -> None:
    for _ in range(10):
        answers = await asyncio.gather(*(rig.post(b"{}", X_API_Key="wrong") for _ in range(50)))
        assert {answer.status for answer in answers} == {401}
    check_problem(await rig.post(b"[]"), 400)  # another reason has a bound of its own
    rows = await rig.refused(PER_WINDOW + 1)
    assert len(rows) == PER_WINDOW + 1
    rig.clock.at += timedelta(seconds=WINDOW_S)
    check_problem(await rig.post(b"{}", X_API_Key="wrong"), 401)
    rows = await rig.refused(PER_WINDOW + 2)
    assert len(rows) == PER_WINDOW + 2
    assert rows[-1]["suppressed"] == 500 - PER_WINDOW
    assert sum(row["suppressed"] for row in rows[:-1]) == 0
    assert await rig.metric("ferryman_refused_total", reason="key", source="orders") == 501
    assert await rig.keys() == []


async def test_a_true_sender_is_served_amid_a_flood_of_refusals(rig: Rig) -> None:
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(
            *(rig.post(order(n), X_API_Key=KEY if n % 10 == 0 else "wrong") for n in range(300))
        )
    assert [answer.status for answer in answers[::10]] == [202] * 30
    assert len(await rig.events()) == 30


# the connection


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What came until the other side closed."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("asked", ["HTTP/1.1\r\nConnection: close", "HTTP/1.0"])
async def test_a_sender_that_asks_for_one_answer_gets_it_whole_and_the_connection_ends(rig: Rig, asked: str) -> None:
    body = order(1)
    head = f"POST {PATH} {asked}\r\nHost: here\r\nX-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(head.encode() + body)
    async with asyncio.timeout(PATIENCE_S):
        answer = await closed(reader)
    writer.close()
    status, _, rest = answer.partition(b"\r\n")
    assert status.split(b" ")[1] == b"202"
    assert len(json.loads(rest.partition(b"\r\n\r\n")[2])["event_ids"]) == 1


async def test_answers_on_a_kept_connection_are_whole_and_in_order(rig: Rig) -> None:
    bodies = [order(n) for n in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    for body in bodies:
        head = f"POST {PATH} HTTP/1.1\r\nHost: here\r\nX-API-Key: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
    ids = []
    async with asyncio.timeout(PATIENCE_S):
        for _ in bodies:
            head_read = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head_read.startswith("HTTP/1.1 202 Accepted\r\n")
            fields = dict(line.split(": ", 1) for line in head_read.split("\r\n")[1:] if line)
            assert fields["Content-Type"] == "application/json"
            assert fields["Date"].endswith("GMT")
            ids += json.loads(await reader.readexactly(int(fields["Content-Length"])))["event_ids"]
    writer.close()
    made = [json.loads(body) for body in bodies]
    assert ids == [event_id("orders", doc["order"]["id"], state=content_digest(doc)) for doc in made]


@pytest.mark.parametrize(
    "start", [b"", b"POST /webhooks/orders HTTP/1.1\r\nX-API", b"POST /"], ids=["none", "half", "line"]
)
@pytest.mark.parametrize("drips", [False, True])
async def test_a_connection_without_a_whole_header_is_closed_and_others_are_served(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch, start: bytes, drips: bool
) -> None:
    monkeypatch.setattr(http, "HEADER_TIMEOUT_S", 0.5)
    async with open_rig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(start)
        waiting = asyncio.create_task(closed(reader))
        served = 0
        while not waiting.done():
            assert (await rig.post(order(served))).status == 202
            served += 1
            if drips and start and not writer.transport.is_closing():
                writer.write(b"x")
            await asyncio.sleep(0.02)
        assert CANARY.encode() not in await waiting
        assert served > 1
        writer.transport.abort()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nX-API-Key: " + CANARY.encode() + b"\x00\r\n\r\n",
        CANARY.encode() + b" / HTTP/9.9\r\n\r\n",
        b"POST /webhooks/orders HTTP/1.1\r\nX: " + CANARY.encode() * 2000 + b"\r\n\r\n",
    ],
    ids=["header byte", "request line", "header too long"],
)
async def test_what_is_not_http_gets_a_problem_document_that_quotes_nothing(
    rig: Rig, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(garbage)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    assert answer.split()[1] == b"400"
    assert b"application/problem+json" in answer
    assert CANARY.encode() not in answer
    assert CANARY not in caplog.text


async def test_a_sender_that_goes_away_in_the_middle_leaves_no_error_and_no_event(rig: Rig) -> None:
    body = order(1)
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(head(len(body)) + body[:50])
    await writer.drain()
    assert (await rig.ask("GET", "/livez")).status == 200
    writer.transport.abort()
    (row,) = await rig.refused(1)
    assert (row["reason"], row["status"]) == ("malformed", 400)
    assert await rig.metric("ferryman_webhooks_total", outcome="error", source="orders") == 0
    assert await rig.keys() == []
    assert (await rig.post(body)).status == 202


async def test_chunks_that_are_no_chunks_are_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.4)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(head(None) + chunk(b'{"order"'))
    await writer.drain()
    assert (await rig.ask("GET", "/livez")).status == 200
    writer.write(b"zz\r\n")
    assert (await closed(reader)).split(b" ")[1] in (b"400", b"408")  # aiohttp 3.14 lets it time out
    writer.transport.abort()
    assert await rig.metric("ferryman_webhooks_total", outcome="error", source="orders") == 0
    assert await rig.keys() == []


# not accepted


@pytest.mark.parametrize("error", [NotAccepted("no store", retry_after_s=2.0), Full("too many", retry_after_s=1.0)])
async def test_what_no_store_takes_is_to_be_sent_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: NotAccepted | Full
) -> None:
    async def refuse(events: Sequence[Event], *, by: float) -> bool:
        raise error

    monkeypatch.setattr(rig.intake, "append", refuse)
    answer = await rig.post(order(1))
    check_problem(answer, 503)
    assert answer.headers["Retry-After"] == f"{error.retry_after_s:.0f}"
    assert await rig.metric("ferryman_webhooks_total", outcome="unavailable", source="orders") == 1


async def test_a_process_that_stops_accepts_nothing_more(rig: Rig) -> None:
    rig.listener.stop()
    answer = await rig.post(order(1))
    check_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1
    assert await rig.keys() == []


async def test_a_fault_of_ours_is_a_problem_too_and_is_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(events: Sequence[Event], *, by: float) -> bool:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(rig.intake, "append", break_down)
    check_problem(await rig.post(order(1)), 500)
    assert await rig.metric("ferryman_webhooks_total", outcome="error", source="orders") == 1


# counted


async def test_webhooks_are_counted_under_closed_labels_whatever_comes(rig: Rig) -> None:
    for n in range(3):
        await rig.post(order(n))
    await rig.post(CANARY_ORDER, X_API_Key=CANARY)
    await rig.post(CANARY.encode())
    await rig.ask("POST", f"/webhooks/{CANARY}", b"{}")
    assert await rig.metric("ferryman_webhooks_total", outcome="accepted", source="orders") == 3
    assert await rig.metric("ferryman_webhooks_total", outcome="refused", source="orders") == 2
    assert await rig.metric("ferryman_refused_total", reason="key", source="orders") == 1
    assert await rig.metric("ferryman_refused_total", reason="not_json", source="orders") == 1
    assert await rig.metric("ferryman_webhook_seconds_count", source="orders") == 5
    page = (await rig.ask("GET", "/metrics")).body.decode()
    assert CANARY not in page
    sources = [*(source.name for source in SOURCES), "other"]
    for name, label, values in (
        ("ferryman_webhooks_total", "outcome", OUTCOMES),
        ("ferryman_refused_total", "reason", REASONS),
    ):
        found = {line.rsplit(" ", 1)[0] for line in page.splitlines() if line.startswith(f"{name}{{")}
        assert found == {
            f'{name}{{{label}="{value}",source="{source}"}}' for value in (*values, "other") for source in sources
        }


async def test_a_source_whose_secret_comes_later_is_served_from_then_on(open_rig: Open) -> None:
    async with open_rig(secrets={}) as rig:
        for method in ("GET", "POST"):
            check_problem(await rig.ask(method, "/webhooks/meta"), 404)
        rig.listener.take({"orders_api_key": [KEY]})
        assert (await rig.post(order(1))).status == 202
        rig.listener.take({})
        check_problem(await rig.post(order(2)), 404)
        assert (await rig.refused(2))[-1]["reason"] == "path"


async def test_nobody_is_refused_for_good_while_the_stored_secrets_are_not_known(open_rig: Open) -> None:
    waits = {"whapi_webhook_secret"}
    async with open_rig(secrets={"orders_api_key": [KEY]}, awaited=lambda setting: setting in waits) as rig:

        async def whapi() -> Answer:
            return await rig.ask("POST", "/webhooks/whapi", b"{}", X_Webhook_Secret="other")

        for secrets in ({}, {"whapi_webhook_secret": ["wrong-0123456789"]}):
            rig.listener.take(secrets | {"orders_api_key": [KEY]})
            answer = await whapi()
            check_problem(answer, 503)
            assert answer.headers["Retry-After"] == "1"
        check_problem(await rig.ask("POST", PATH, order(1), X_API_Key="wrong"), 401)
        waits.clear()
        check_problem(await whapi(), 401)
        rig.listener.take({})
        check_problem(await whapi(), 404)

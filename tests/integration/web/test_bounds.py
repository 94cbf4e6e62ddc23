"""What the listener lets a sender cost: time, memory and connections, and what it tells of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import pytest
from structlog.testing import capture_logs

from daemon.web import bodies, connections
from schemas.envelope import Event
from tests.support.listening import CAP, KEY, PATH, PATIENCE_S, Open, Rig, check_problem, head, order, raw

SIGNING: Final = "whsec_c29tZSBpbnZlbnRlZCBzZWNyZXQ="
SIGNED: Final = {"orders_api_key": [KEY], "orders_webhook_secret": [SIGNING]}


# time


async def test_a_webhook_is_answered_in_time_whatever_the_stores_do(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.web.listener.ANSWER_S", 0.4)
    gate = asyncio.Event()

    async def frozen(events: Sequence[Event]) -> None:
        await gate.wait()

    monkeypatch.setattr(rig.streams, "append", frozen)
    began = time.monotonic()
    answers = await asyncio.gather(*(rig.post(order(n)) for n in range(5)))
    assert time.monotonic() - began < 5
    for answer in answers:
        check_problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        assert "not known to be kept; send it again" in answer.json["detail"]
        assert "nothing was kept" not in answer.json["detail"]
    gate.set()


async def test_where_no_store_can_take_it_a_webhook_is_answered_at_once(rig: Rig) -> None:
    for store in (rig.intake._stores.redis, rig.intake._stores.postgres):
        store.noticed(ConnectionError())
    answer = await rig.post(order(1))
    check_problem(answer, 503)
    assert "nothing was kept; send it again" in answer.json["detail"]
    assert await rig.keys() == []


def many_small_objects(size: int) -> bytes:
    """A sound order of *size* bytes that is slow to read."""
    small = b"[[[[]]]],"
    return b'{"order":{"id":"IL-large"},"form":{},"note": [' + small * (size // len(small)) + b"0]}"


async def test_a_large_body_of_small_objects_delays_no_other_request(open_rig: Open) -> None:
    body = many_small_objects(3_900_000)
    async with open_rig(cap=4_000_000) as rig:
        await rig.post(order(0))
        large = [asyncio.create_task(rig.post(body)) for _ in range(2)]
        latest = 0.0
        n = 1
        sent = time.monotonic()
        while not all(task.done() for task in large):
            began = time.monotonic()
            assert (await rig.ask("GET", "/livez")).status == 200
            assert (await rig.post(order(n))).status == 202
            latest = max(latest, time.monotonic() - began)
            n += 1
        # on a machine that others use as well, a share of what the large bodies take: they once held all that time up
        assert latest < max(1.0, (time.monotonic() - sent) / 4)
        answers = await asyncio.gather(*large)
        assert answers[0].status == 202  # the second one waits for its turn, perhaps in vain
        assert {answer.status for answer in answers} <= {202, 503}
        assert n > 3


async def test_large_bodies_that_wait_for_their_turn_too_long_are_to_be_sent_again(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.web.listener.ANSWER_S", 0.0)
    async with open_rig() as rig:
        async with rig.listener._aside._turn:
            answer = await rig.post(many_small_objects(100_000))
        check_problem(answer, 503)
        assert answer.json["detail"] == "other large bodies are being read; nothing was kept; send it again"


# memory


async def test_without_a_right_key_a_body_is_not_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", PATIENCE_S)
    for key in ("wrong", ""):
        answer = await asyncio.wait_for(raw(rig.port, head(CAP, key=key) + b"{"), PATIENCE_S / 2)
        check_problem(answer, 401)
    assert [(row["reason"], row["body_bytes"]) for row in await rig.refused(2)] == [("key", None), ("missing", None)]


async def test_bodies_that_must_be_read_for_their_proof_have_a_budget_in_all_and_for_each_address(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "UNPROVEN_BYTES", 0)  # then it follows from the cap: room for two of one address
    async with open_rig(secrets=SIGNED) as rig:
        waiting = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(head(CAP, "Webhook-Signature: v1,AA==", key="") + b"x" * (CAP - 1))
            waiting.append((reader, writer))
        refused = 0
        async with asyncio.timeout(PATIENCE_S):
            ends = [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in waiting]
            while refused < 4:
                done = [end for end in ends if end.done()]
                refused = sum(end.result().startswith(b"HTTP/1.1 503 ") for end in done)
                await asyncio.sleep(0.02)
        assert (await rig.post(order(1))).status == 202  # a key needs no budget
        large = b'{"order":{"id":"a"},"form":{"note":"' + b"x" * (CAP - 100) + b'"}}'
        parts = head(len(large)) + large[:1000]
        assert (await raw(rig.port, parts, large[1000:], every_s=PATIENCE_S)).status == 202
        for end in ends:
            end.cancel()
        for _, writer in waiting:
            writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):  # what was read for them is free again
            while rig.listener._bodies._total:
                await asyncio.sleep(0.02)


# connections


async def test_idle_sockets_of_one_address_leave_room_for_others_and_log_nothing(
    open_rig: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_ONE", 20)
    async with open_rig() as rig:
        with capture_logs() as lines:
            idle = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(60)]
            async with asyncio.timeout(PATIENCE_S):
                while await rig.metric("ferryman_connections_refused_total", reason="share") < 40:
                    await asyncio.sleep(0.02)
                other = await asyncio.open_connection("127.0.0.1", rig.port, local_addr=("127.0.0.2", 0))
                other[1].write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
                assert (await other[0].readline()).split()[1] == b"200"
            for _, writer in (*idle, other):
                writer.close()
        assert lines == []
        assert caplog.text == ""


async def test_what_left_makes_room_for_what_comes(open_rig: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_OF_ONE", 3)
    async with open_rig() as rig:
        for n in range(20):
            body = order(n)
            assert (await raw(rig.port, head(len(body)) + body)).status == 202
        assert await rig.metric("ferryman_connections_refused_total", reason="share") == 0


async def test_an_idle_connection_is_kept_as_long_as_the_setting_says(open_rig: Open) -> None:
    for keepalive_s, kept in ((0.2, False), (PATIENCE_S, True)):
        async with open_rig(keepalive_s=keepalive_s) as rig:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            body = order(1)
            writer.write(head(len(body)) + body)
            async with asyncio.timeout(PATIENCE_S / 2):
                got = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(got.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
                if kept:
                    await asyncio.sleep(1.0)
                    writer.write(head(len(body)) + body)
                    assert (await reader.readline()).split()[1] == b"202"
                else:
                    assert await reader.read() == b""
            writer.close()


# what it tells of itself


async def test_with_a_port_for_health_the_port_of_the_webhooks_tells_only_that_it_lives(open_rig: Open) -> None:
    async with open_rig(health_apart=True) as rig:
        for path, here in {"/livez": 200, "/healthz": 200, "/readyz": 404, "/metrics": 404}.items():
            assert (await rig.ask("GET", path)).status == here
            async with rig.session.get(f"http://127.0.0.1:{rig.health_port}{path}") as answer:
                assert answer.status == 200
        async with rig.session.post(f"http://127.0.0.1:{rig.health_port}{PATH}", data=order(1)) as answer:
            assert answer.status == 404
        assert (await rig.post(order(1))).status == 202


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /nothing HTTP/1.0\r\n\r\n",
        b"nonsense\r\n\r\n",
        head(2, key="wrong") + b"{}",
        head(2) + b"{}",
        head(2, "Connection: close") + b"{}",
    ],
)
async def test_no_answer_names_a_version_of_the_server(rig: Rig, asked: bytes) -> None:
    answer = await raw(rig.port, asked)
    assert answer.headers["Server"] == "ferryman"


async def test_who_is_not_proven_is_told_how_to_prove_itself_and_not_what_was_wrong(rig: Rig) -> None:
    answers = [await rig.ask("POST", PATH, b"{}", **headers) for headers in ({}, {"X_API_Key": "wrong"})]
    for answer in answers:
        check_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orders"'
    assert answers[0].body == answers[1].body
    assert [row["reason"] for row in await rig.refused(2)] == ["missing", "key"]

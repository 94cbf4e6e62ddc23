"""No authentic request vanishes: what is refused is kept whole, can be sent again, and a wrong path leaves a trace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import orjson
import pytest

from adapters.postgres.bus import outbox
from adapters.postgres.operator import refusals as rows
from adapters.registry import SOURCES
from daemon.operator import refused
from daemon.operator.edits import OtherDocument
from daemon.operator.refused import RefusedError
from daemon.web import refusals
from daemon.web.refusals import KEPT_WINDOW_S, PER_WINDOW
from schemas.envelope import content_digest, event_id
from tests.support.listening import CANARY, PATH, PATIENCE_S, Rig, check_problem, head, order, raw

REFUSED_BODIES: Final = {
    "a number of 23 digits": b'{"order":{"id":"IL1"},"form":{"amount":%d}}' % 10**22,
    "U+0000": rb'{"order":{"id":"IL1"},"form":{"note":"a\u0000b"}}',
    "a key twice": b'{"order":{"id":"IL1"},"form":{},"form":{}}',
    "no id": b'{"order":{"ID":"IL1"},"form":{}}',
    "no JSON": b"order=IL1",
    "Latin-1": '{"order":{"id":"IL1"},"form":{"note":"\u00e5"}}'.encode("latin-1"),
}


# a byte order mark


async def test_a_byte_order_mark_is_taken_off(rig: Rig) -> None:
    body = order(1)
    assert (await rig.post(b"\xef\xbb\xbf" + body)).status == 202
    assert [event.data for event in await rig.events()] == [body]


# kept whole


@pytest.mark.parametrize("body", REFUSED_BODIES.values(), ids=REFUSED_BODIES.keys())
async def test_what_a_proven_sender_sent_is_kept_whole_when_it_is_refused(rig: Rig, body: bytes) -> None:
    check_problem(await rig.post(body), 400)
    (row,) = await rig.refused(1)
    assert (row["body"], row["body_bytes"]) == (body, len(body))


async def test_what_an_unproven_sender_sent_is_not_kept(rig: Rig) -> None:
    await rig.post(b"[]", X_API_Key="wrong")
    (row,) = await rig.refused(1)
    assert row["body"] is None


async def test_every_authentic_refusal_is_kept_whole_however_many_come(rig: Rig) -> None:
    count = 3 * PER_WINDOW
    await asyncio.gather(*(rig.post(b"[%d]" % n) for n in range(count)))
    kept = await rig.refused(count)
    assert sorted(row["body"] for row in kept) == sorted(b"[%d]" % n for n in range(count))
    assert sum(row["suppressed"] for row in kept) == 0


async def test_a_body_that_comes_again_and_again_is_kept_once(rig: Rig) -> None:
    for _ in range(5):
        await rig.post(b"[]")
    assert [row["body"] for row in await rig.refused(5)] == [b"[]", None, None, None, None]
    rig.clock.at += timedelta(seconds=KEPT_WINDOW_S)
    await rig.post(b"[]")
    assert (await rig.refused(6))[-1]["body"] == b"[]"


async def test_what_is_kept_whole_is_bounded_in_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "KEPT_BYTES", 50)
    for n in range(8):
        await rig.post(b"[%019d]" % n)  # 21 bytes, and no JSON
    assert [row["body"] is not None for row in await rig.refused(8)] == [True, True, *[False] * 6]


# sent again


async def only(rig: Rig) -> rows.KeptRequest:
    (row,) = await rig.refused(1)
    return await refused.find(rig.db, row["id"])


async def test_a_kept_request_becomes_its_events_after_mending(rig: Rig) -> None:
    await rig.post(REFUSED_BODIES["a key twice"])
    kept = await only(rig)
    with pytest.raises(RefusedError, match="--edit"):
        refused.events_of(kept, SOURCES, rig.clock())
    mended = b'{"order":{"id":"IL1"},"form":{}}'
    events = refused.events_of(kept, SOURCES, rig.clock(), body=mended)
    assert [(event.id, event.data) for event in events] == [
        (event_id("orders", "IL1", state=content_digest(json.loads(mended))), mended)
    ]
    await refused.send(rig.db, kept.id, events, "dana")
    waiting = await outbox.left(rig.db, older_than_s=-1, limit=10)
    assert [event for _, event in waiting] == events
    sent = await refused.find(rig.db, kept.id)
    assert (sent.sent_again_by, sent.event_ids) == ("dana", (events[0].id,))
    assert await refused.newest(rig.db, 10, to_send=True) == []
    with pytest.raises(RefusedError, match="sent again"):
        refused.events_of(sent, SOURCES, rig.clock(), body=mended)
    with pytest.raises(RefusedError, match="already"):
        await refused.send(rig.db, kept.id, events, "noa")
    assert len(await outbox.left(rig.db, older_than_s=-1, limit=10)) == 1


async def test_a_request_whose_order_is_here_already_is_recognised(rig: Rig) -> None:
    await rig.post(b'{"order":{},"form":{}}')
    kept = await only(rig)
    here, new = (
        refused.events_of(kept, SOURCES, rig.clock(), body=b'{"order":{"id":"%s"}}' % name) for name in (b"IL1", b"IL2")
    )
    await refused.send(rig.db, kept.id, here, "dana")
    assert await refused.known(rig.db, [*here, *new]) == {here[0].id}


async def test_the_document_of_a_kept_request_can_be_mended_and_sent_again(rig: Rig) -> None:
    await rig.post(b'{"order":{},"form":{}}')
    kept = await only(rig)
    document = orjson.loads(orjson.dumps(refused.whole_document(kept)))
    assert document["body"] == {"order": {}, "form": {}}
    document["body"]["order"]["id"] = "IL1"
    (event,) = refused.events_of(kept, SOURCES, rig.clock(), body=orjson.dumps(document))
    assert event.json() == {"order": {"id": "IL1"}, "form": {}}
    with pytest.raises(OtherDocument):
        refused.events_of(kept, SOURCES, rig.clock(), body=orjson.dumps(document | {"number": 99}))


@pytest.mark.parametrize("body", [b"[1", b"[]", REFUSED_BODIES["a key twice"]])
async def test_a_body_that_is_no_sound_object_is_shown_as_it_came(rig: Rig, body: bytes) -> None:
    await rig.post(body)
    assert refused.whole_document(await only(rig))["body"] == body.decode()


async def test_what_is_not_kept_cannot_be_sent_again(rig: Rig) -> None:
    await rig.post(b"[]", X_API_Key="wrong")
    kept = await only(rig)
    with pytest.raises(RefusedError, match="not kept whole"):
        refused.events_of(kept, SOURCES, rig.clock(), body=b"{}")
    with pytest.raises(RefusedError, match="no refused request 99"):
        await refused.find(rig.db, 99)


# paths


@pytest.mark.parametrize("path", [f"{PATH}/", f"/{PATH}", "//webhooks//orders//?a=b", "/webhooks//orders"])
async def test_a_slash_too_many_makes_no_difference(rig: Rig, path: str) -> None:
    body = order(1)
    assert (await raw(rig.port, head(len(body), path=path) + body)).status == 202
    assert [event.data for event in await rig.events()] == [body]
    assert (await raw(rig.port, head(0, method="GET", path="//livez/"))).status == 200


FORMER: Final = "/api/webhook/order"


async def test_an_authentic_request_to_another_path_is_kept_and_told_the_nearest_one(rig: Rig) -> None:
    body = order(1)
    answer = await rig.ask("POST", f"{FORMER}?token={CANARY}", body, X_API_Key="sesame-0d41")
    check_problem(answer, 404)
    assert PATH in answer.json["detail"]
    kept = await only(rig)
    assert (kept.request.source, kept.request.reason, kept.request.path) == ("orders", "path", FORMER)
    assert kept.request.body == body
    assert len(refused.events_of(kept, SOURCES, rig.clock())) == 1  # it needs no mending
    assert await rig.metric("ferryman_refused_total", reason="path", source="other") == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "row"),
    [
        ("POST", "/other", 404, {"source": "other", "reason": "path", "path": "/other"}),
        ("PUT", PATH, 405, {"source": "other", "reason": "method", "path": PATH}),
        ("GET", "/wp-login.php", 404, None),
        ("GET", PATH, 405, None),
    ],
)
async def test_no_request_without_a_route_goes_without_a_trace(
    rig: Rig, method: str, path: str, status: int, row: Mapping[str, Any] | None
) -> None:
    answer = await rig.ask(method, path, b"{}" if row else None)
    check_problem(answer, status)
    reason = "path" if status == 404 else "method"
    assert await rig.metric("ferryman_refused_total", reason=reason, source="other") == 1
    await rig.ask("POST", "/last", b"{}")
    found = await rig.refused(2 if row else 1)
    assert len(found) == (2 if row else 1)  # a search for pages that never were leaves a count alone
    if row:
        assert row.items() <= found[0].items()
        assert (found[0]["body"], found[0]["status"]) == (None, status)


async def test_a_stray_whose_body_does_not_come_is_answered_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.web.bodies.BODY_TIMEOUT_S", 0.2)
    async with asyncio.timeout(PATIENCE_S):
        answer = await raw(rig.port, head(50, path=FORMER) + b"{")
    check_problem(answer, 404)
    (row,) = await rig.refused(1)
    assert row["body"] is None


async def test_the_path_of_a_stray_is_kept_without_what_looks_secret(rig: Rig) -> None:
    path = "/hook/whsec_c2VzYW1lLW9wZW4tMWYwMA==/%00/%ff"
    check_problem(await raw(rig.port, head(2, path=path) + b"{}"), 404)
    (row,) = await rig.refused(1)
    assert "c2VzYW1l" not in row["path"]
    assert json.dumps(row["path"]).startswith('"/hook/')

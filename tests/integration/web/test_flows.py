"""What bot flows of CGB post, through a listener on real stores: what is accepted, refused, and kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from adapters.redis.streams import stream_key
from adapters.registry import SOURCES
from daemon.operator import refused
from daemon.sandbox.cgb_flows import PATH, CgbFlows, contact_body, reply_body
from schemas.envelope import Event, from_fields
from tests.support.listening import KEY, Open, Rig, check_problem

NEW: Final = "whisper-77aa-77aa"
OLD: Final = "whisper-0d41-0d41"
ID: Final = "972505550142"


@pytest.fixture
async def rig(open_rig: Open) -> AsyncIterator[Rig]:
    async with open_rig(secrets={"orders_api_key": [KEY], "cgb_webhook_secret": [NEW, OLD]}) as opened:
        yield opened


def flows(rig: Rig, secret: str | None = NEW) -> CgbFlows:
    return CgbFlows(rig.session, f"http://127.0.0.1:{rig.port}", secret=secret)


async def events(rig: Rig, topic: str) -> list[Event]:
    """What is on the bus in *topic*."""
    found = []
    for partition in range(rig.streams.partitions):
        entries: Any = await rig.redis.xrange(stream_key(topic, partition))
        found += [from_fields(fields) for _, fields in entries]
    return found


async def test_a_contact_and_a_reply_are_accepted_with_either_secret_and_once(rig: Rig) -> None:
    answers = [await flows(rig).contact(ID), await flows(rig, OLD).reply(ID)]
    assert [answer.status for answer in answers] == [202, 202]
    again = await flows(rig).reply(ID)
    assert again.event_ids == answers[1].event_ids
    (changed,) = await events(rig, "contacts")
    messages = await events(rig, "messages")
    assert (changed.id, changed.json()["received"]) == (answers[0].event_ids[0], contact_body(ID))
    assert {(one.id, one.subject) for one in messages} == {(answers[1].event_ids[0], f"+{ID}")}


async def test_a_stranger_is_refused_with_what_to_send_and_leaves_a_row_without_the_body(rig: Rig) -> None:
    for secret in (None, "wrong", KEY):
        assert (await flows(rig, secret).reply(ID)).status == 401
    answer = await rig.ask("POST", PATH, b"{}", X_API_Key=KEY)
    check_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'X-Webhook-Secret realm="cgb"'
    assert "X-Webhook-Secret" in answer.json["detail"]
    rows = await rig.refused(4)
    assert [row["reason"] for row in rows] == ["missing", "key", "key", "missing"]
    assert {(row["source"], row["status"], row["body"]) for row in rows} == {("cgb", 401, None)}
    assert "wrong" not in rows[1]["headers"]
    assert await events(rig, "messages") == []


async def test_a_body_without_a_contact_is_refused_kept_whole_and_can_be_mended(rig: Rig) -> None:
    assert (await flows(rig).post(reply_body("{{user_id}}"))).status == 400
    (row,) = await rig.refused(1)
    assert (row["source"], row["reason"]) == ("cgb", "no_identity")
    kept = await refused.find(rig.db, row["id"])
    (event,) = refused.events_of(kept, SOURCES, rig.clock(), body=row["body"].replace(b"{{user_id}}", ID.encode()))
    assert event.subject == f"+{ID}"


async def test_without_a_secret_it_is_not_served(open_rig: Open) -> None:
    async with open_rig(secrets={"orders_api_key": [KEY]}) as rig:
        assert (await flows(rig, KEY).reply(ID)).status == 404

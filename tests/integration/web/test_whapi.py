"""What a Whapi channel posts, through a listener on real stores: what is accepted, refused, and kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
import pytest

from adapters.redis.streams import stream_key
from daemon.sandbox.whapi_messages import Messages
from schemas.envelope import Event, from_fields
from tests.support.listening import KEY, Open, Rig, check_problem

PATH: Final = "/webhooks/whapi"
SECRET: Final = "whisper-77aa-77aa"
ID: Final = "972505550142"
CHAT: Final = f"{ID}@s.whatsapp.net"


@pytest.fixture
async def rig(open_rig: Open) -> AsyncIterator[Rig]:
    async with open_rig(secrets={"orders_api_key": [KEY], "whapi_webhook_secret": [SECRET]}) as opened:
        yield opened


@pytest.fixture
async def channel(rig: Rig) -> AsyncIterator[Messages]:
    made = Messages(f"http://127.0.0.1:{rig.port}{PATH}", SECRET)
    yield made
    await made.close()


async def events(rig: Rig, topic: str) -> list[Event]:
    """What is on the bus in *topic*."""
    found = []
    for partition in range(rig.streams.partitions):
        entries: Any = await rig.redis.xrange(stream_key(topic, partition))
        found += [from_fields(fields) for _, fields in entries]
    return found


async def test_a_batch_of_messages_and_statuses_is_accepted_whole(rig: Rig, channel: Messages) -> None:
    message = {"id": "P-1", "type": "text", "chat_id": CHAT, "text": {"body": "hello"}}
    status = {"id": "P-2", "status": "read", "recipient_id": CHAT}
    body = {"messages": [message, message | {"id": "P-3"}], "statuses": [status]}
    answer = await rig.ask("POST", PATH, orjson.dumps(body), X_Webhook_Secret=SECRET)
    assert answer.status == 202
    assert len(answer.json["event_ids"]) == 3
    assert [one.json()["message_id"] for one in await events(rig, "messages")] == ["P-1", "P-3"]
    assert [one.json()["status"] for one in await events(rig, "deliveries")] == ["read"]
    assert await channel.receive(CHAT) == 202


async def test_what_is_neither_is_accepted_and_makes_no_event(rig: Rig) -> None:
    body = {"chats": [{"id": CHAT}], "event": {"type": "chats", "event": "post"}, "channel_id": "LYNX-A1"}
    answer = await rig.ask("POST", PATH, orjson.dumps(body), X_Webhook_Secret=SECRET)
    assert (answer.status, answer.json) == (202, {"event_ids": []})
    assert await events(rig, "messages") == await events(rig, "deliveries") == []


async def test_a_stranger_is_refused_with_what_to_send(rig: Rig) -> None:
    answer = await rig.ask("POST", PATH, b'{"messages": []}', X_Webhook_Secret="wrong")
    check_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'X-Webhook-Secret realm="whapi"'
    assert "WHAPI_WEBHOOK_SECRET" in answer.json["detail"]
    (row,) = await rig.refused(1)
    assert (row["source"], row["status"], row["reason"], row["body"]) == ("whapi", 401, "key", None)


async def test_without_a_secret_it_is_not_served(open_rig: Open) -> None:
    async with open_rig(secrets={"orders_api_key": [KEY]}) as rig:
        assert (await rig.ask("POST", PATH, b"{}", X_Webhook_Secret=SECRET)).status == 404

"""What Twilio posts, through a listener on real stores behind a proxy: what is accepted and how it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import pytest

from adapters.redis.streams import stream_key
from adapters.twilio.source import status_url
from daemon.sandbox.twilio_webhooks import TwilioWebhooks, inbound_form, signature, signed_text, status_form
from schemas.envelope import Event, from_fields
from tests.support.listening import KEY, Open, Rig, check_problem

TOKEN: Final = "tok_ferry_0001"
PUBLIC_URL: Final = "https://ferryman.example"
PATH: Final = "/webhooks/twilio"
PERSON: Final = "+972505550142"
OURS: Final = UUID("01909d5c-9bb2-7a0e-8d57-3c1fd2a40b11")


@pytest.fixture
async def rig(open_rig: Open) -> AsyncIterator[Rig]:
    async with open_rig(secrets={"twilio_auth_token": [TOKEN]}, public_url=PUBLIC_URL) as opened:
        yield opened


def at(rig: Rig, url: str) -> str:
    """Where the proxy hands on what came to *url*."""
    return url.replace(PUBLIC_URL, f"http://127.0.0.1:{rig.port}")


async def form(rig: Rig, url: str, members: dict[str, str], token: str = TOKEN, digest: str = "sha1") -> int:
    return await TwilioWebhooks(rig.session, token, digest=digest).form(url, members, at=at(rig, url))


async def events(rig: Rig, topic: str) -> list[Event]:
    """What is on the bus in *topic*."""
    found = []
    for partition in range(rig.streams.partitions):
        entries: Any = await rig.redis.xrange(stream_key(topic, partition))
        found += [from_fields(fields) for _, fields in entries]
    return found


async def test_a_message_and_a_status_are_answered_204_without_a_body(rig: Rig) -> None:
    url, members = PUBLIC_URL + PATH, inbound_form(PERSON, "hola & ☂")
    proof = {"X_Twilio_Signature": signature(signed_text(url, members), TOKEN)}
    answer = await rig.ask("POST", PATH, urlencode(members), **proof, Content_Type="application/x-www-form-urlencoded")
    assert (answer.status, answer.body) == (204, b"")
    assert await form(rig, status_url(PUBLIC_URL, OURS), status_form("SM1", PERSON, "delivered")) == 204
    (message,), (status,) = await events(rig, "messages"), await events(rig, "deliveries")
    assert (message.subject, message.json()["received"]) == (PERSON, members)
    assert (status.subject, status.json()["our_id"]) == (PERSON, str(OURS))


async def test_what_comes_again_is_the_same_event(rig: Rig) -> None:
    members = inbound_form(PERSON)
    for _ in range(2):
        assert await form(rig, PUBLIC_URL + PATH, members) == 204
    assert len({event.id for event in await events(rig, "messages")}) == 1


async def test_a_status_as_json_is_proven_by_the_digest_in_its_address(rig: Rig) -> None:
    url = status_url(PUBLIC_URL, OURS)
    webhooks = TwilioWebhooks(rig.session, TOKEN)
    document = {"sid": "SM1", "status": "read", "to": f"whatsapp:{PERSON}"}
    assert await webhooks.json(url, document, at=at(rig, url)) == 204
    (status,) = await events(rig, "deliveries")
    assert (status.json()["status"], status.json()["our_id"]) == ("read", str(OURS))


async def test_a_signature_by_sha_256_is_taken(rig: Rig) -> None:
    assert await form(rig, PUBLIC_URL + PATH, inbound_form(PERSON), digest="sha256") == 204


@pytest.mark.parametrize(
    "query", ["?tenant=a%20b", "?tenant=a+b&x=%2Fc%2f", "?x=%7Eq~&&y", "?=", "?q=%C3%A9,;:@!$()*'[]", "#rc=5&rp=all"]
)
async def test_the_query_counts_as_it_was_written(rig: Rig, query: str) -> None:
    assert await form(rig, PUBLIC_URL + PATH + query, inbound_form(PERSON)) == 204


async def test_a_status_that_tells_nothing_is_accepted_without_an_event(rig: Rig) -> None:
    assert await form(rig, PUBLIC_URL + PATH, status_form("SM1", PERSON, "queued")) == 204
    assert await rig.keys() == []
    assert await rig.metric("ferryman_webhooks_total", outcome="accepted", source="twilio") == 1


async def test_a_stranger_is_refused_with_what_to_do_and_leaves_a_row_without_the_body(rig: Rig) -> None:
    members = inbound_form(PERSON)
    assert await form(rig, PUBLIC_URL + PATH, members, token="wrong") == 401
    assert await TwilioWebhooks(rig.session, TOKEN).form(at(rig, PUBLIC_URL) + PATH, members) == 401, "of another host"
    answer = await rig.ask("POST", PATH, urlencode(members), X_API_Key=KEY)
    check_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'X-Twilio-Signature realm="twilio"'
    assert "FERRYMAN_PUBLIC_URL" in answer.json["detail"]
    rows = await rig.refused(3)
    assert [row["reason"] for row in rows] == ["signature", "signature", "missing"]
    assert {(row["source"], row["status"], row["body"]) for row in rows} == {("twilio", 401, None)}
    assert await events(rig, "messages") == []


async def test_without_a_token_it_is_not_served(open_rig: Open) -> None:
    async with open_rig(secrets={"orders_api_key": [KEY]}, public_url=PUBLIC_URL) as rig:
        assert await form(rig, PUBLIC_URL + PATH, inbound_form(PERSON)) == 404


async def test_without_a_public_address_a_token_that_also_sends_does_not_let_it_be_served(open_rig: Open) -> None:
    """Promise: who only sends by Twilio does not answer 401 to everything."""
    async with open_rig(secrets={"twilio_auth_token": [TOKEN]}) as rig:
        assert await form(rig, at(rig, PUBLIC_URL) + PATH, inbound_form(PERSON)) == 404


async def test_without_a_public_address_nobody_is_proven(open_rig: Open) -> None:
    async with open_rig(secrets={"twilio_webhook_secret": [TOKEN]}) as rig:
        assert await form(rig, at(rig, PUBLIC_URL) + PATH, inbound_form(PERSON)) == 401

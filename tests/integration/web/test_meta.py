"""What Meta and 360dialog post, through a listener on real stores: what is accepted, refused, and kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.http import open_session
from adapters.meta.sender import MetaSender
from adapters.redis.streams import stream_key
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_webhooks import PATH, MetaWebhooks, batch, contact, escaped, message, status, value
from schemas.envelope import Event, from_fields
from schemas.messages import Content, OutboundMessage, Template, Text
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.listening import KEY, Open, Rig, check_problem
from tests.support.made_up_files import NO_FILES
from tests.support.until import until

NEW: Final = "app_secret_0002"
OLD: Final = "app_secret_0001"
TOKEN: Final = "verify_token_0001"
KEY_360: Final = "header_secret_0001"
ID: Final = "972505550142"
SECRETS: Final = {
    "orders_api_key": [KEY],
    "meta_app_secret": [NEW, OLD],
    "meta_verify_token": [TOKEN],
    "dialog360_webhook_secret": [KEY_360],
}


@pytest.fixture
async def rig(open_rig: Open) -> AsyncIterator[Rig]:
    async with open_rig(secrets=SECRETS) as opened:
        yield opened


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def meta(rig: Rig, secret: str | None = NEW) -> MetaWebhooks:
    return MetaWebhooks(rig.session, f"http://127.0.0.1:{rig.port}", secret=secret)


async def events(rig: Rig, topic: str) -> list[Event]:
    """What is on the bus in *topic*, the events of one key in their order."""
    found = []
    for partition in range(rig.streams.partitions):
        entries: Any = await rig.redis.xrange(stream_key(topic, partition))
        found += [from_fields(fields) for _, fields in entries]
    return found


async def test_a_batch_is_accepted_whole_with_either_secret(rig: Rig) -> None:
    document = batch(
        value(contacts=[contact(ID)], messages=[message(ID, "wamid.A", "שלום")]),
        value(statuses=[status(ID, "wamid.B", "sent"), status(ID, "wamid.B", "read")]),
    )
    answers = [await meta(rig).post(document), await meta(rig, OLD).post(document)]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].event_ids == answers[1].event_ids
    first, *others = answers[0].event_ids
    assert {event.id for event in await events(rig, "messages")} == {first}
    assert {event.id for event in await events(rig, "deliveries")} == set(others)
    assert len(others) == 2


async def test_one_message_has_one_id_by_meta_and_by_360dialog(rig: Rig) -> None:
    document = batch(value(messages=[message(ID, "wamid.A")]))
    (by_meta,) = (await meta(rig).post(document)).event_ids
    answer = await rig.ask("POST", "/webhooks/360dialog", escaped(document), X_Webhook_Secret=KEY_360)
    assert (answer.status, answer.json["event_ids"]) == (202, [by_meta])
    found = await events(rig, "messages")
    assert {event.source for event in found} == {"meta", "360dialog"}
    assert len({event.data for event in found}) == 1


async def test_what_tells_of_no_message_is_accepted_without_an_event(rig: Rig) -> None:
    answer = await meta(rig).post(batch({"event": "VERIFIED_ACCOUNT"}, field="account_update"))
    assert (answer.status, answer.event_ids) == (202, ())
    assert [await events(rig, topic) for topic in ("messages", "deliveries")] == [[], []]


async def test_a_stranger_is_refused_and_told_what_to_set(rig: Rig) -> None:
    document = batch(value(messages=[message(ID, "wamid.A")]))
    assert [(await meta(rig, secret).post(document)).status for secret in (None, "wrong", TOKEN)] == [401] * 3
    answer = await rig.ask("POST", PATH, b"{}", X_Webhook_Secret=KEY_360)
    check_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'X-Hub-Signature-256 realm="meta"'
    assert "META_APP_SECRET" in answer.json["detail"]
    rows = await rig.refused(4)
    assert sorted(row["reason"] for row in rows) == ["missing", "missing", "signature", "signature"]
    assert await events(rig, "messages") == []


async def test_the_challenge_is_answered_bare_and_any_other_question_is_forbidden(rig: Rig) -> None:
    assert await meta(rig).challenge(TOKEN) == (200, "1158201444")
    assert (await meta(rig).challenge("wrong"))[0] == 403
    check_problem(await rig.ask("GET", PATH), 403)


async def test_without_an_app_secret_it_is_not_served(open_rig: Open) -> None:
    async with open_rig(secrets={"orders_api_key": [KEY], "meta_verify_token": [TOKEN]}) as rig:
        assert (await meta(rig).post(batch(value(messages=[message(ID, "wamid.A")])))).status == 404
        assert (await meta(rig).challenge(TOKEN))[0] == 404


# the simulator's statuses, on their way to the listener


FATES: Final[dict[str, tuple[str | int, ...]]] = {
    "972505550101": ("sent", "delivered", "read"),
    "972505550102": ("sent", "read"),
    "972505550103": ("read", "delivered", "sent"),
    "972505550104": ("sent", "sent", "delivered", "delivered"),
    "972505550105": ("sent", 131026),
}


async def send(sandbox: MetaSandbox, session: ClientSession, to: str, content: Content) -> tuple[str, str]:
    """Send one message; returns our id and Meta's."""
    gate = replace(gate_on(session, channel=Channel("meta")), scope="meta:test", system="Meta")
    sent = OutboundMessage(id=uuid4(), to=Phone(f"+{to}"), content=content)

    async def claim() -> None:
        return None

    taken = await MetaSender(gate, account=sandbox.account, files=NO_FILES).send(sent, claim)
    assert taken.provider_id is not None
    return str(sent.id), taken.provider_id


async def told(rig: Rig, provider_id: str, count: int) -> list[dict[str, Any]]:
    """The statuses of a message, once there are *count* of them."""

    async def found() -> list[dict[str, Any]]:
        data = [event.json() for event in await events(rig, "deliveries")]
        of_it = [one for one in data if one["message_id"] == provider_id]
        return of_it if len(of_it) >= count else []

    statuses: list[dict[str, Any]] = await until(found, f"{count} statuses")
    return statuses


@pytest.mark.parametrize("together", [False, True])
async def test_statuses_of_the_simulator_come_as_each_person_s_fate_has_it(
    rig: Rig, session: ClientSession, together: bool
) -> None:
    url = f"http://127.0.0.1:{rig.port}"
    async with MetaSandbox(callback_url=url, app_secret=NEW) as sandbox:
        sandbox.switches.fates, sandbox.switches.together = dict(FATES), together
        for person, fate in FATES.items():
            our_id, provider_id = await send(sandbox, session, person, Text("hello"))
            statuses = await told(rig, provider_id, len(fate))
            states = ["failed" if isinstance(step, int) else step for step in fate]
            assert [one["status"] for one in statuses] == states
            assert {(one["our_id"], one["phone"]) for one in statuses} == {(our_id, f"+{person}")}
            codes = [str(step) for step in fate if isinstance(step, int)]
            assert [one["error_code"] for one in statuses if one["error_code"]] == codes


async def test_free_text_into_a_closed_window_is_taken_and_fails_and_a_template_arrives(
    rig: Rig, session: ClientSession
) -> None:
    url = f"http://127.0.0.1:{rig.port}"
    async with MetaSandbox(callback_url=url, app_secret=NEW) as sandbox:
        sandbox.switches.open_windows = set()
        _, text = await send(sandbox, session, ID, Text("hello"))
        assert [one["error_code"] for one in await told(rig, text, 1)] == ["131047"]
        _, template = await send(sandbox, session, ID, Template("parcel_ready", "en_US"))
        assert [one["status"] for one in await told(rig, template, 2)] == ["sent", "delivered"]
        sandbox.switches.open_windows.add(ID)
        _, again = await send(sandbox, session, ID, Text("hello"))
        assert [one["status"] for one in await told(rig, again, 2)] == ["sent", "delivered"]

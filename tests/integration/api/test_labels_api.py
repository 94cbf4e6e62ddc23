"""`POST /api/v1/conversations/labels` over HTTP, on real stores: what is taken, once, and by whom."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams, stream_key
from daemon.api.labels import PATH
from daemon.api.routes import routes_of
from daemon.operator.reading import outside_of
from daemon.records.wiring import open_pulls, open_records
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.envelope import from_fields
from tests.integration.api.conftest import TOKENS, Served
from tests.support.listening import opener

ASKED = {"phone": "+972505550142", "labels": ["journey:first-contact"], "contact_attributes": {"lead_score": 72}}


@pytest.fixture
async def labelling(redis: Redis, db: Pool) -> AsyncIterator[Served]:
    """The API of a daemon whose CRM is a Chatwoot."""
    settings = Settings(
        ferryman_admin_token=SecretStr(TOKENS["admin"]),
        ferryman_readonly_token=SecretStr(TOKENS["reader"]),
        chatwoot_base_url="http://127.0.0.1:1",
        chatwoot_api_access_token=SecretStr("t" * 20),
        chatwoot_account_id=3,
    )
    async with outside_of(db, settings, redis) as outside:
        records = open_records(outside)
        routes = routes_of(InForce(settings), db, Streams(redis, 4), outside, "", records, open_pulls(outside, records))
        async with opener(redis, db)(more=routes) as rig:
            yield Served(rig, {})


async def ask(served: Served, told: Any, **headers: str) -> tuple[int, Any]:
    answer = await served.ask("POST", PATH, json.dumps(told).encode(), headers=headers)
    return answer.status, answer.json


async def kept(served: Served) -> list[tuple[str, Any]]:
    """The events that were asked for: subject and data."""
    redis: Any = served.rig.redis
    found = []
    for partition in range(4):
        entries = await redis.xrange(stream_key("conversations", partition))
        found += [from_fields(fields) for _, fields in entries]
    return [(event.subject, event.json()) for event in sorted(found, key=lambda one: one.time)]


@pytest.mark.parametrize(
    ("phone", "e164"),
    [
        ("+972505550142", "+972505550142"),
        ("972505550142@c.us", "+972505550142"),
        ("972505550142@s.whatsapp.net", "+972505550142"),
        ("972505550142:7@s.whatsapp.net", "+972505550142"),
        ("+972 50-555-0142", "+972505550142"),
    ],
)
async def test_labels_of_a_phone_in_any_notation_are_handed_to_the_worker(
    labelling: Served, phone: str, e164: str
) -> None:
    status, told = await ask(labelling, ASKED | {"phone": phone})
    assert (status, list(told)) == (202, ["event_id"])
    [(subject, data)] = await kept(labelling)
    assert (subject, data["phone"], data["labels"]) == (e164, e164, ["journey-first-contact"])
    assert (data["contact_attributes"], data["conversation"]) == ({"lead_score": 72}, None)


async def test_a_tagger_may_say_tags_and_attributes(labelling: Served) -> None:
    asked = {"phone": "+972505550142", "tags": ["journey:first-contact"], "attributes": {"lead_score": 72}}
    assert (await ask(labelling, asked))[0] == 202
    [(_, data)] = await kept(labelling)
    assert (data["labels"], data["contact_attributes"]) == (["journey-first-contact"], {"lead_score": 72})
    assert (await ask(labelling, asked | {"labels": ["vip"]}))[0] == 422


async def test_a_conversation_stands_behind_what_its_person_has_written(labelling: Served) -> None:
    await labelling.rig.db.execute(
        "INSERT INTO conversations (chat, system, chatwoot_account_id, chatwoot_conversation_id, line)"
        " VALUES ('chatwoot:3:481', 'chatwoot', 3, 481, '+972505550142')"
    )
    for id in (481, "482"):
        assert (await ask(labelling, {"conversation_id": id, "labels": ["vip"]}))[0] == 202
    assert [(subject, data["conversation"]) for subject, data in await kept(labelling)] == [
        ("+972505550142", {"account": 3, "id": 481}),
        ("chat:chatwoot:3:conversation:482", {"account": 3, "id": 482}),
    ]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"labels": ["vip"]}, "give phone or conversation_id"),
        ({"phone": "+972505550142"}, "give labels, contact_attributes or conversation_attributes"),
        (ASKED | {"phone": "0505550142"}, "phone is no usable phone"),
        (ASKED | {"phone": "120363041234567890@g.us"}, "phone is no usable phone"),
        (ASKED | {"conversation_id": 0}, "conversation_id must be 1 or more"),
        (ASKED | {"conversation_id": True}, "conversation_id"),
        (ASKED | {"labels": "vip"}, "labels must be a list"),
        (ASKED | {"labels": ["!"]}, "labels.0: a label needs two letters"),
        (ASKED | {"labels": ["x" * 1501]}, "labels.0 has more than 1500 characters"),
        (ASKED | {"labels": ["x" * 300]}, "labels.0: a label has more than 255 characters"),
        (ASKED | {"labels": [f"label-{n}" for n in range(51)]}, "labels has more than 50 entries"),
        (ASKED | {"contact_attributes": {"a": "x" * 1501}}, "has more than 1500 characters"),
        (ASKED | {"contact_attributes": {"a": 10**10}}, "9999999999 or less"),
        (ASKED | {"contact_attributes": {"a": []}}, "contact_attributes.a"),
        (ASKED | {"contact_attributes": {"a b": 1}}, "contact_attributes.a b"),
        (ASKED | {"conversation_attributes": []}, "conversation_attributes must be an object"),
        (ASKED | {"tags": ["vip"]}, "tags is not known here"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(labelling: Served, told: Any, why: str) -> None:
    status, problem = await ask(labelling, told)
    assert (status, await kept(labelling)) == (422, [])
    assert why in problem["detail"]
    assert "972505550142" not in problem["detail"]


async def test_the_same_key_asks_once(labelling: Served) -> None:
    first = await ask(labelling, ASKED, **{"Idempotency-Key": "one"})
    assert first == await ask(labelling, ASKED, **{"Idempotency-Key": "one"})
    assert len(await kept(labelling)) == 1
    status, problem = await ask(labelling, ASKED | {"labels": ["vip"]}, **{"Idempotency-Key": "one"})
    assert (status, "used for other labels" in problem["detail"]) == (409, True)
    assert (await ask(labelling, ASKED, **{"Idempotency-Key": "two"}))[1] != first[1]


async def test_a_reader_may_not_and_without_chatwoot_it_says_what_to_set(labelling: Served, served: Served) -> None:
    answer = await labelling.ask("POST", PATH, json.dumps(ASKED).encode(), who="reader")
    assert answer.status == 403
    status, problem = await ask(served, ASKED)
    assert (status, "Chatwoot is not configured: set CHATWOOT_BASE_URL" in problem["detail"]) == (422, True)

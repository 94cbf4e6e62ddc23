"""What Twilio's answers to a message mean, each from its simulator over real HTTP. Nothing is ever sent twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from adapters.channel import FAILURES_TO_OPEN, Channel
from adapters.http import MAX_BODY_BYTES, open_session
from adapters.ports import Sender
from daemon.sandbox.twilio import TwilioSandbox
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    NotSent,
    Refused,
    TemplateStopped,
    Transient,
    Uncertain,
)
from schemas.webhooks.twilio_codes import MEANINGS
from tests.support.twilio_sending import PERSON, Claims, failing, message, sender_on


@pytest.fixture
async def sandbox() -> AsyncIterator[TwilioSandbox]:
    async with TwilioSandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def sender(session: ClientSession, sandbox: TwilioSandbox) -> Sender:
    return sender_on(session, sandbox)


# the codes


CODES: Final = {
    Refused: (
        "21211 21212 21217 21614 63003 63024 21408 63015 21602 21617 21620 21623 21654 21655 21656 21658 21610 63014"
        " 63033 63032 63016 63013 63026 63005 63006 63021 63028 63030 63027 63029 63040 63019 63034 63043"
        " 63044 63045 63047"
    ),
    ChannelDown: "20003 21606 63007 63002 63001 63008 63020 63022 63051 63062 30002",
    Transient: "20429 63009 63010 63012 63023 30008 30410 63017 63018 63038 63049 30001 21611",
    TemplateStopped: "63041 63042",
    Uncertain: "20500 20503 63037",
}
"""What the reference says of each code."""

LIMITED: Final = {"20429", "63017", "63018", "63038", "30001", "21611"}
EVERY: Final = [(code, kind) for kind, codes in CODES.items() for code in codes.split()]


def test_every_code_that_is_known_is_in_the_table() -> None:
    assert {code for code, _ in EVERY} == MEANINGS.keys()
    assert len(EVERY) == len(MEANINGS)


@pytest.mark.parametrize(("code", "kind"), EVERY)
@pytest.mark.parametrize(("shape", "status"), [("flat", 400), ("nested", 400), ("flat", 429), ("nested", 403)])
async def test_a_code_tells_what_it_means_whatever_the_status_is(
    sender: Sender, sandbox: TwilioSandbox, code: str, kind: type[FerrymanError], shape: str, status: int
) -> None:
    said = f"The 'To' number {PERSON.e164} of Canary with canary is wrong"
    sandbox.faults.add("error", code=int(code), status=status, shape=shape, message=said, retry_after="7")
    error = await failing(sender, sandbox)
    assert (type(error), error.code) == (kind, f"twilio-{code}")
    assert f"error {code}" in str(error)
    assert "number" in error.said
    if isinstance(error, Transient) and kind is Transient:
        assert (error.limited, error.retry_after_s) == (code in LIMITED, 7.0)
    assert sandbox.made == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, ChannelDown),
        (400, Refused),
        (401, ChannelDown),
        (402, ChannelDown),
        (403, ChannelDown),
        (404, ChannelDown),
        (405, ChannelDown),
        (408, Uncertain),
        (409, Refused),
        (422, Refused),
        (429, Transient),
        (500, Uncertain),
        (502, Uncertain),
        (503, Uncertain),
    ],
)
@pytest.mark.parametrize("code", [None, 99999, "canary", True, [1], -5, 10**9], ids=repr)
async def test_without_a_code_that_is_known_the_status_tells(
    sender: Sender, sandbox: TwilioSandbox, code: Any, status: int, kind: type[FerrymanError]
) -> None:
    sandbox.faults.add("error", code=code, status=status)
    error = await failing(sender, sandbox)
    assert (type(error), error.code) == (kind, f"http-{status}")
    assert ("99999" in error.said) is (code == 99999)
    assert "99999" not in str(error)


@pytest.mark.parametrize("code", ["63009", "63010", "63012", "63023", "30008", "30410"])
async def test_trouble_inside_a_5xx_leaves_it_open(sender: Sender, sandbox: TwilioSandbox, code: str) -> None:
    sandbox.faults.add("error", code=int(code), status=500)
    assert type(await failing(sender, sandbox)) is Uncertain


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"status": "failed", "error_code": 63016}, Refused),
        ({"status": "undelivered", "error_code": "63007"}, ChannelDown),
        ({"status": "failed", "error_code": None}, Refused),
        ({"status": "canceled"}, Refused),
    ],
)
async def test_a_message_that_has_failed_at_once_is_not_taken(
    sender: Sender, sandbox: TwilioSandbox, document: dict[str, Any], kind: type[FerrymanError]
) -> None:
    """No status by webhook follows."""
    sandbox.faults.add("raw", status=201, body=json.dumps({"sid": "SM1"} | document))
    assert type(await failing(sender, sandbox)) is kind


# once


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html", "status": 500},
        {"kind": "html", "status": 502},
        {"kind": "html", "status": 503},
        {"kind": "error", "status": 500, "code": 20500},
        {"kind": "error", "status": 503, "code": 20503},
        {"kind": "reset"},
        {"kind": "hang", "seconds": 5},
        {"kind": "short"},
        {"kind": "cut"},
        {"kind": "long", "size": MAX_BODY_BYTES + 1},
        {"kind": "html", "status": 200},
        {"kind": "raw", "status": 201, "body": ""},
        {"kind": "raw", "status": 201, "body": "[1]"},
        {"kind": "raw", "status": 201, "body": "{}"},
        {"kind": "raw", "status": 201, "body": '{"sid": ""}'},
        {"kind": "raw", "status": 200, "body": '{"sid": 7}'},
        {"kind": "raw", "status": 201, "body": "[" * 100_000},
        {"kind": "raw", "status": 204, "body": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "not accepted"])
async def test_what_leaves_it_open_is_uncertain_and_was_sent_once_at_most(
    sender: Sender, sandbox: TwilioSandbox, fault: dict[str, Any], accepted: bool
) -> None:
    sandbox.faults.add(**fault, performed=accepted)
    assert type(await failing(sender, sandbox)) is Uncertain
    assert len(sandbox.ledger.entries) == 1
    assert len(sandbox.made) == accepted


async def test_a_service_that_is_not_there_was_sent_nothing(session: ClientSession, sandbox: TwilioSandbox) -> None:
    error = await failing(sender_on(session, sandbox, values={"url": "http://127.0.0.1:1"}), sandbox)
    assert type(error) is Transient
    assert sandbox.ledger.entries == []


@pytest.mark.parametrize("given", ["7", None])
async def test_too_many_requests_pause_the_scope_and_send_nothing(
    session: ClientSession, sandbox: TwilioSandbox, given: str | None
) -> None:
    sender = sender_on(session, sandbox)
    sandbox.faults.add("limited", times=1, retry_after=given)
    error = await failing(sender, sandbox)
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, None if given is None else 7.0)
    claims = Claims(sandbox)
    with pytest.raises(Transient):
        await sender.send(message(), claims)
    assert claims.asked_before == [], "no place, no claim"
    assert (len(sandbox.ledger.entries), sandbox.made) == (1, [])


async def test_the_simulator_s_own_limit_is_that_of_an_account(sender: Sender, sandbox: TwilioSandbox) -> None:
    sandbox.switches.limit = 1
    await sender.send(message(), Claims(sandbox))
    with pytest.raises(Transient) as caught:
        await sender.send(message(), Claims(sandbox))
    assert (caught.value.limited, caught.value.code) == (True, "twilio-20429")


async def test_a_day_s_limit_waits_for_as_long_as_is_allowed(sender: Sender, sandbox: TwilioSandbox) -> None:
    sandbox.faults.add("error", code=63038)
    error = await failing(sender, sandbox)
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, 3600.0)


async def test_one_person_who_gets_no_marketing_does_not_hold_up_the_others(
    session: ClientSession, sandbox: TwilioSandbox
) -> None:
    channel = Channel("twilio")
    sender = sender_on(session, sandbox, channel=channel)
    sandbox.faults.add("error", code=63049, times=FAILURES_TO_OPEN)
    for _ in range(FAILURES_TO_OPEN):
        error = await failing(sender, sandbox)
        assert isinstance(error, Transient)
        assert (error.limited, error.retry_after_s) == (False, 86_400.0)
        sandbox.ledger.clear()
    assert channel.closed
    await sender.send(message(), Claims(sandbox))


@pytest.mark.parametrize("error", [NotSent("canceled"), RuntimeError("a store broke")], ids=repr)
async def test_what_the_claim_raises_stops_the_send(sender: Sender, sandbox: TwilioSandbox, error: Exception) -> None:
    claims = Claims(sandbox, error)
    with pytest.raises(type(error)) as caught:
        await sender.send(message(), claims)
    assert caught.value is error
    assert (claims.asked_before, sandbox.ledger.entries) == ([0], [])


async def test_a_wrong_token_stops_the_channel_before_the_next_claim(
    session: ClientSession, sandbox: TwilioSandbox
) -> None:
    channel = Channel("twilio")
    sender = sender_on(session, sandbox, channel=channel, values={"auth_token": "wrong"})
    error = await failing(sender, sandbox)
    assert (type(error), error.channel, error.code) == (ChannelDown, "twilio", "twilio-20003")
    claims = Claims(sandbox)
    with pytest.raises(ChannelClosed):
        await sender.send(message(), claims)
    assert claims.asked_before == []


@pytest.mark.parametrize(
    ("values", "code"),
    [({"whatsapp_number": "+15550009999"}, "twilio-63007"), ({"account_sid": "AC1"}, "twilio-20003")],
)
async def test_a_wrong_number_or_account_stops_the_channel(
    session: ClientSession, sandbox: TwilioSandbox, values: dict[str, str], code: str
) -> None:
    error = await failing(sender_on(session, sandbox, values=values), sandbox)
    assert (type(error), error.code) == (ChannelDown, code)

"""What every `NumberChecker` promises, each against its simulator over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.channel import FAILURES_TO_OPEN, Channel
from adapters.gate import Gate
from adapters.http import MAX_BODY_BYTES, open_session
from adapters.ports import NumberChecker
from adapters.redis.limits import RateLimiter
from adapters.registry import CHECKERS
from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.whapi import WhapiSandbox
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, Refused, Transient
from schemas.phone import Phone

HERE, ABSENT = Phone("+972505550142"), Phone("+972505550143")
PRIVATE = ("972505550142", "5550142", "sandbox")


@pytest.fixture(params=list(CHECKERS))
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[CgbSandbox | WhapiSandbox]:
    made: CgbSandbox | WhapiSandbox = CgbSandbox("documented") if request.param == "cgb" else WhapiSandbox()
    async with made as running:
        running.switches.no_whatsapp = [ABSENT.digits]
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def checker_on(
    sandbox: CgbSandbox | WhapiSandbox,
    session: ClientSession,
    *,
    base_url: str | None = None,
    token: str | None = None,
    channel: Channel | None = None,
    limiter: RateLimiter | None = None,
) -> NumberChecker:
    name = "cgb" if isinstance(sandbox, CgbSandbox) else "whapi"
    gate = Gate(
        session=session,
        channel=channel or Channel(name),
        limiter=limiter or RateLimiter(None, per_minute=None, max_wait_s=0.05),
        scope=f"{name}:test",
        system=name,
        timeout_s=2.0,
    )
    return CHECKERS[name]()(gate, base_url=base_url or sandbox.url, api_key=lambda: token or sandbox.token)


@pytest.fixture
def checker(sandbox: CgbSandbox | WhapiSandbox, session: ClientSession) -> NumberChecker:
    return checker_on(sandbox, session)


async def failing(checker: NumberChecker) -> FerrymanError:
    """The error of one question; its text must hold nothing personal."""
    with pytest.raises(FerrymanError) as caught:
        await checker.check([HERE])
    error = caught.value
    assert not any(part in f"{error.full_text} {error!r} {error.__cause__!r}" for part in PRIVATE)
    assert error.__suppress_context__ or error.__context__ is None
    return error


async def test_a_checker_tells_who_is_on_whatsapp_and_who_is_not(checker: NumberChecker) -> None:
    assert await checker.check([HERE]) == [True]
    assert await checker.check([ABSENT]) == [False]


async def test_one_question_is_one_request_for_as_many_numbers_as_it_may_ask_for(
    checker: NumberChecker, sandbox: CgbSandbox | WhapiSandbox
) -> None:
    phones = [Phone(f"+9725055501{n:02d}") for n in range(checker.most)]
    answers = await checker.check(phones)
    assert answers == [phone != ABSENT for phone in phones]
    assert len(sandbox.ledger.entries) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html"},
        {"kind": "html", "status": 503},
        {"kind": "cut"},
        {"kind": "short"},
        {"kind": "reset"},
        {"kind": "hang", "seconds": 5},
        {"kind": "raw", "body": ""},
        {"kind": "raw", "body": "[1"},
        {"kind": "raw", "body": "17"},
        {"kind": "raw", "body": "<html>Sign in</html>"},
        {"kind": "raw", "body": "[" * 100_000},
        {"kind": "raw", "status": 500, "body": '{"valid": true, "contacts": []}'},
    ],
    ids=str,
)
async def test_an_answer_that_is_no_answer_is_asked_for_again(
    checker: NumberChecker, sandbox: CgbSandbox | WhapiSandbox, fault: dict[str, Any]
) -> None:
    """Promise: never Uncertain, as a question changes nothing, also where it goes by POST."""
    sandbox.faults.add(**fault)
    assert type(await failing(checker)) is Transient


async def test_a_service_that_is_not_there_is_transient(
    sandbox: CgbSandbox | WhapiSandbox, session: ClientSession
) -> None:
    assert type(await failing(checker_on(sandbox, session, base_url="http://127.0.0.1:1"))) is Transient


async def test_failures_in_a_row_open_the_breaker_and_then_nothing_is_asked(
    sandbox: CgbSandbox | WhapiSandbox, session: ClientSession
) -> None:
    channel = Channel("whapi")
    checker = checker_on(sandbox, session, channel=channel)
    sandbox.faults.add("html")
    for n in range(FAILURES_TO_OPEN):
        with pytest.raises(Transient):
            await checker.check([Phone(f"+97250555{n:04d}")])
    asked = len(sandbox.ledger.entries)
    with pytest.raises(ChannelClosed):
        await checker.check([HERE])
    assert len(sandbox.ledger.entries) == asked
    assert not channel.closed


@pytest.mark.parametrize("status", [429, 200])
async def test_a_refusal_of_the_rate_pauses_the_scope(
    sandbox: CgbSandbox | WhapiSandbox, session: ClientSession, status: int
) -> None:
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    checker = checker_on(sandbox, session, limiter=limiter)
    sandbox.faults.add("limited", times=1, status=status, retry_after="7")
    error = await failing(checker)
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, 7.0)
    again = await failing(checker)
    assert isinstance(again, Transient)
    assert again.limited
    assert len(sandbox.ledger.entries) == 1, "the pause asks nothing"


async def test_a_token_that_is_not_known_stops_the_channel(
    sandbox: CgbSandbox | WhapiSandbox, session: ClientSession
) -> None:
    error = await failing(checker_on(sandbox, session, token="wrong"))
    assert isinstance(error, ChannelDown)


@pytest.mark.parametrize("status", [200, 400, 422])
async def test_a_refusal_is_refused_whatever_its_status(
    checker: NumberChecker, sandbox: CgbSandbox | WhapiSandbox, status: int
) -> None:
    sandbox.faults.add("error", shape="nested", code=400, status=status, message="972505550142 is wrong")
    assert isinstance(await failing(checker), Refused)


async def test_a_slow_answer_within_the_deadline_is_an_answer(
    checker: NumberChecker, sandbox: CgbSandbox | WhapiSandbox
) -> None:
    sandbox.faults.add("slow", seconds=0.05)
    assert await checker.check([HERE]) == [True]


async def test_an_answer_that_is_too_long_once_is_read_at_the_second_try(
    checker: NumberChecker, sandbox: CgbSandbox | WhapiSandbox
) -> None:
    sandbox.faults.add("long", times=1, size=MAX_BODY_BYTES + 1)
    assert await checker.check([HERE]) == [True]
    assert len(sandbox.ledger.entries) == 2


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "[1]",
        '{"valid": "yes"}',
        '{"valid": null}',
        '{"contacts": []}',
        '{"contacts": [{"input": "972505550199", "status": "valid"}]}',
        '{"contacts": [{"input": "972505550142", "status": "processing"}]}',
        '{"contacts": [{"input": "972505550142", "status": ["valid"]}]}',
        '{"contacts": [{"status": "valid"}]}',
    ],
)
async def test_an_answer_that_does_not_say_is_never_taken_for_a_yes_or_a_no(
    checker: NumberChecker, sandbox: CgbSandbox | WhapiSandbox, body: str
) -> None:
    sandbox.faults.add("raw", body=body)
    with suppress(Transient):  # of another shape, so it is asked again
        assert await checker.check([HERE]) == [None]


async def test_a_gateway_without_the_question_does_not_say(session: ClientSession) -> None:
    async with CgbSandbox("documented") as sandbox:
        sandbox.faults.add("error", status=404, shape="nested", code=404)
        assert await checker_on(sandbox, session).check([HERE]) == [None]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_whapi_refuses_a_token_with_any_of_these(session: ClientSession, status: int) -> None:
    async with WhapiSandbox() as sandbox:
        sandbox.switches.bad_token = status
        error = await failing(checker_on(sandbox, session, token="wrong"))
        assert isinstance(error, ChannelDown)
        assert error.channel == "whapi"


async def test_a_plan_that_is_used_up_stops_whapi(session: ClientSession) -> None:
    async with WhapiSandbox() as sandbox:
        sandbox.switches.checks_left = 1
        checker = checker_on(sandbox, session)
        assert await checker.check([HERE]) == [True]
        assert isinstance(await failing(checker), ChannelDown)


async def test_whapi_is_asked_to_wait_for_its_result_and_may_answer_from_its_cache(session: ClientSession) -> None:
    async with WhapiSandbox() as sandbox:
        sandbox.switches.no_whatsapp = [ABSENT.digits]
        assert await checker_on(sandbox, session).check([HERE, ABSENT]) == [True, False]
        assert sandbox.asked == [[HERE.digits, ABSENT.digits]]
        sandbox.switches.processing = [HERE.digits]
        assert await checker_on(sandbox, session).check([HERE]) == [None]


@pytest.mark.parametrize("notation", ["+972505550142", "972505550142", "+972 50-555-0142"])
async def test_whapi_s_answer_belongs_to_the_number_in_any_notation(session: ClientSession, notation: str) -> None:
    async with WhapiSandbox() as sandbox:
        sandbox.faults.add("raw", body=f'{{"contacts": [{{"input": "{notation}", "status": "invalid"}}]}}')
        assert await checker_on(sandbox, session).check([HERE]) == [False]

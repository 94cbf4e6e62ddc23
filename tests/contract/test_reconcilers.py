"""Whether a provider has taken a message whose answer was lost, against simulators over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias, cast
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from adapters.http import open_session
from adapters.ports import Reconciler, Sender, Several
from adapters.registry import SENDERS
from daemon.sandbox.twilio import TwilioSandbox
from daemon.sandbox.whapi import WhapiSandbox
from schemas.errors import ChannelDown, Transient, Uncertain
from schemas.messages import Choice, Choices, Content, Media, OutboundMessage, Reaction, Template, Text
from schemas.phone import Phone
from tests.support.gates import gate_on
from tests.support.made_up_files import NO_FILES

PHONE: Final = Phone("+972505550142")
OTHER: Final = Phone("+972505550143")
TEXT: Final = Text("Your visa is ready")
URL: Final = "https://files.example.test/visa.pdf"
TEMPLATE: Final = Template("HX" + "0" * 32, None, {"1": "Noa"})

Sandbox: TypeAlias = TwilioSandbox | WhapiSandbox


@pytest.fixture(params=["twilio", "whapi"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    made: Sandbox = TwilioSandbox() if request.param == "twilio" else WhapiSandbox()
    async with made as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.fixture
def sender(sandbox: Sandbox, session: ClientSession) -> Sender:
    provider = "twilio" if isinstance(sandbox, TwilioSandbox) else "whapi"
    values = sandbox.account if isinstance(sandbox, TwilioSandbox) else {"url": sandbox.url, "token": sandbox.token}
    gate = gate_on(session, timeout_s=2.0)
    return SENDERS[provider]()(gate, account=lambda: values, public_url=None, files=NO_FILES)


def looks(sender: Sender) -> Reconciler:
    assert isinstance(sender, Reconciler)
    return sender


def message(content: Content, to: Phone = PHONE) -> OutboundMessage:
    return OutboundMessage(id=uuid4(), to=to, content=content)


async def claimed() -> None:
    return


def ids(sandbox: Sandbox) -> list[str]:
    """Of the messages that were taken."""
    if isinstance(sandbox, TwilioSandbox):
        return [made.sid for made in sandbox.made]
    return [str(one["id"]) for one in sandbox.messages.taken]


def contents(sender: Sender) -> list[Content]:
    every: list[Content] = [
        TEXT,
        Media(URL, "document"),
        Media(URL, "image", "a caption"),
        Choices("Keep?", (Choice("Keep", "keep"),)),
        TEMPLATE,
    ]
    return [content for content in every if sender.refusal(content) is None]


async def test_a_message_whose_answer_was_lost_is_found(sandbox: Sandbox, sender: Sender) -> None:
    for content in contents(sender):
        since = datetime.now(UTC)
        taken = len(ids(sandbox))
        sandbox.faults.add("reset", times=1, performed=True, method="POST")
        with pytest.raises(Uncertain):
            await sender.send(message(content), claimed)
        assert len(ids(sandbox)) == taken + 1
        if isinstance(content, Template):  # what it says is not known, so those before may be it, too
            with pytest.raises(Several) as caught:
                await looks(sender).look_for(message(content), since)
            assert [one.provider_id for one in caught.value.candidates] == ids(sandbox)[::-1]
            continue
        found = await looks(sender).look_for(message(content), since)
        assert found is not None
        assert found.provider_id == ids(sandbox)[-1]


async def test_a_reaction_is_in_no_list(sender: Sender) -> None:
    content = Reaction("Psq-IN01", "👍")
    if sender.refusal(content) is None:
        with pytest.raises(Transient):
            await looks(sender).look_for(message(content), datetime.now(UTC))


async def test_what_was_not_sent_is_not_found(sandbox: Sandbox, sender: Sender) -> None:
    await sender.send(message(TEXT, OTHER), claimed)
    await sender.send(message(Text("another text")), claimed)
    since = datetime.now(UTC)
    sandbox.faults.add("reset", times=1, performed=False, method="POST")
    with pytest.raises(Uncertain):
        await sender.send(message(TEXT), claimed)
    assert await looks(sender).look_for(message(TEXT), since) is None


async def test_a_message_of_another_time_is_another_message(sandbox: Sandbox, sender: Sender) -> None:
    await sender.send(message(TEXT), claimed)
    for away in (timedelta(minutes=5), timedelta(minutes=-5)):
        assert await looks(sender).look_for(message(TEXT), datetime.now(UTC) + away) is None


async def test_of_two_that_say_the_same_none_is_chosen(sandbox: Sandbox, sender: Sender) -> None:
    since = datetime.now(UTC)
    for _ in range(2):
        await sender.send(message(TEXT), claimed)
    with pytest.raises(Several) as caught:
        await looks(sender).look_for(message(TEXT), since)
    assert {one.provider_id for one in caught.value.candidates} == set(ids(sandbox))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "html", "status": 502}, Transient),
        ({"kind": "cut"}, Transient),
        ({"kind": "raw", "body": '{"messages": 7}'}, Transient),
        ({"kind": "raw", "body": "[]"}, Transient),
        ({"kind": "limited"}, Transient),
        ({"kind": "bad_token"}, ChannelDown),
    ],
)
async def test_an_answer_that_is_no_list_tells_nothing(
    sandbox: Sandbox, sender: Sender, fault: dict[str, Any], kind: type[Exception]
) -> None:
    sandbox.faults.add(**(fault | {"method": "GET"}))
    with pytest.raises(kind) as caught:
        await looks(sender).look_for(message(TEXT), datetime.now(UTC))
    assert "5550142" not in str(caught.value)


async def test_a_list_that_does_not_reach_back_tells_nothing(sandbox: Sandbox, sender: Sender) -> None:
    size = 200 if isinstance(sandbox, TwilioSandbox) else 100
    for n in range(size):
        await sender.send(message(Text(f"text {n}")), claimed)
    with pytest.raises(Transient, match="reach back"):
        await looks(sender).look_for(message(TEXT), datetime.now(UTC) - timedelta(hours=1))


def test_senders_without_a_list_are_no_reconcilers() -> None:
    for provider in ("meta", "cgb"):
        assert not hasattr(cast(Any, SENDERS[provider]()), "look_for")

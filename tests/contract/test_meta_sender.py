"""What `MetaSender` promises, against its simulator over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession

from adapters.channel import FAILURES_TO_OPEN, LOOKS_FIRST, PROBE_S, Channel
from adapters.gate import Gate
from adapters.http import open_session
from adapters.meta.sender import MetaSender
from adapters.ports import Sender
from adapters.redis.limits import RateLimiter
from adapters.registry import SENDERS
from daemon.sandbox.meta import MetaSandbox
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    NotSent,
    PairLimited,
    Refused,
    TemplateStopped,
    Transient,
    Uncertain,
)
from schemas.messages import Choice, Choices, Content, Media, OutboundMessage, Reaction, Taken, Template, Text
from schemas.phone import Phone
from schemas.webhooks.meta_codes import CODES
from tests.support.gates import gate_on
from tests.support.made_up_files import NO_FILES

TO = Phone("+972505550142")
TIMEOUT_S = 3.0
TEXT = Text("Your parcel is at the desk")
PRIVATE = (TO.digits, "5550142", "parcel", "EAA", "Sandbox", "1060001")
CLASSES: dict[str, type[FerrymanError]] = {
    "refused": Refused,
    "down": ChannelDown,
    "again": Transient,
    "slow": Transient,
    "wait": Transient,
    "pair": PairLimited,
    "stopped": TemplateStopped,
    "open": Transient,
}


class Claims:
    """A claim that counts how often it is awaited, and what had been asked by then. *error*: what it raises."""

    def __init__(self, sandbox: MetaSandbox, error: Exception | None = None) -> None:
        self._sandbox = sandbox
        self._error = error
        self.asked: list[int] = []

    async def __call__(self) -> None:
        self.asked.append(len(self._sandbox.ledger.entries))
        if self._error is not None:
            raise self._error


class Clock:
    """A clock that is set."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def sandbox() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def gate(session: ClientSession, channel: Channel | None = None, limiter: RateLimiter | None = None) -> Gate:
    made = gate_on(session, channel=channel or Channel("meta"), limiter=limiter, timeout_s=TIMEOUT_S)
    return replace(made, scope="meta:test", system="Meta")


def sender_on(
    sandbox: MetaSandbox,
    session: ClientSession,
    *,
    channel: Channel | None = None,
    limiter: RateLimiter | None = None,
    **account: str,
) -> Sender:
    make = SENDERS["meta"]()
    return make(
        gate(session, channel, limiter), account=lambda: sandbox.account() | account, public_url=None, files=NO_FILES
    )


def meta_on(sandbox: MetaSandbox, session: ClientSession) -> MetaSender:
    return MetaSender(gate(session), account=sandbox.account, files=NO_FILES)


@pytest.fixture
def sender(sandbox: MetaSandbox, session: ClientSession) -> Sender:
    return sender_on(sandbox, session)


def to(person: Phone = TO, content: Content = TEXT, *, id: UUID | None = None) -> OutboundMessage:
    return OutboundMessage(id=id or uuid4(), to=person, content=content)


async def failing(sender: Sender, sandbox: MetaSandbox, message: OutboundMessage | None = None) -> FerrymanError:
    """The error of one send; nothing of it may be personal."""
    with pytest.raises(FerrymanError) as caught:
        await sender.send(message or to(), Claims(sandbox))
    error = caught.value
    assert not any(part in f"{error.full_text} {error!r} {error.__cause__!r}" for part in PRIVATE)
    return error


# what is sent


async def test_a_text_is_taken_with_our_id_and_meta_s_id_comes_back(sender: Sender, sandbox: MetaSandbox) -> None:
    sandbox.switches.aliases = {TO.digits: "972505550199"}
    message = to(content=Text("first\u202e line\nhttps://example.test"))
    assert await sender.send(message, Claims(sandbox)) == Taken(sandbox.sent[0].id, "972505550199")
    assert sandbox.sent[0].body == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": TO.e164,
        "biz_opaque_callback_data": str(message.id),
        "type": "text",
        "text": {"body": "first line\nhttps://example.test", "preview_url": False},
    }


def header(**parameter: Any) -> dict[str, Any]:
    return {"type": "header", "parameters": [parameter]}


def body(*parameters: dict[str, str]) -> dict[str, Any]:
    return {"type": "body", "parameters": [{"type": "text", **parameter} for parameter in parameters]}


@pytest.mark.parametrize(
    ("variables", "components"),
    [
        ({}, None),
        ({"fallback_message": "said in another way"}, None),
        ({"2": "b", "10": "j", "1": "a"} | {str(n): "x" for n in range(3, 10)}, [
            body(*({"text": text} for text in ["a", "b", *["x"] * 7, "j"]))
        ]),
        ({"who": "Noa", "when": "now"}, [
            body({"text": "Noa", "parameter_name": "who"}, {"text": "now", "parameter_name": "when"})
        ]),
        ({"1": " two\nlines,\tand      blanks\u202e "}, [body({"text": "two lines, and    blanks"})]),
        ({"header": "Order 7", "1": "a"}, [header(type="text", text="Order 7"), body({"text": "a"})]),
        ({"header": "https://cdn.example.test/h.PNG?x=1"}, [
            header(type="image", image={"link": "https://cdn.example.test/h.PNG?x=1"})
        ]),
        ({"header": "https://cdn.example.test/h.mp4"}, [
            header(type="video", video={"link": "https://cdn.example.test/h.mp4"})
        ]),
        ({"header": "https://cdn.example.test/h.pdf"}, [
            header(type="document", document={"link": "https://cdn.example.test/h.pdf"})
        ]),
        ({"button_1": "t/991", "1": "a"}, [
            body({"text": "a"}),
            {"type": "button", "sub_type": "url", "index": "1", "parameters": [{"type": "text", "text": "t/991"}]},
        ]),
    ],
    ids=str,
)  # fmt: skip
async def test_variables_fill_a_template_s_places(
    sender: Sender, sandbox: MetaSandbox, variables: dict[str, str], components: list[Any] | None
) -> None:
    template = Template("parcel_ready", "es_AR", variables)
    assert sender.refusal(template) is None
    await sender.send(to(content=template), Claims(sandbox))
    sent = sandbox.sent[0].body
    named = {"name": "parcel_ready", "language": {"code": "es_AR"}}
    assert (sent["type"], sent["template"]) == ("template", named | ({"components": components} if components else {}))


@pytest.mark.parametrize(
    ("media", "wanted"),
    [
        (
            Media("https://cdn.example.test/a.jpg", "image", caption="Front\nview", filename="a.jpg"),
            {"link": "https://cdn.example.test/a.jpg", "caption": "Front\nview"},
        ),
        (
            Media("https://cdn.example.test/v", "document", caption="Visa", filename="visa 7.pdf"),
            {"link": "https://cdn.example.test/v", "caption": "Visa", "filename": "visa 7.pdf"},
        ),
        (Media("https://cdn.example.test/a.ogg", "audio"), {"link": "https://cdn.example.test/a.ogg"}),
        (Media("http://cdn.example.test/a.mp4", "video", caption=""), {"link": "http://cdn.example.test/a.mp4"}),
    ],
    ids=lambda found: str(getattr(found, "type", "")),
)
async def test_a_file_goes_by_its_address(
    sender: Sender, sandbox: MetaSandbox, media: Media, wanted: dict[str, str]
) -> None:
    assert sender.refusal(media) is None
    await sender.send(to(content=media), Claims(sandbox))
    sent = sandbox.sent[0].body
    assert (sent["type"], sent[media.type]) == (media.type, wanted)


def choices(count: int, *, title: str = "Slot", text: str = "Keep the slot?") -> Choices:
    return Choices(text, [Choice(f"{title} {n}", f"s{n}") for n in range(count)])


@pytest.mark.parametrize("count", [1, 3])
async def test_few_choices_are_buttons(sender: Sender, sandbox: MetaSandbox, count: int) -> None:
    await sender.send(to(content=choices(count)), Claims(sandbox))
    buttons = [{"type": "reply", "reply": {"id": f"s{n}", "title": f"Slot {n}"}} for n in range(count)]
    assert sandbox.sent[0].body["interactive"] == {
        "type": "button",
        "body": {"text": "Keep the slot?"},
        "action": {"buttons": buttons},
    }


@pytest.mark.parametrize(("count", "title"), [(4, "Slot"), (10, "Slot"), (2, "A title too long for")])
async def test_more_choices_or_longer_ones_are_a_list(
    sender: Sender, sandbox: MetaSandbox, count: int, title: str
) -> None:
    await sender.send(to(content=choices(count, title=title)), Claims(sandbox))
    rows = [{"id": f"s{n}", "title": f"{title} {n}"} for n in range(count)]
    assert sandbox.sent[0].body["interactive"] == {
        "type": "list",
        "body": {"text": "Keep the slot?"},
        "action": {"button": "Choose", "sections": [{"rows": rows}]},
    }


# what is refused before it is queued


URL = "https://cdn.example.test/a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Text("x" * 4097), "longer than 4096"),
        (Text(" \n "), "is empty"),
        (Text("\u202e"), "is empty"),
        (Template("Parcel Ready", "en_US"), "small letters"),
        (Template("parcel_ready"), "language"),
        (Template("parcel_ready", "english"), "language"),
        (Template("parcel_ready", "en-US"), "language"),
        (Template("parcel_ready", "en_US", {"1": "a", "3": "c"}), "without a gap"),
        (Template("parcel_ready", "en_US", {"2": "b"}), "without a gap"),
        (Template("parcel_ready", "en_US", {"1": "a", "who": "Noa"}), "do not mix"),
        (Template("parcel_ready", "en_US", {"1": " \n"}), "empty"),
        (Template("parcel_ready", "en_US", {"1": "x" * 1025}), "longer than 1024"),
        (Template("parcel_ready", "en_US", {"header": f"{URL}.gif"}), "must end in"),
        (Template("parcel_ready", "en_US", {"header": "https://[cdn/h.png"}), "must end in"),
        (Media("ftp://cdn.example.test/a.jpg", "image"), "https://"),
        (Media("/files/a.jpg", "image"), "https://"),
        (Media("https://[cdn/a.jpg", "image"), "https://"),
        (Media(f"{URL}.gif", "image"), "no .gif file as image; send JPEG or PNG"),
        (Media(f"{URL}.WEBP?v=2", "image"), "no .webp file"),
        (Media(f"{URL}.mov", "video"), "MP4 or 3GP"),
        (Media(f"{URL}.wav", "audio"), "OGG"),
        (Media(f"{URL}.ogg", "audio", caption="listen"), "no caption with audio"),
        (Media(f"{URL}.jpg", "image", caption="x" * 1025), "longer than 1024"),
        (choices(0), "these are 0"),
        (choices(11), "these are 11"),
        (choices(2, title="x" * 23), "longer than 24"),
        (choices(2, text=""), "is empty"),
        (choices(2, text="x" * 1025), "longer than 1024"),
        (Choices("?", [Choice("Keep", "a"), Choice(" Keep", "b")]), "same title"),
        (Choices("?", [Choice("Keep", "a"), Choice("Drop", "a")]), "same value"),
        (Choices("?", [Choice("Keep", "a"), Choice("", "b")]), "title of a choice is empty"),
        (Choices("?", [Choice("Keep", "")]), "value of a choice is empty"),
        (Choices("?", [Choice("Keep", "v" * 201)]), "longer than 200"),
        (Reaction("wamid.IN1", "👍👍"), "one emoji"),
        (Reaction("wamid.IN1", "ok"), "one emoji"),
    ],
    ids=lambda found: found if isinstance(found, str) else type(found).__name__,
)
async def test_what_whatsapp_does_not_carry_is_refused_before_any_call(
    sender: Sender, sandbox: MetaSandbox, content: Content, why: str
) -> None:
    said = sender.refusal(content)
    assert said is not None
    assert why in said
    assert "xxx" not in said
    claims = Claims(sandbox)
    with pytest.raises(Refused) as caught:
        await sender.send(to(content=content), claims)
    assert str(caught.value) == said
    assert (claims.asked, sandbox.ledger.entries) == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        Text("x" * 4096),
        Text("😀" * 4096),
        Media(f"{URL}.jpg", "image", caption="x" * 1024),
        Media(f"{URL}.gif", "document"),
        choices(3, title="x" * 18),
        choices(3, title="x" * 19),
        choices(10, title="x" * 22, text="x" * 1024),
        Template("parcel_ready", "he", {"1": "x" * 1024, "button_0": "x"}),
        Choices("?", [Choice("Keep", "v" * 200)]),
        Reaction("wamid.IN1", "👩‍🚀"),
    ],
    ids=lambda content: type(content).__name__,
)
async def test_what_just_fits_is_taken(sender: Sender, sandbox: MetaSandbox, content: Content) -> None:
    assert sender.refusal(content) is None
    await sender.send(to(content=content), Claims(sandbox))
    assert len(sandbox.sent) == 1


# what an answer means


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("code", [code for code in CODES if code not in range(201, 299)])
async def test_a_code_decides_whatever_the_status_of_http(
    sandbox: MetaSandbox, session: ClientSession, code: int, status: int
) -> None:
    verdict = CODES[code].verdict
    wanted = Uncertain if verdict == "open" and status == 500 else CLASSES[verdict]
    channel = Channel("meta")
    sandbox.switches.refused = {TO.digits: code}
    sandbox.switches.error_status = status
    error = await failing(sender_on(sandbox, session, channel=channel), sandbox)
    assert (type(error), error.code, error.channel) == (wanted, f"meta-{code}", "meta")
    assert str(error) == f"Meta: {CODES[code].means} (error {code})"
    if isinstance(error, Transient):
        assert (error.limited, error.retry_after_s) == (verdict == "slow", CODES[code].wait_s)
    assert channel.closed is (verdict != "down")
    assert sandbox.sent == []


async def test_an_account_that_is_at_fault_is_not_asked_again_at_once(
    sandbox: MetaSandbox, session: ClientSession
) -> None:
    sender = sender_on(sandbox, session, access_token="EAAWrong")
    assert isinstance(await failing(sender, sandbox), ChannelDown)
    assert isinstance(await failing(sender, sandbox), ChannelClosed)
    assert len(sandbox.ledger.entries) == 1


async def test_another_id_of_a_number_is_the_account_s_fault(sandbox: MetaSandbox, session: ClientSession) -> None:
    error = await failing(sender_on(sandbox, session, phone_number_id="999"), sandbox)
    assert (type(error), error.code) == (ChannelDown, "meta-33")


async def test_one_person_s_limit_delays_nobody_else(sandbox: MetaSandbox, session: ClientSession) -> None:
    channel = Channel("meta")
    sender = sender_on(sandbox, session, channel=channel, limiter=RateLimiter(None, per_minute=None, max_wait_s=0.05))
    sandbox.switches.pair_burst = 1
    await sender.send(to(), Claims(sandbox))
    for _ in range(FAILURES_TO_OPEN + 1):
        error = await failing(sender, sandbox)
        assert (error.code, error.answered) == ("meta-131056", True)
    await sender.send(to(Phone("+46701740606")), Claims(sandbox))
    assert channel.closed
    assert len(sandbox.sent) == 2


async def test_a_person_whose_messages_alone_fail_stops_nobody_else_s(
    sandbox: MetaSandbox, session: ClientSession
) -> None:
    channel = Channel("meta")
    sender = sender_on(sandbox, session, channel=channel)
    sandbox.faults.add("html", status=502, contact=TO.digits)
    for _ in range(FAILURES_TO_OPEN + 1):
        assert isinstance(await failing(sender, sandbox), Uncertain)
    assert [look.status for look in sandbox.ledger.of("look")] == [200, 200], "the number itself is answered"
    await sender.send(to(Phone("+46701740606")), Claims(sandbox))
    assert channel.closed


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"X-Business-Use-Case-Usage": '{"99": [{"estimated_time_to_regain_access": 2, "call_count": 100}]}'}, 120.0),
        ({"X-Business-Use-Case-Usage": '{"9": [{"estimated_time_to_regain_access": 0}]}'}, None),
        ({"X-Business-Use-Case-Usage": '{"9": [{"estimated_time_to_regain_access": 999999}]}'}, 3600.0),
        ({"X-Business-Use-Case-Usage": '{"9": {"x": 1}, "8": [1, {"estimated_time_to_regain_access": "2"}]}'}, None),
        ({"X-Business-Use-Case-Usage": "[1]"}, None),
        ({"X-Business-Use-Case-Usage": "soon"}, None),
    ],
    ids=str,
)
async def test_a_limit_of_the_number_pauses_all_calls_for_as_long_as_it_says(
    sandbox: MetaSandbox, session: ClientSession, headers: dict[str, str], wait_s: float | None
) -> None:
    sender = sender_on(sandbox, session, limiter=RateLimiter(None, per_minute=None, max_wait_s=0.05))
    sandbox.switches.refused, sandbox.switches.error_headers = {TO.digits: 130429}, headers
    error = await failing(sender, sandbox)
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, wait_s)
    await failing(sender, sandbox, to(Phone("+46701740606")))
    assert len(sandbox.ledger.entries) == 1, "the pause asks nothing"


LIMIT = {"kind": "limited", "retry_after": "7"}


@pytest.mark.parametrize(
    ("fault", "wanted", "taken"),
    [
        ({"kind": "html", "status": 500, "performed": True}, Uncertain, 1),
        ({"kind": "html", "status": 502}, Uncertain, 0),
        ({"kind": "raw", "status": 503, "body": '{"error": {"code": 999999}}', "performed": True}, Uncertain, 1),
        ({"kind": "raw", "status": 500, "body": '{"error": {"code": 1}}', "performed": True}, Uncertain, 1),
        ({"kind": "reset", "performed": True}, Uncertain, 1),
        ({"kind": "reset"}, Uncertain, 0),
        ({"kind": "hang", "seconds": 10 * TIMEOUT_S}, Uncertain, 1),
        ({"kind": "cut"}, Uncertain, 1),
        ({"kind": "short"}, Uncertain, 1),
        ({"kind": "long"}, Uncertain, 1),
        ({"kind": "html", "status": 200, "performed": True}, Uncertain, 1),
        ({"kind": "raw", "body": "", "performed": True}, Uncertain, 1),
        ({"kind": "raw", "body": "[]", "performed": True}, Uncertain, 1),
        ({"kind": "raw", "body": '{"messages": []}', "performed": True}, Uncertain, 1),
        ({"kind": "raw", "body": '{"messages": [{"id": 7}]}', "performed": True}, Uncertain, 1),
        ({"kind": "raw", "body": '{"messages": {"id": "wamid.1"}}', "performed": True}, Uncertain, 1),
        ({"kind": "raw", "body": '{"error": {"code": 131026}}'}, Refused, 0),
        (LIMIT, Transient, 0),
        (LIMIT | {"status": 400}, Transient, 0),
        ({"kind": "raw", "status": 429, "body": "slow down"}, Transient, 0),
        ({"kind": "raw", "status": 408, "body": ""}, Transient, 0),
        ({"kind": "raw", "status": 302, "body": ""}, ChannelDown, 0),
        ({"kind": "raw", "status": 401, "body": "{}"}, ChannelDown, 0),
        ({"kind": "html", "status": 403}, ChannelDown, 0),
        ({"kind": "html", "status": 404}, ChannelDown, 0),
        ({"kind": "bad_token"}, ChannelDown, 0),
        ({"kind": "raw", "status": 400, "body": '{"error": "no"}'}, Refused, 0),
        ({"kind": "raw", "status": 400, "body": '{"error": {"code": true}}'}, Refused, 0),
        ({"kind": "raw", "status": 400, "body": '{"error": {"code": 999999}}'}, Refused, 0),
        ({"kind": "raw", "status": 413, "body": ""}, Refused, 0),
    ],
    ids=str,
)
async def test_whatever_the_answer_a_message_is_sent_once_at_most_and_the_error_says_what_is_known(
    sender: Sender, sandbox: MetaSandbox, fault: dict[str, Any], wanted: type[FerrymanError], taken: int
) -> None:
    sandbox.faults.add(**fault)
    message = to()
    assert type(await failing(sender, sandbox, message)) is wanted
    assert sandbox.sends()[str(message.id)] == taken
    assert len(sandbox.ledger.of("send", TO.digits)) == 1


async def test_a_service_that_is_not_there_has_taken_nothing(sandbox: MetaSandbox, session: ClientSession) -> None:
    error = await failing(sender_on(sandbox, session, url="http://127.0.0.1:1/v23.0"), sandbox)
    assert (type(error), error.code) == (Transient, "no-connection")


async def test_what_meta_wrote_is_kept_without_what_is_personal(sender: Sender, sandbox: MetaSandbox) -> None:
    message = f"Recipient {TO.digits} has no parcel at the desk, token {sandbox.token}, number of parameters (1)"
    sandbox.faults.add("error", code=132000, message=message)
    error = await failing(sender, sandbox)
    assert "number of parameters (1)" in error.said


# the claim


async def test_the_claim_is_awaited_once_before_the_first_byte(sender: Sender, sandbox: MetaSandbox) -> None:
    claims = Claims(sandbox)
    await sender.send(to(), claims)
    assert claims.asked == [0]
    assert len(sandbox.sent) == 1


@pytest.mark.parametrize("error", [NotSent("taken back"), RuntimeError("the store is away")], ids=repr)
async def test_what_the_claim_raises_stops_the_send(sender: Sender, sandbox: MetaSandbox, error: Exception) -> None:
    claims = Claims(sandbox, error)
    with pytest.raises(type(error), match=str(error)):
        await sender.send(to(), claims)
    assert (claims.asked, sandbox.ledger.entries) == ([0], [])


async def test_a_message_that_has_no_place_is_not_claimed(sandbox: MetaSandbox, session: ClientSession) -> None:
    limiter = RateLimiter(None, per_minute=None, max_wait_s=0.05)
    sender, claims = sender_on(sandbox, session, limiter=limiter), Claims(sandbox)
    await limiter.pause("meta:test", 60)
    with pytest.raises(FerrymanError):
        await sender.send(to(), claims)
    assert (claims.asked, sandbox.ledger.entries) == ([], [])


async def test_a_new_token_is_taken_at_the_next_call(sandbox: MetaSandbox, session: ClientSession) -> None:
    channel = Channel("meta")
    account = sandbox.account() | {"access_token": "EAAOld"}
    sender = SENDERS["meta"]()(gate(session, channel), account=lambda: account, public_url=None, files=NO_FILES)
    with pytest.raises(ChannelDown):
        await sender.send(to(), Claims(sandbox))
    account["access_token"] = sandbox.token
    channel.probe_now()
    await sender.send(to(), Claims(sandbox))
    assert (channel.closed, len(sandbox.sent)) == (True, 1)


# while Meta is away


async def opened(sender: Sender, sandbox: MetaSandbox, **fault: Any) -> None:
    """So many calls end in doubt that no more are made."""
    sandbox.faults.add("html", **({"status": 503} | fault))
    for n in range(FAILURES_TO_OPEN):
        with pytest.raises(Uncertain):
            await sender.send(to(Phone(f"+97250555{n:04d}")), Claims(sandbox))
    with pytest.raises(ChannelClosed):
        await sender.send(to(), Claims(sandbox))


async def test_no_message_is_spent_on_finding_out_whether_meta_is_back(
    sandbox: MetaSandbox, session: ClientSession
) -> None:
    now = Clock()
    sender, claims = sender_on(sandbox, session, channel=Channel("meta", now)), Claims(sandbox)
    await opened(sender, sandbox)
    for _ in range(LOOKS_FIRST - 1):
        now.at += PROBE_S
        with pytest.raises(Transient):
            await sender.send(to(), claims)
    assert claims.asked == []
    sandbox.faults.clear()
    now.at += PROBE_S
    await sender.send(to(), claims)
    assert (len(claims.asked), len(sandbox.sent)) == (1, 1)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_where_there_is_no_such_look_the_message_finds_out(
    sandbox: MetaSandbox, session: ClientSession, status: int
) -> None:
    now = Clock()
    sender, claims = sender_on(sandbox, session, channel=Channel("meta", now)), Claims(sandbox)
    await opened(sender, sandbox, method="POST")
    sandbox.faults.clear()
    sandbox.faults.add("html", status=status, method="GET")
    now.at += PROBE_S
    await sender.send(to(), claims)
    assert len(sandbox.sent) == 1


async def test_where_the_look_is_never_answered_a_message_finds_out_in_the_end(
    sandbox: MetaSandbox, session: ClientSession
) -> None:
    now = Clock()
    sender, claims = sender_on(sandbox, session, channel=Channel("meta", now)), Claims(sandbox)
    await opened(sender, sandbox, method="POST")
    sandbox.faults.clear()
    sandbox.faults.add("html", status=500, method="GET")
    for _ in range(LOOKS_FIRST - 1):
        now.at += PROBE_S
        with pytest.raises(Transient):
            await sender.send(to(), claims)
    now.at += PROBE_S
    await sender.send(to(), claims)
    assert len(sandbox.sent) == 1


# beside messages


async def test_a_message_is_marked_as_read_and_done_twice_does_no_harm(
    sandbox: MetaSandbox, session: ClientSession
) -> None:
    sender = meta_on(sandbox, session)
    sandbox.chats.note("wamid.IN1", TO.digits, theirs=True)
    for _ in range(2):
        await sender.mark_read("wamid.IN1")
    assert sandbox.read == ["wamid.IN1"] * 2
    with pytest.raises(Refused) as caught:
        await sender.mark_read("wamid.unknown")
    assert caught.value.code == "meta-131009"
    sandbox.faults.add("html", status=502)
    with pytest.raises(Transient):
        await sender.mark_read("wamid.IN1")


@pytest.mark.parametrize("emoji", ["👍", ""])
async def test_a_reaction_is_given_and_taken_back_in_one_claimed_call(
    sandbox: MetaSandbox, sender: Sender, emoji: str
) -> None:
    claims = Claims(sandbox)
    taken = await sender.send(to(content=Reaction("wamid.IN1", emoji)), claims)
    (sent,) = sandbox.sent
    assert (taken.provider_id, sent.body["reaction"]) == (sent.id, {"message_id": "wamid.IN1", "emoji": emoji})
    assert (claims.asked, len(sandbox.ledger.entries)) == ([0], 1)


async def test_a_reaction_whose_answer_is_lost_is_in_doubt(sandbox: MetaSandbox, sender: Sender) -> None:
    sandbox.faults.add("reset", performed=True, times=1)
    with pytest.raises(Uncertain):
        await sender.send(to(content=Reaction("wamid.IN1", "👍")), Claims(sandbox))

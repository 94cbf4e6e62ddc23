"""The outbound worker: which messages go out, which do not and why, and what is left behind by a call that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from adapters.http import coded
from adapters.ports import Claim
from adapters.postgres.deliveries import Sent
from adapters.postgres.holds import Held, TemplateStop, Waits
from adapters.postgres.messages import Asked, Ended, MessageState, Request
from adapters.postgres.opt_outs import Preference
from adapters.postgres.windows import Written
from daemon.bus.outcome import Done, Later, Turn
from daemon.messages.content import from_json, kind_of, to_json
from daemon.messages.holding import SPREAD_S, STOPPED_FOR
from daemon.messages.outbound import CUT_SHORT, WORKER, buried, handle
from daemon.messages.requests import event_id_of, event_of
from daemon.messages.rules import MARGIN, OUTSIDE, WINDOW
from daemon.messages.wiring import MessageDeps
from schemas.envelope import Event
from schemas.errors import (
    ChannelDown,
    FerrymanError,
    OutsideWindow,
    PairLimited,
    Refused,
    StoreAway,
    TemplateStopped,
    Transient,
    Uncertain,
    Unwritten,
)
from schemas.messages import Choice, Choices, Content, Media, OutboundMessage, Reaction, Taken, Template, Text
from schemas.phone import Phone

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
PHONE = "+972505550142"
TEMPLATE = Template("order_confirmation", "he", {"1": "Noa"})


class FakeSender:
    """Takes messages; *error* is raised after the claim, *early* before it."""

    def __init__(self) -> None:
        self.sent: list[OutboundMessage] = []
        self.error: FerrymanError | None = None
        self.early: FerrymanError | None = None

    def refusal(self, content: Content) -> str | None:
        return None

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        if self.early is not None:
            raise self.early
        await claim()
        self.sent.append(message)
        if self.error is not None:
            raise self.error
        return Taken("wamid.1")


class FakePair:
    """Lets a message go after *wait* seconds; *refusals*: the messages that were refused."""

    def __init__(self) -> None:
        self.wait = 0.0
        self.refusals: list[str] = []

    async def wait_s(self, scope: str, line: str, message: str) -> float:
        assert (scope, line) == ("meta:default", PHONE)
        return self.wait

    async def refused(self, scope: str, line: str, message: str) -> float:
        self.refusals.append(message)
        return 4.0 ** (len(self.refusals) - 1)


class World:
    """One message and its surroundings."""

    def __init__(self, content: Content = TEMPLATE, provider: str = "meta") -> None:
        self.id = uuid4()
        self.provider = provider
        self.content = content
        self.sender = FakeSender()
        self.status: str | None = "queued"
        self.attempts = 0
        self.event_id: str | None = None
        self.written_at: datetime | None = None
        self.unclaimed: list[tuple[UUID, int, str]] = []
        self.stop: tuple[datetime, str] | None = None
        self.pair = FakePair()
        self.uncorrelated = False
        self.counted: list[tuple[str, str]] = []
        stand_in = SimpleNamespace(
            senders={(provider, "default"): self.sender},
            state=self._state,
            claim=self._claim,
            unclaim=self._unclaim,
            pairs={"meta": self.pair},
            uncorrelated=self._uncorrelated,
            accounts=None,  # it has no route
            count=lambda *ended: self.counted.append(ended),
        )
        self.deps = cast(MessageDeps, stand_in)

    async def _state(self, asked: Asked) -> MessageState:
        assert (asked.id, asked.line) == (self.id, PHONE)
        until, why = self.stop or (None, None)
        return MessageState(
            self.status,
            self.attempts,
            "Noa",
            self.written_at,
            stopped_until=until,
            stopped_why=why,
            event_id=self.event_id,
            provider=self.provider,
            account="default",
            conversation=481,
        )

    async def _uncorrelated(self, id: UUID, phone: str) -> bool:
        assert (id, phone) == (self.id, PHONE)
        return self.uncorrelated

    async def _claim(self, id: UUID, event_id: str, by: tuple[str, str]) -> int | None:
        assert by == (self.provider, "default")
        if self.status != "queued":
            return None
        self.status = "sending"
        self.attempts += 1
        return self.attempts

    async def _unclaim(self, id: UUID, attempt: int, why: str) -> None:
        assert (self.status, attempt) == ("sending", self.attempts)
        self.status = "queued"
        self.unclaimed.append((id, attempt, why))

    @property
    def event(self) -> Event:
        request = Request(
            id=self.id,
            provider=self.provider,
            account="default",
            phone=PHONE,
            kind=kind_of(self.content),
            content=to_json(self.content),
            purpose="api",
            event_id=event_id_of(self.id),
        )
        return event_of(request, NOW)

    async def run(self) -> Done:
        outcome = await handle(self.event, self.deps, Turn(now=NOW))
        assert isinstance(outcome, Done)
        return outcome


def ended(done: Done) -> Ended:
    (row,) = [row for row in done.rows if isinstance(row, Ended)]
    return row


async def test_a_message_is_claimed_sent_and_recorded_with_the_provider_s_id() -> None:
    world = World()
    done = await world.run()
    assert world.sender.sent == [
        OutboundMessage(id=world.id, to=Phone.parse_e164(PHONE), content=TEMPLATE, name="Noa", conversation=481)
    ]
    assert ended(done) == Ended(id=world.id, status="sent", at=NOW, provider_id="wamid.1")
    assert Sent(world.id, "meta", "wamid.1") in done.rows
    (event,) = done.emit
    assert (event.type, event.subject, event.json()["provider_message_id"]) == ("message.sent", PHONE, "wamid.1")


@pytest.mark.parametrize(
    ("content", "error", "status", "counted"),
    [
        (TEMPLATE, None, "queued", ["sent"]),
        (Text("no window"), None, "queued", ["skipped"]),
        (TEMPLATE, OutsideWindow("no window"), "queued", ["skipped"]),
        (TEMPLATE, Refused("no such number"), "queued", ["failed"]),
        (TEMPLATE, Uncertain("no answer"), "queued", ["uncertain"]),
        (TEMPLATE, None, "sending", ["uncertain"]),
        (TEMPLATE, None, "sent", []),
        (TEMPLATE, Transient("away"), "queued", []),
    ],
)
async def test_a_message_is_counted_by_its_end(
    content: Content, error: FerrymanError | None, status: str, counted: list[str]
) -> None:
    world = World(content)
    world.sender.error, world.status = error, status
    with suppress(Uncertain, Transient):
        await world.run()
    assert world.counted == [("meta", outcome) for outcome in counted]


async def test_an_id_that_cannot_be_stored_is_left_out() -> None:
    class Odd(FakeSender):
        async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
            await claim()
            return Taken("wamid.\x00")

    world = World()
    world.deps.senders[("meta", "default")] = Odd()  # type: ignore[index]
    done = await world.run()
    assert done.rows == (Ended(id=world.id, status="sent", at=NOW),)


@pytest.mark.parametrize(
    ("content", "provider", "ago", "sent"),
    [
        (Text("hello"), "meta", None, False),
        (Text("hello"), "meta", WINDOW - MARGIN, False),
        (Text("hello"), "meta", WINDOW - MARGIN - timedelta(seconds=1), True),
        (Text("hello"), "cgb", timedelta(0), True),
        (Text("hello"), "chatwoot", None, False),
        (Text("hello"), "chatwoot", timedelta(0), True),
        (Text("hello"), "whapi", None, True),
        (Media("https://example.com/a.pdf", "document"), "twilio", None, False),
        (Choices("Keep?", (Choice("Yes", "y"),)), "meta", None, False),
        (Reaction("wamid.IN1", "👍"), "meta", None, False),
        (Reaction("wamid.IN1", ""), "meta", WINDOW - MARGIN, False),
        (Reaction("wamid.IN1", "👍"), "meta", timedelta(0), True),
        (Reaction("Psq-IN01", "👍"), "whapi", None, True),
        (TEMPLATE, "meta", None, True),
    ],
)
async def test_free_text_goes_out_inside_the_window_alone(
    content: Content, provider: str, ago: timedelta | None, sent: bool
) -> None:
    world = World(content, provider)
    world.written_at = None if ago is None else NOW - ago
    done = await world.run()
    assert bool(world.sender.sent) is sent
    assert ended(done).status == ("sent" if sent else "skipped")
    assert sent or ("window" in OUTSIDE and ended(done).error == OUTSIDE)


async def test_free_text_is_skipped_where_the_provider_knows_that_the_window_is_closed() -> None:
    world = World(Text("hello"), "chatwoot")
    world.written_at = NOW
    world.sender.early = OutsideWindow("Chatwoot: outside the customer-service window")
    done = await world.run()
    assert (ended(done).status, done.skipped, done.emit) == ("skipped", "not allowed", ())
    assert "window" in str(ended(done).error)


@pytest.mark.parametrize("status", ["sent", "delivered", "canceled", "uncertain", "failed", None])
async def test_a_message_that_is_not_queued_any_more_is_left_alone(status: str | None) -> None:
    world = World()
    world.status = status
    done = await world.run()
    assert (done.rows, world.sender.sent) == ((), [])
    assert done.skipped


async def test_a_message_whose_call_was_cut_short_is_uncertain_and_never_sent_again() -> None:
    world = World()
    world.status = "sending"
    with pytest.raises(Uncertain, match=CUT_SHORT):
        await world.run()
    assert world.sender.sent == []
    (row,) = buried(world.event, Uncertain(CUT_SHORT), Turn(now=NOW))
    assert isinstance(row, Ended)
    assert (row.id, row.status, row.error) == (world.id, "uncertain", CUT_SHORT)


async def test_a_call_in_doubt_stays_claimed() -> None:
    world = World()
    world.sender.error = Uncertain("Meta: no answer in time")
    with pytest.raises(Uncertain):
        await world.run()
    assert (world.status, world.unclaimed) == ("sending", [])


@pytest.mark.parametrize(
    "error",
    [
        lambda: Transient("Meta: 429", limited=True),
        lambda: Transient("Meta: refused connection"),
        lambda: ChannelDown("Meta: the token is refused", channel="meta"),
        lambda: StoreAway("Redis is away"),
    ],
)
async def test_a_call_that_has_done_nothing_gives_its_claim_back(error: Callable[[], FerrymanError]) -> None:
    world = World()
    world.sender.error = error()
    with pytest.raises(type(world.sender.error)):
        await world.run()
    assert world.status == "queued"
    world.sender.error = None
    assert ended(await world.run()).status == "sent"
    assert world.attempts == 2


async def test_what_fails_before_the_claim_leaves_no_trace() -> None:
    world = World()
    world.sender.early = Transient("Meta: no place", limited=True)
    with pytest.raises(Transient):
        await world.run()
    assert (world.status, world.attempts, world.unclaimed) == ("queued", 0, [])


async def test_a_refusal_is_the_end_with_its_reason() -> None:
    world = World()
    world.sender.error = Refused("Meta: 131026")
    done = await world.run()
    assert (ended(done).status, ended(done).error) == ("failed", "Meta: 131026")
    assert [event.type for event in done.emit] == ["message.failed"]


@pytest.mark.parametrize(("by", "sent"), [("another event", 0), ("this", 1)])
async def test_a_message_that_has_changed_comes_by_its_newest_event_alone(by: str, sent: int) -> None:
    world = World()
    world.event_id = world.event.id if by == "this" else by
    done = await world.run()
    assert (done.skipped, len(world.sender.sent)) == (None if sent else "superseded", sent)


async def test_a_message_that_was_canceled_while_it_was_looked_up_is_not_sent() -> None:
    world = World()

    async def canceled(id: UUID, event_id: str, by: tuple[str, str]) -> None:
        world.status = "canceled"

    world.deps.claim = canceled  # type: ignore[misc]
    assert await handle(world.event, world.deps, Turn(now=NOW)) == Later(NOW)
    done = await world.run()
    assert (done.skipped, world.sender.sent) == ("canceled already", [])


async def test_a_message_that_another_process_claims_first_is_not_taken_for_done() -> None:
    """That one may be cut short, or give its claim back: then nobody else would bring the message."""
    world = World()

    async def too_late(id: UUID, event_id: str, by: tuple[str, str]) -> int | None:
        world.status = "sending"
        return None

    world.deps.claim = too_late  # type: ignore[misc]
    assert await handle(world.event, world.deps, Turn(now=NOW)) == Later(NOW)
    with pytest.raises(Uncertain):
        await world.run()


async def test_a_provider_without_an_account_fails_the_message() -> None:
    world = World()
    world.deps.senders = {}  # type: ignore[misc]
    assert "not configured" in (ended(await world.run()).error or "")


@pytest.mark.parametrize(
    "content",
    [
        Text("hello"),
        TEMPLATE,
        Media("https://example.com/a.pdf", "document", "caption", "a.pdf"),
        Choices("Keep?", (Choice("Yes", "y"), Choice("No", "n"))),
        Reaction("wamid.IN1", "👍"),
    ],
)
def test_content_survives_its_way(content: Content) -> None:
    assert from_json(kind_of(content), to_json(content)) == content


async def test_what_a_person_writes_is_kept_and_opens_the_window_where_it_came_by_whatsapp() -> None:
    told: dict[str, Any] = {"system": "meta", "contact_id": PHONE[1:], "phone": PHONE, "at": None, "text": "hi"}
    for channel, opens in (("whatsapp", True), ("telegram", False)):
        body = str({**told, "channel": channel, "kind": "text", "message_id": "m1"}).replace("'", '"')
        data = body.replace("None", "null").encode()
        event = Event(id="e", type="message.received", source="meta", subject=PHONE, time=NOW, data=data)
        done = await handle(event, World().deps, Turn(now=NOW))
        assert isinstance(done, Done)
        (row,) = done.rows
        assert isinstance(row, Written)
        assert (row.line, row.at, row.opens, row.provider_id, row.content["text"]) == (PHONE, NOW, opens, "m1", "hi")


def wrote(text: str, *, ago: timedelta = timedelta(0), id: str = "m1") -> Event:
    """What the person has written to the number of Meta."""
    told = {"system": "meta", "phone": PHONE, "at": (NOW - ago).isoformat(), "channel": "whatsapp", "text": text}
    data = json.dumps(told | {"message_id": id}).encode()
    return Event(id=id, type="message.received", source="meta", subject=PHONE, time=NOW, data=data)


@pytest.mark.parametrize(
    ("behind", "sent"),
    [
        ([], True),
        ([wrote("thanks")], True),
        ([wrote("STOP")], False),
        ([wrote("hello", ago=timedelta(minutes=2)), wrote("Stop.", id="m2")], False),
        ([wrote("STOP", ago=timedelta(minutes=2)), wrote("START", id="m2")], True),
        ([wrote("START", id="m2"), wrote("STOP", ago=timedelta(minutes=2))], True),  # the later word counts
    ],
)
async def test_a_stop_that_waits_behind_the_message_in_its_lane_is_honoured(behind: list[Event], sent: bool) -> None:
    world = World()
    done = await handle(world.event, world.deps, Turn(now=NOW, behind=lambda: behind))
    assert isinstance(done, Done)
    assert (ended(done).status, len(world.sender.sent)) == (("sent", 1) if sent else ("skipped", 0))


@pytest.mark.parametrize(
    ("ago", "sent"), [(WINDOW - MARGIN, False), (WINDOW - MARGIN - timedelta(seconds=1), True), (timedelta(0), True)]
)
async def test_what_waits_behind_the_message_opens_its_window(ago: timedelta, sent: bool) -> None:
    world = World(Text("hello"))
    done = await handle(world.event, world.deps, Turn(now=NOW, behind=lambda: [wrote("good morning", ago=ago)]))
    assert isinstance(done, Done)
    assert len(world.sender.sent) == sent


async def test_what_is_odd_behind_a_message_does_not_hold_it_up() -> None:
    world = World()
    odd = Event(id="e", type="message.received", source="meta", subject=PHONE, time=NOW, data=b'{"odd": "no id"}')
    done = await handle(world.event, world.deps, Turn(now=NOW, behind=lambda: [odd, world.event]))
    assert isinstance(done, Done)
    assert ended(done).status == "sent"


@pytest.mark.parametrize(
    ("title", "value", "stops"),
    [
        ("Stop promotions", "unsubscribe:77", True),
        ("No, thanks", "STOP", True),
        ("Cancel", "cancel", False),
        ("Keep", "keep", False),
    ],
)
async def test_a_button_is_a_stop_by_its_words_or_by_its_value(title: str, value: str, stops: bool) -> None:
    told = {"system": "meta", "phone": PHONE, "at": NOW.isoformat(), "kind": "choice", "text": title, "choice": value}
    event = Event(
        id="e", type="message.received", source="meta", subject=PHONE, time=NOW, data=json.dumps(told).encode()
    )
    done = await handle(event, World().deps, Turn(now=NOW))
    assert isinstance(done, Done)
    assert [row.opted_out for row in done.rows if isinstance(row, Preference)] == [True] * stops


def test_a_message_whose_end_cannot_be_written_may_have_been_sent() -> None:
    (row,) = buried(World().event, Unwritten("its results cannot be written"), Turn(now=NOW))
    assert isinstance(row, Ended)
    assert row.status == "uncertain"


def test_the_worker_holds_what_is_in_doubt() -> None:
    assert (WORKER.on_uncertain, WORKER.begins) == ("hold", "now")


async def test_a_person_who_is_written_to_too_fast_is_waited_for_alone_and_longer_each_time() -> None:
    world = World()
    world.sender.error = PairLimited("Meta: 131056")
    for seconds in (1, 4, 16):
        outcome = await handle(world.event, world.deps, Turn(now=NOW))
        assert isinstance(outcome, Later)
        assert (outcome.at, world.status) == (NOW + timedelta(seconds=seconds), "queued")
        (row,) = outcome.rows
        assert isinstance(row, Waits)
        assert (row.id, row.why[:6]) == (world.id, "waits:")
    assert world.pair.refusals == [str(world.id)] * 3


async def test_a_message_whose_person_got_enough_waits_before_anything_is_asked() -> None:
    world = World()
    world.pair.wait = 2.5
    outcome = await handle(world.event, world.deps, Turn(now=NOW))
    assert isinstance(outcome, Later)
    assert (outcome.at, world.sender.sent, world.attempts) == (NOW + timedelta(seconds=2.5), [], 0)


async def test_a_message_of_a_stopped_template_leaves_its_lane_and_tells_that_the_template_is_stopped() -> None:
    world = World()
    world.sender.error = coded(TemplateStopped("Meta: the template is paused"), "meta-132015")
    done = await world.run()
    assert (world.status, done.skipped, done.emit) == ("queued", "template stopped", ())
    held, stop = done.rows
    until = NOW + STOPPED_FOR
    assert isinstance(held, Held)
    assert (held.id, held.until, held.why) == (world.id, until, "waits: Meta: the template is paused")
    assert held.event_id != world.event.id, "the event that brings it again is not done yet"
    assert stop == TemplateStop(
        *("meta", "default", "order_confirmation", "he", "meta-132015", "Meta: the template is paused", NOW, until)
    )


async def test_the_messages_of_a_template_that_is_known_to_be_stopped_wait_without_a_call() -> None:
    world = World()
    world.stop = (NOW + timedelta(minutes=3), "the template is paused")
    done = await world.run()
    (held,) = done.rows
    assert isinstance(held, Held)
    assert timedelta(minutes=3) < held.until - NOW <= timedelta(minutes=3, seconds=5 + SPREAD_S)
    assert (world.sender.sent, world.attempts) == ([], 0)


async def test_a_stopped_template_gives_way_to_its_text_inside_the_window() -> None:
    world = World(Template("order_confirmation", "he", {"1": "Noa", "fallback_message": "hello"}))
    world.stop, world.written_at = (NOW + timedelta(minutes=3), "paused"), NOW
    assert ended(await world.run()).status == "sent"
    assert [one.content for one in world.sender.sent] == [Text("hello")]


@pytest.mark.parametrize("provider", ["cgb", "twilio"])
async def test_one_message_at_a_time_is_without_a_status_where_the_provider_gives_no_ids(provider: str) -> None:
    world = World(provider=provider)
    world.uncorrelated = True
    outcome = await handle(world.event, world.deps, Turn(now=NOW))
    assert isinstance(outcome, Later if provider == "cgb" else Done)
    assert len(world.sender.sent) == (provider != "cgb")
    world.uncorrelated = False
    world.status = "queued"
    assert ended(await world.run()).status == "sent"


async def test_what_is_held_back_for_a_day_fails_and_does_not_hold_up_the_lane() -> None:
    world = World()
    error = Transient("Meta: 131049", retry_after_s=86_400)
    error.answered = True
    world.sender.error = error
    assert ended(await world.run()).status == "failed"


async def test_a_fallback_text_is_no_variable_of_the_template() -> None:
    world = World(Template("order_confirmation", "he", {"1": "Noa", "fallback_message": "hello"}))
    await world.run()
    assert world.sender.sent[0].content == TEMPLATE


@pytest.mark.parametrize(("value", "rows"), [("stop", 1), ("resume", 1), ("other", 0)])
async def test_a_stop_of_marketing_is_kept(value: str, rows: int) -> None:
    data = json.dumps(
        {"system": "meta", "contact_id": PHONE[1:], "phone": PHONE, "at": None, "channel": None, "text": None}
        | {"kind": "user_preferences", "message_id": None, "received": {"value": value}}
    ).encode()
    event = Event(id="e", type="message.received", source="meta", subject=PHONE, time=NOW, data=data)
    done = await handle(event, World().deps, Turn(now=NOW))
    assert isinstance(done, Done)
    assert list(done.rows) == [Preference(PHONE, "marketing", value == "stop", NOW, "meta", "e")][:rows]


@pytest.mark.parametrize(
    ("ago", "status", "sent"), [(timedelta(hours=1), "sent", [Text("hello")]), (None, "failed", [])]
)
async def test_a_template_that_is_refused_gives_way_to_its_text_inside_the_window_alone(
    ago: timedelta | None, status: str, sent: list[Content]
) -> None:
    class Picky(FakeSender):
        async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
            if isinstance(message.content, Template):
                await claim()
                raise Refused("Meta: 132001")
            return await super().send(message, claim)

    world = World(Template("order_confirmation", "he", {"1": "Noa", "fallback_message": "hello"}))
    world.sender = world.deps.senders["meta", "default"] = Picky()  # type: ignore[index]
    world.written_at = None if ago is None else NOW - ago
    done = await world.run()
    assert ended(done).status == status
    assert [one.content for one in world.sender.sent] == sent
    assert world.attempts == 1 + len(sent)


async def test_the_flows_that_an_ambiguous_name_may_mean_are_in_the_error_of_the_message() -> None:
    world = World(Template("visa"), "cgb")
    world.sender.early = Refused("CGB: several flows have a name like this template's: name one of them whole")
    world.sender.early.said = "visa_paid (7), visa_ready (8)"
    done = await world.run()
    assert (ended(done).status, "visa_paid (7), visa_ready (8)" in (ended(done).error or "")) == ("failed", True)

"""The whatsapp-validation worker with checkers in memory: whom it asks, what it keeps, what it counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters import permit
from adapters.gate import NoPlace
from adapters.permit import Permit
from adapters.redis.limits import Ticket
from daemon.bus.outcome import Done, Turn
from daemon.contacts.checking import Answer, Checkers
from daemon.contacts.validation import Terms
from daemon.contacts.whatsapp_validation import WORKER, handle
from daemon.contacts.wiring import ContactDeps
from daemon.sandbox import orders as maker
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.errors import (
    ChannelClosed,
    ChannelDown,
    FerrymanError,
    LeaseLost,
    Malformed,
    Permanent,
    Refused,
    TooLong,
    Transient,
    Uncertain,
)
from schemas.phone import Phone
from schemas.whatsapp import Evidence, EvidenceSource

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PHONE, OTHER = Phone("+972505550142"), Phone("+972505550143")
LANDLINE = "+97231234567"
TERMS = Terms(yes_days=90, no_days=14)
SOUND = maker.make_order(Random(1), 142, country="uk", branch="il")


@dataclass
class Checker:
    """A checker that says *says* of every number, or of each what *of* says; *fail*: the errors of its next calls."""

    says: bool | None = None
    of: dict[str, bool | None] = field(default_factory=dict)
    fail: list[BaseException] = field(default_factory=list)
    most: int = 1
    wait: asyncio.Event | None = None
    asked: list[list[str]] = field(default_factory=list)

    async def check(self, phones: Sequence[Phone]) -> list[bool | None]:
        self.asked.append([phone.e164 for phone in phones])
        if self.wait is not None:
            await self.wait.wait()
        permit.may_send()
        if self.fail:
            raise self.fail.pop(0)
        return [self.of.get(phone.e164, self.says) for phone in phones]


class World:
    """A worker's surroundings: the checkers, what is known, and what is counted."""

    def __init__(self, known: Evidence | None = None, cgb: Checker | None = None, whapi: Checker | None = None) -> None:
        self.known = known
        named: dict[EvidenceSource, Checker | None] = {"cgb": cgb, "whapi": whapi}
        self.counts: Counter[str] = Counter()
        stand_in = SimpleNamespace(
            checks_of=self._checks_of,
            checkers=Checkers({name: checker for name, checker in named.items() if checker is not None}),
            terms=TERMS,
            metrics=SimpleNamespace(inc=lambda name, labels=None, n=1: self.counts.update({name: n})),
        )
        self.deps = cast(ContactDeps, stand_in)

    async def _checks_of(self, phone: Phone) -> Evidence | None:
        return self.known

    async def run(self, event: Event) -> Done:
        outcome = await handle(event, self.deps, Turn(now=NOW))
        assert isinstance(outcome, Done)
        return outcome


def received(subject: str = PHONE.e164, body: Any = SOUND) -> Event:
    data = json.dumps(body).encode()
    return Event(id="e", type="order.received", source="vizi", subject=subject, time=NOW, data=data)


def told(type: str, **data: Any) -> Event:
    body = json.dumps({"phone": PHONE.e164, "at": NOW.isoformat()} | data).encode()
    return Event(id="m", type=type, source="meta", subject=PHONE.e164, time=NOW, data=body)


@pytest.mark.parametrize(("says", "metric"), [(True, "cgb_whatsapp_available"), (False, "cgb_whatsapp_unavailable")])
async def test_a_new_answer_is_kept_counted_once_and_announced(says: bool, metric: str) -> None:
    world = World(cgb=Checker(says))
    done = await world.run(received())
    kept = TERMS.evidence(PHONE, says, "cgb", NOW)
    assert done.rows == (kept,)
    assert world.counts == {metric: 1}
    (validated,) = done.emit
    assert (validated.type, validated.topic, validated.subject) == ("contact.validated", "contacts", PHONE.e164)
    assert validated.json() == {
        "phone": PHONE.e164,
        "has_whatsapp": says,
        "source": "cgb",
        "checked_at": NOW.isoformat(),
        "expires_at": (NOW + (90 if says else 14) * DAY).isoformat(),
    }


async def test_a_known_answer_makes_no_call_until_it_expires() -> None:
    checker = Checker(True)
    world = World(TERMS.evidence(PHONE, False, "cgb", NOW - 13 * DAY), cgb=checker)
    done = await world.run(received())
    assert (done.skipped, done.rows, done.emit, checker.asked) == ("known", (), (), [])
    world.known = TERMS.evidence(PHONE, False, "cgb", NOW - 14 * DAY)
    done = await world.run(received())
    assert (done.skipped, checker.asked) == (None, [[PHONE.e164]])


async def test_a_number_that_cannot_be_is_a_no_without_a_call() -> None:
    checker = Checker(True)
    world = World(cgb=checker)
    done = await world.run(received(LANDLINE))
    assert done.rows == (TERMS.evidence(Phone(LANDLINE), False, "offline", NOW),)
    assert checker.asked == []
    assert world.counts == {"cgb_whatsapp_unavailable": 1}


async def test_a_number_that_has_been_on_whatsapp_is_asked_for_whatever_the_rules_of_numbering_say() -> None:
    checker = Checker(True)
    world = World(TERMS.evidence(Phone(LANDLINE), True, "message", NOW - 91 * DAY), cgb=checker)
    done = await world.run(received(LANDLINE))
    assert checker.asked == [[LANDLINE]]
    assert done.rows == (TERMS.evidence(Phone(LANDLINE), True, "cgb", NOW),)


@pytest.mark.parametrize("checkers", [(None, None), (Checker(), None), (Checker(), Checker())])
async def test_what_no_checker_says_stays_unknown(checkers: tuple[Checker | None, Checker | None]) -> None:
    world = World(None, *checkers)
    done = await world.run(received())
    assert done == Done(skipped="not known")
    assert world.counts == {}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (received("email:noa@example.com"), "no phone"),
        (received("order:IL1"), "no phone"),
        (received(body={"order": {"id": "IL310214GB7-TEST"}}), "test order"),
        (told("delivery.updated", status="sent"), "tells nothing"),
        (told("message.received", phone=None), "tells nothing"),
    ],
)
async def test_what_tells_of_no_number_asks_nobody(event: Event, reason: str) -> None:
    checker = Checker(True)
    assert await World(cgb=checker).run(event) == Done(skipped=reason)
    assert checker.asked == []


async def test_a_message_turns_a_no_into_a_yes_without_a_call() -> None:
    world = World(TERMS.evidence(PHONE, False, "delivery", NOW - DAY), cgb=(checker := Checker(False)))
    done = await world.run(told("message.received"))
    assert done.rows == (TERMS.evidence(PHONE, True, "message", NOW),)
    assert done.emit[0].json()["has_whatsapp"] is True
    assert world.counts == {"cgb_whatsapp_available": 1}
    assert checker.asked == []


async def test_a_further_message_is_kept_and_is_no_new_answer() -> None:
    world = World(TERMS.evidence(PHONE, True, "message", NOW - DAY))
    done = await world.run(told("message.received"))
    assert done.rows == (TERMS.evidence(PHONE, True, "message", NOW),)
    assert (done.emit, world.counts) == ((), {})


async def test_an_undeliverable_message_is_a_no_that_expires() -> None:
    done = await World().run(told("delivery.updated", status="failed", error_code=131026))
    (row,) = done.rows
    assert row == TERMS.evidence(PHONE, False, "delivery", NOW)


async def test_an_event_of_another_shape_is_malformed() -> None:
    with pytest.raises(Malformed):
        await World().run(told("message.received", phone=["+972505550142"]))


AWAY = [
    Transient("503"),
    Transient("429", limited=True),
    Uncertain("no answer"),
    ChannelDown("token", channel="cgb"),
    ChannelClosed("the breaker is open", channel="cgb"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda e: f"{type(e).__name__}")
async def test_with_one_checker_away_the_next_one_is_asked(error: FerrymanError) -> None:
    world = World(cgb=Checker(True, fail=[error]), whapi=Checker(False))
    done = await world.run(received())
    assert done.rows == (TERMS.evidence(PHONE, False, "whapi", NOW),)


@pytest.mark.parametrize("error", AWAY, ids=lambda e: f"{type(e).__name__}")
@pytest.mark.parametrize("second", [Checker(None), Checker(fail=[Transient("another")]), None])
async def test_where_nobody_else_answers_the_event_waits_for_the_first(
    error: FerrymanError, second: Checker | None
) -> None:
    other = None if second is None else Checker(second.says, fail=list(second.fail))
    with pytest.raises(type(error)) as caught:
        await World(None, Checker(True, fail=[error]), other).run(received())
    assert caught.value is error


@pytest.mark.parametrize("error", [Refused("400"), TooLong("too long"), Permanent("no such call")])
async def test_a_checker_that_refuses_the_question_for_good_does_not_say(error: FerrymanError) -> None:
    assert await World(cgb=Checker(True, fail=[error])).run(received()) == Done(skipped="not known")
    done = await World(cgb=Checker(True, fail=[error]), whapi=Checker(True)).run(received())
    assert done.rows == (TERMS.evidence(PHONE, True, "whapi", NOW),)


async def test_what_tells_that_nothing_was_sent_asks_nobody_else() -> None:
    ticket = Ticket(1, asyncio.get_running_loop().create_future())
    for error in (NoPlace(ticket), LeaseLost("run out")):
        second = Checker(True)
        with pytest.raises(type(error)):
            await World(cgb=Checker(fail=[error]), whapi=second).run(received())
        assert second.asked == []


@pytest.mark.parametrize(
    ("of", "says", "asked"),
    [
        ({"+5511987654321": True}, True, 1),
        ({"+551187654321": True}, True, 2),
        ({"+551187654321": None}, None, 2),
        ({}, False, 2),
    ],
)
async def test_a_line_with_two_notations_is_on_whatsapp_under_either(
    of: dict[str, bool | None], says: bool | None, asked: int
) -> None:
    checker = Checker(False, of)
    answer = await Checkers({"cgb": checker}).ask(Phone("+5511987654321"))
    assert answer == (None if says is None else Answer(says, "cgb"))
    assert len(checker.asked) == asked


async def test_numbers_that_are_asked_for_meanwhile_go_in_one_call() -> None:
    checker = Checker(True, most=50, wait=asyncio.Event())
    checkers = Checkers({"whapi": checker})
    phones = [Phone(f"+9725055501{n:02d}") for n in range(60)]
    first = asyncio.ensure_future(checkers.ask(phones[0]))
    while not checker.asked:
        await asyncio.sleep(0)
    rest = asyncio.gather(*(checkers.ask(phone) for phone in (phones[1], *phones[1:])))
    await asyncio.sleep(0)
    assert checker.wait is not None
    checker.wait.set()
    answers = [await first, *await rest]
    assert answers == [Answer(True, "whapi")] * 61
    assert [len(asked) for asked in checker.asked] == [1, 49, 10]


async def test_one_number_that_is_refused_costs_the_others_of_its_call_no_answer() -> None:
    class Picky(Checker):
        async def check(self, phones: Sequence[Phone]) -> list[bool | None]:
            if OTHER in phones:
                raise Refused("400")
            return await super().check(phones)

    checkers = Checkers({"whapi": Picky(True, most=50)})
    asked = await asyncio.gather(*(checkers.ask(phone) for phone in (PHONE, OTHER, Phone("+972505550144"))))
    assert asked == [Answer(True, "whapi"), None, Answer(True, "whapi")]


@pytest.mark.parametrize(("lost", "sent"), [((True, True), False), ((True, False), True), ((False, False), True)])
async def test_a_call_for_several_events_is_sent_while_one_of_them_may_send(
    lost: tuple[bool, bool], sent: bool
) -> None:
    """Promise: a process whose leases have all run out asks nothing more."""
    checkers = Checkers({"whapi": Checker(True, most=50)})

    def permit_of(gone: bool) -> Permit:
        def may_send() -> None:
            if gone:
                raise LeaseLost("run out")

        return Permit(may_send)

    async def ask(phone: Phone, gone: bool) -> object:
        permit.current.set(permit_of(gone))
        return await checkers.ask(phone)

    ends = await asyncio.gather(
        *(asyncio.create_task(ask(phone, gone)) for phone, gone in zip((PHONE, OTHER), lost, strict=True)),
        return_exceptions=True,
    )
    assert [isinstance(end, LeaseLost) for end in ends] == [not sent] * 2


def test_the_worker_begins_with_what_arrives_and_asks_again_where_an_answer_is_lost() -> None:
    assert (WORKER.begins, WORKER.on_uncertain, WORKER.channels) == ("now", "retry", ("cgb", "whapi"))
    assert WORKER.off(Settings()) is None
    assert WORKER.deadline_s(Settings()) > 6 * 30

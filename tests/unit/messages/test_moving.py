"""Which account a message with a route goes by: decided while nothing was attempted, and by its row alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from adapters.ports import Claim
from adapters.postgres.messages import Asked, Ended, MessageState, Request
from adapters.postgres.moves import Account, Standing
from daemon.bus.outcome import Done, Later, Outcome, Turn
from daemon.messages.content import kind_of, to_json
from daemon.messages.moving import Accounts, carried_template, further
from daemon.messages.outbound import handle
from daemon.messages.requests import event_id_of, event_of
from daemon.messages.rules import HEARD_BY
from daemon.messages.senders import NoAccount
from daemon.messages.wiring import MessageDeps
from schemas.envelope import Event
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, PairLimited, Refused, Transient, Uncertain
from schemas.messages import Content, OutboundMessage, Taken, Template, Text
from schemas.templates import Known, TemplateDefinition

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
PHONE = "+972505550142"
ROUTE = ("meta", "twilio", "whapi")
TEXT = Text("hello")
CONFIRMATION = Template("order_confirmation", "he", {"1": "Noa"})
SID = Template("HX" + "0" * 32, None, {"1": "Noa"})


def definition(language: str = "he", *, category: str = "UTILITY", status: str = "APPROVED") -> TemplateDefinition:
    body = [{"type": "BODY", "text": "Hello {{1}}, your order is in."}]
    return TemplateDefinition(
        name="order_confirmation", language=language, status=status, category=category, components=body
    )


def known(*definitions: TemplateDefinition) -> Known:
    return Known("order_confirmation", definitions, NOW)


@dataclass
class Provider:
    """One account, as its messages find it. *error* is raised after the claim, *early* before it."""

    there: bool = True
    shut: str = ""
    carries: bool = True
    window: bool = True
    opted_out: bool = False
    stopped: bool = False
    known: Known | None = None
    error: FerrymanError | None = None
    early: FerrymanError | None = None
    sent: list[OutboundMessage] = field(default_factory=list)

    def refusal(self, content: Content) -> str | None:
        return None if self.carries else "it is too long"

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        if not self.there:
            raise NoAccount("it is not configured")
        if self.early is not None:
            raise self.early
        await claim()
        self.sent.append(message)
        if self.error is not None:
            raise self.error
        return Taken("id-1")


class Pair:
    async def wait_s(self, scope: str, line: str, message: str) -> float:
        return 0.0

    async def refused(self, scope: str, line: str, message: str) -> float:
        return 5.0


class World:
    """One message that was asked for by Meta, and its row."""

    def __init__(self, content: Content = TEXT, route: tuple[str, ...] = ROUTE, **given: Provider) -> None:
        self.providers = {name: given.get(name, Provider()) for name in ("meta", "twilio", "whapi", "cgb", "chatwoot")}
        self.id = uuid4()
        request = Request(
            id=self.id,
            provider="meta",
            account="default",
            phone=PHONE,
            kind=kind_of(content),
            content=to_json(content),
            purpose="api",
            event_id=event_id_of(self.id),
        )
        self.event: Event = event_of(request, NOW)
        self.route, self.status, self.attempts = route, "queued", 0
        self.by = Account("meta", "default")
        self.content: str | None = None
        self.stopped_until: datetime | None = None
        self.category: str | None = None
        self.moves: list[tuple[str, str, str]] = []
        self.counted: list[tuple[str, str]] = []
        accounts = Accounts(
            has=lambda one: one.account == "default" and self.providers[one.provider].there,
            why_shut=lambda one: self.providers[one.provider].shut,
            known=self._known,
            standing=self._standing,
            move=self._move,
            count=lambda *pair: self.counted.append(pair),
        )
        stand_in = SimpleNamespace(
            senders={(name, "default"): one for name, one in self.providers.items()},
            state=self._state,
            claim=self._claim,
            unclaim=self._unclaim,
            pairs={"meta": Pair()},
            uncorrelated=self._never,
            accounts=accounts,
            count=lambda *_: None,
        )
        self.deps = cast(MessageDeps, stand_in)

    async def _never(self, *_: object) -> bool:
        return False

    async def _state(self, asked: Asked) -> MessageState:
        heard = {name for name, one in self.providers.items() if one.window} & set(asked.systems.split(","))
        return MessageState(
            self.status,
            self.attempts,
            "Noa",
            NOW if heard else None,
            provider=self.by.provider,
            account=self.by.account,
            stopped_until=self.stopped_until if self.by.provider == "meta" else None,
            stopped_why="it is paused",
            route=self.route,
            content=self.content,
        )

    async def _claim(self, id: UUID, event_id: str, by: tuple[str, str]) -> int | None:
        if self.status != "queued" or by != self.by:
            return None
        self.status, self.attempts = "sending", self.attempts + 1
        return self.attempts

    async def _unclaim(self, id: UUID, attempt: int, why: str) -> None:
        self.status = "queued"

    async def _known(self, one: Account, name: str) -> Known | None:
        found = self.providers[one.provider].known
        return None if found is None else replace(found, name=name)

    async def _standing(
        self, id: UUID, at: Account, *, line: str, systems: tuple[str, ...], category: str | None
    ) -> Standing | None:
        assert systems == HEARD_BY.get(at.provider, ())
        one = self.providers[at.provider]
        opted_out = one.opted_out or category == "marketing"
        return None if self.attempts else Standing(NOW if one.window else None, opted_out, one.stopped)

    async def _move(self, id: UUID, source: Account, target: Account, *, content: Any, category: Any, why: str) -> bool:
        if self.status != "queued" or self.attempts or source != self.by:
            return False
        self.by, self.content, self.category = target, orjson.dumps(content).decode(), category
        self.moves.append((source.channel, target.channel, why))
        return True

    async def run(self) -> Outcome:
        """What becomes of the event when it is handled until it waits or ends."""
        for _ in range(5):
            outcome = await handle(self.event, self.deps, Turn(now=NOW))
            if not (isinstance(outcome, Later) and outcome.at == NOW):
                return outcome
        raise AssertionError("it goes round and round")

    @property
    def sent_by(self) -> list[str]:
        return [name for name, one in self.providers.items() for _ in one.sent]


DOWN = "meta refuses our account or key (http-401)"


def closed(name: str = "meta") -> ChannelClosed:
    return ChannelClosed(f"{name} does not answer as it should", channel=name)


@pytest.mark.parametrize(
    ("given", "by"),
    [
        ({}, "meta"),
        ({"meta": Provider(shut=DOWN)}, "twilio"),
        ({"meta": Provider(early=closed())}, "twilio"),
        ({"meta": Provider(early=ChannelDown("it cannot be decrypted", channel="meta"))}, "twilio"),
        ({"meta": Provider(there=False)}, "twilio"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(there=False)}, "whapi"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(shut="twilio is paused")}, "whapi"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(carries=False)}, "whapi"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(window=False)}, "whapi"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(opted_out=True)}, "whapi"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(stopped=True)}, "whapi"),
        ({"meta": Provider(shut=DOWN), "twilio": Provider(early=closed("twilio"))}, "whapi"),
    ],
)
async def test_the_first_of_the_route_that_is_there_not_down_and_may_send_it_sends_it_once(
    given: dict[str, Provider], by: str
) -> None:
    world = World(TEXT, ROUTE, **given)
    outcome = await world.run()
    assert isinstance(outcome, Done)
    (row,) = [row for row in outcome.rows if isinstance(row, Ended)]
    assert (row.status, world.sent_by, outcome.emit[0].json()["provider"]) == ("sent", [by], by)
    steps = [target for _, target, _ in world.moves]
    assert steps == sorted(steps, key=world.route.index), "forward alone"
    assert world.counted == [(source, target) for source, target, _ in world.moves]


@pytest.mark.parametrize(
    ("changes", "instead"),
    [
        ({"twilio": Provider(shut="paused"), "whapi": Provider(shut="away")}, ("twilio", "whapi")),
        ({"twilio": Provider(shut="paused"), "whapi": Provider(carries=False)}, ("twilio",)),
        ({"twilio": Provider(there=False), "whapi": Provider(opted_out=True)}, ()),
    ],
)
async def test_where_none_may_take_it_it_waits_for_the_one_it_is_with_and_for_those_that_would(
    changes: dict[str, Provider], instead: tuple[str, ...]
) -> None:
    world = World(TEXT, ROUTE, meta=Provider(shut=DOWN, early=closed()), **changes)
    with pytest.raises(ChannelClosed) as caught:
        await world.run()
    assert (caught.value.channel, caught.value.instead) == ("meta", instead)
    assert (world.sent_by, world.moves, world.by.provider) == ([], [], "meta")
    world.providers["meta"].shut, world.providers["meta"].early = "", None
    await world.run()
    assert world.sent_by == ["meta"]


@pytest.mark.parametrize(
    "error",
    [
        ChannelDown("Meta: the token is refused", channel="meta"),
        Transient("Meta: refused connection"),
        Transient("Meta: 429", limited=True),
        PairLimited("Meta: 131056"),
        Refused("Meta: 131026"),
        Uncertain("Meta: no answer in time"),
    ],
)
async def test_what_was_attempted_stays_however_the_call_ended(error: FerrymanError) -> None:
    world = World(meta=Provider(error=error))
    for _ in range(2):
        with suppress(FerrymanError):
            await world.run()
        world.providers["meta"].shut, world.providers["meta"].early = DOWN, closed()
    assert (world.sent_by, world.moves) == (["meta"], [])


async def test_a_rate_limit_is_no_reason_to_go_elsewhere() -> None:
    world = World(meta=Provider(early=Transient("Meta: no place", limited=True)))
    with pytest.raises(Transient):
        await world.run()
    assert (world.sent_by, world.moves) == ([], [])


@pytest.mark.parametrize("route", [(), ("meta",), ("twilio", "meta")])
async def test_a_message_without_a_further_account_is_not_looked_at(route: tuple[str, ...]) -> None:
    world = World(route=route, meta=Provider(shut=DOWN, early=closed()))
    with pytest.raises(ChannelClosed):
        await world.run()
    gone = World(route=route, meta=Provider(there=False))
    outcome = await gone.run()
    assert isinstance(outcome, Done)
    assert [row.error for row in outcome.rows if isinstance(row, Ended)] == ["it is not configured"]
    assert (world.moves, gone.moves) == ([], [])


async def test_where_its_account_has_gone_and_the_others_are_down_it_waits_for_those() -> None:
    world = World(meta=Provider(there=False), twilio=Provider(shut="paused"), whapi=Provider(shut="away"))
    with pytest.raises(ChannelClosed) as caught:
        await world.run()
    assert (caught.value.channel, caught.value.instead) == ("twilio", ("whapi",))
    world.providers["whapi"].shut = ""
    await world.run()
    assert world.sent_by == ["whapi"]


async def test_after_a_death_at_the_move_the_row_says_by_which_it_goes() -> None:
    world = World(meta=Provider(shut=DOWN))
    outcome = await handle(world.event, world.deps, Turn(now=NOW))
    assert (isinstance(outcome, Later), world.moves) == (True, [("meta", "twilio", DOWN)])
    world.providers["meta"].shut = ""  # and the next life knows nothing of any outage
    await world.run()
    assert world.sent_by == ["twilio"]


async def test_a_process_that_has_not_seen_the_move_claims_nothing_and_looks_again() -> None:
    world = World()
    claim = world._claim

    async def moved_meanwhile(id: UUID, event_id: str, by: tuple[str, str]) -> int | None:
        assert await world._move(
            id, world.by, Account("twilio", "default"), content=to_json(TEXT), category=None, why=DOWN
        )
        world.deps.claim = claim  # type: ignore[misc]
        return await claim(id, event_id, by)

    world.deps.claim = moved_meanwhile  # type: ignore[misc]
    await world.run()
    assert world.sent_by == ["twilio"]


@pytest.mark.parametrize(
    ("content", "provider", "templates", "carried"),
    [
        (CONFIRMATION, "meta", None, False),
        (CONFIRMATION, "meta", known(), False),
        (CONFIRMATION, "meta", known(definition("ru")), False),
        (CONFIRMATION, "meta", known(definition(status="PAUSED")), False),
        (CONFIRMATION, "meta", known(definition()), True),
        (replace(CONFIRMATION, variables={}), "meta", known(definition()), False),
        (CONFIRMATION, "cgb", None, False),
        (CONFIRMATION, "cgb", known(), False),
        (CONFIRMATION, "cgb", known(definition("")), True),
        (CONFIRMATION, "chatwoot", None, False),
    ],
)
def test_a_template_goes_where_it_is_known_to_be_and_fits(
    content: Template, provider: str, templates: Known | None, carried: bool
) -> None:
    found = carried_template(content, provider, templates)
    assert (found is not None) is carried
    assert found is None or found.content == content


async def test_a_template_is_sent_under_the_names_of_its_new_account_and_kept_so() -> None:
    header = {"type": "HEADER", "format": "IMAGE"}
    pictured = replace(definition(), components=[header, *definition().components])
    given = replace(CONFIRMATION, variables={"1": "Noa", "header": "https://example.com/7"})
    world = World(given, ("meta", "meta/second"), meta=Provider(known=known(pictured)))
    second = Provider()
    world.deps.senders["meta", "second"] = second  # type: ignore[index]
    accounts = world.deps.accounts
    world.deps.accounts = replace(  # type: ignore[misc]
        accounts,
        has=lambda one: True,
        why_shut=lambda one: DOWN if one.account == "default" else "",
    )
    await world.run()
    (sent,) = second.sent
    assert isinstance(sent.content, Template)
    assert sent.content.variables == {"1": "Noa", "header_image": "https://example.com/7"}
    assert (world.by, world.category) == (Account("meta", "second"), "utility")


async def test_what_is_marketing_there_does_not_go_to_who_has_opted_out_of_that() -> None:
    there = Provider(known=known(definition(category="MARKETING")))
    world = World(CONFIRMATION, ("twilio", "meta"), meta=there, twilio=Provider(shut=DOWN, early=closed("twilio")))
    world.by = Account("twilio", "default")
    with pytest.raises(ChannelClosed):
        await world.run()
    assert world.moves == []


async def test_the_templates_of_twilio_have_names_of_their_own() -> None:
    world = World(SID, ("meta", "twilio"), meta=Provider(shut=DOWN))
    await world.run()
    assert world.sent_by == ["twilio"]


async def test_a_template_that_is_stopped_and_has_a_text_moves_whole() -> None:
    given = replace(SID, variables={"1": "Noa", "fallback_message": "hello"})
    world = World(given, ("meta", "twilio"), meta=Provider(early=closed()))
    world.stopped_until = NOW + timedelta(minutes=3)
    await world.run()
    assert [one.content for one in world.providers["twilio"].sent] == [SID]


def test_an_account_is_named_as_its_channel_is() -> None:
    state = MessageState("queued", 0, None, None, route=("meta", "twilio/second", "whapi"))
    assert further(state, Account("meta", "default")) == [Account("twilio", "second"), Account("whapi", "default")]
    assert further(state, Account("twilio", "second")) == [Account("whapi", "default")]
    assert further(replace(state, attempts=1), Account("meta", "default")) == []


async def test_a_window_that_is_closed_where_it_is_ends_it_there() -> None:
    world = World(meta=Provider(shut=DOWN, window=False), cgb=Provider(window=False))
    outcome = await world.run()
    assert isinstance(outcome, Done)
    assert [row.status for row in outcome.rows if isinstance(row, Ended)] == ["skipped"]
    assert world.moves == []

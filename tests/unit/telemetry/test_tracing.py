"""The spans: which is whose parent, what links, and what never stands in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from daemon.bus.outcome import Done, Later
from daemon.telemetry.tracing import MOST_LINKS, Tracing, context_of, traceparent_of
from schemas.envelope import Event
from schemas.errors import ChannelClosed, FerrymanError, Transient

NOW = datetime(2031, 3, 1, 12, tzinfo=UTC)
EVENT = Event(id="e-1", type="order.received", source="orders", subject="+972505550001", time=NOW, data=b"{}")
SYSTEMS: dict[tuple[str, int], str] = {}


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(memory: InMemorySpanExporter) -> Iterator[Tracing]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    yield Tracing(provider, SYSTEMS)
    SYSTEMS.clear()
    provider.shutdown()


def only(memory: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in memory.get_finished_spans() if span.name == name]
    return span


def published(tracing: Tracing, *events: Event) -> list[Event]:
    with tracing.publish(events or [EVENT]) as carrying:
        return carrying


def handled(tracing: Tracing, event: Event, result: object = None, **more: Any) -> str:
    """Handle *event*; returns what it carries meanwhile."""
    about: dict[str, Any] = {
        "attempt": 1,
        "repeated": False,
        "partition": 3,
        "appended": NOW.timestamp() - 2,
        "now": NOW,
    }
    with tracing.process("contact-sync", event, **about | more) as handling:
        handling.ended(Done() if result is None else result)
        return handling.traceparent


def test_an_event_carries_the_span_that_published_it_and_its_handling_is_a_child(
    tracing: Tracing, memory: InMemorySpanExporter
) -> None:
    (event,) = published(tracing)
    carried = handled(tracing, event)
    publish, process = only(memory, "orders publish"), only(memory, "contact-sync process")
    assert event._replace(traceparent="") == EVENT
    assert process.parent is not None
    assert (process.parent.span_id, process.links) == (publish.context.span_id, ())
    assert carried == traceparent_of(process.context)
    assert [(one.name, dict(one.attributes or {})) for one in process.events] == [
        ("waited in lane", {"ferryman.waited_ms": 2000})
    ]


@pytest.mark.parametrize(
    ("event", "more"),
    [
        (EVENT, {"repeated": True, "attempt": 2}),
        (EVENT._replace(replayid="contact-sync:1"), {}),
        (EVENT._replace(target="contact-sync"), {}),
        (EVENT._replace(time=NOW - timedelta(hours=1)), {}),
    ],
    ids=["a retry", "a replay", "an operator's retry", "a long wait"],
)
def test_a_repetition_and_what_has_waited_for_long_begin_a_trace_of_their_own(
    tracing: Tracing, memory: InMemorySpanExporter, event: Event, more: dict[str, Any]
) -> None:
    (sent,) = published(tracing, event)
    handled(tracing, sent, **more)
    publish, process = only(memory, "orders publish"), only(memory, "contact-sync process")
    assert process.parent is None
    assert process.context.trace_id != publish.context.trace_id
    assert [link.context.span_id for link in process.links] == [publish.context.span_id]


@pytest.mark.parametrize("traceparent", ["", "garbage", "00-0-0-01", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_an_event_without_a_usable_context_begins_a_trace(
    tracing: Tracing, memory: InMemorySpanExporter, traceparent: str
) -> None:
    handled(tracing, EVENT._replace(traceparent=traceparent))
    process = only(memory, "contact-sync process")
    assert (process.parent, process.links) == (None, ())


def test_a_context_survives_its_text() -> None:
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    found = context_of(text)
    assert found is not None
    assert traceparent_of(found) == text


@pytest.mark.parametrize(
    ("result", "outcome", "is_error"),
    [
        (Done(), "done", False),
        (Done(skipped="dry run"), "skipped", False),
        (Later(NOW), "later", False),
        (Transient("HTTP 500 for +972505550001"), "failed", True),
        (ChannelClosed("cgb is away", channel="cgb"), "waits", False),
    ],
)
def test_an_end_is_told_by_its_kind_and_never_by_its_text(
    tracing: Tracing, memory: InMemorySpanExporter, result: object, outcome: str, is_error: bool
) -> None:
    handled(tracing, EVENT, result)
    span = only(memory, "contact-sync process")
    assert span.attributes is not None
    assert span.attributes["ferryman.outcome"] == outcome
    assert (span.status.status_code is trace.StatusCode.ERROR) is is_error
    assert span.attributes.get("error.type") == (type(result).__name__ if isinstance(result, FerrymanError) else None)
    assert "50555" not in span.to_json()


def test_what_is_done_for_many_links_to_each_once_and_to_no_more_than_are_kept(
    tracing: Tracing, memory: InMemorySpanExporter
) -> None:
    events = [published(tracing, EVENT._replace(id=f"e-{n}"))[0] for n in range(MOST_LINKS + 5)]
    with tracing.append([*events, events[0]]):
        pass
    append = only(memory, "append")
    assert append.parent is None
    assert len({link.context.span_id for link in append.links}) == len(append.links) == MOST_LINKS
    with tracing.commit("contact-sync", [context_of(event.traceparent) for event in events[:3]] + [None]):
        pass
    assert len(only(memory, "commit").links) == 3


def test_what_is_done_for_nobody_who_is_traced_has_no_span(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    with tracing.append([EVENT]), tracing.commit("journal", [None]):
        pass
    assert memory.get_finished_spans() == ()


def test_what_is_not_sampled_is_carried_on_and_not_recorded(memory: InMemorySpanExporter) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracing = Tracing(provider, {})
    (event,) = published(tracing)
    carried = context_of(event.traceparent)
    assert carried is not None
    assert not carried.trace_flags.sampled
    with tracing.append([event]):
        pass
    assert memory.get_finished_spans() == ()


@pytest.mark.parametrize("spanning", ["publish", "append", "commit"])
def test_an_error_marks_its_span_by_its_class_alone(
    tracing: Tracing, memory: InMemorySpanExporter, spanning: str
) -> None:
    (event,) = published(tracing)
    memory.clear()
    made: Any = {
        "publish": lambda: tracing.publish([event]),
        "append": lambda: tracing.append([event]),
        "commit": lambda: tracing.commit("journal", [context_of(event.traceparent)]),
    }
    with suppress(ValueError), made[spanning]():
        raise ValueError("about +972505550001")
    (span,) = memory.get_finished_spans()
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.status.status_code) == ("ValueError", trace.StatusCode.ERROR)
    assert "50555" not in span.to_json()


async def test_a_webhook_is_the_child_of_its_sender_and_a_failure_of_ours_is_an_error(
    tracing: Tracing, memory: InMemorySpanExporter
) -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=int(request.query["status"]))

    app = web.Application()
    app.router.add_post("/webhooks/orders", tracing.webhook("/webhooks/orders", handle))
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    async with TestServer(app) as server, ClientSession() as session:
        for status in (202, 401, 503):
            await session.post(server.make_url(f"/webhooks/orders?status={status}&phone=972505550001"), headers=headers)
    spans = memory.get_finished_spans()
    assert [span.attributes["http.response.status_code"] for span in spans if span.attributes] == [202, 401, 503]
    assert [span.status.status_code is trace.StatusCode.ERROR for span in spans] == [False, False, True]
    assert {f"{span.context.trace_id:032x}" for span in spans} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert not any("50555" in span.to_json() for span in spans)


@pytest.mark.parametrize(("system", "told"), [("chatwoot", True), ("cgb", False), ("other", False)])
async def test_a_request_is_a_span_within_another_one_and_tells_only_chatwoot_of_it(
    tracing: Tracing, memory: InMemorySpanExporter, system: str, told: bool
) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("traceparent"))
        return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/contacts/{phone}", answer)
    async with TestServer(app) as server, ClientSession(trace_configs=[tracing.requests()]) as session:
        if system != "other":
            SYSTEMS[server.host, server.port or 0] = system
        url = server.make_url("/contacts/972505550001?email=a@acme.example")
        await session.get(url)
        assert memory.get_finished_spans() == ()
        with tracing.process(
            "contact-sync", EVENT, attempt=1, repeated=False, partition=0, appended=0.0, now=NOW
        ) as handling:
            await session.get(url)
            expected = handling.context.span_id
    span = only(memory, f"GET {system}")
    assert span.parent is not None
    assert span.parent.span_id == expected
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 404
    assert seen[0] is None
    assert seen[1] == (traceparent_of(span.context) if told else None)
    assert "50555" not in span.to_json()
    assert "acme" not in span.to_json()


async def test_a_request_that_gets_no_answer_ends_its_span(tracing: Tracing, memory: InMemorySpanExporter) -> None:
    async with ClientSession(trace_configs=[tracing.requests()]) as session:
        with tracing.publish([EVENT]), suppress(OSError):
            await session.get("http://127.0.0.1:9/")
    span = only(memory, "GET other")
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ClientConnectorError"

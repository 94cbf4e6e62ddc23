"""The spans of the process: their names, their attributes, and which of them belong together.

    POST /webhooks/orders ─► orders publish ─► contact-sync process ─► PUT cgb
                                │ (link)          │ (link)
                             append            commit

The stream carries the context of *publish*, and what handling an event brings about carries that of *process*. Names
and values come from closed sets, as labels of metrics do; an event's id is the one thing from outside. No phone, name,
text or query of a URL is in any. This module is imported only where traces are wanted (`daemon/traces.py`): elsewhere
none of it is called. Messaging conventions of OpenTelemetry are in development: their names are here alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from aiohttp import TraceConfig, TraceRequestEndParams, TraceRequestExceptionParams, TraceRequestStartParams
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.errors import FerrymanError, NotSent

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

    from schemas.envelope import Event

ANEW_S: Final = 300.0
"""What is handled so long after it was accepted begins a trace of its own: else traces would never end."""

MOST_LINKS: Final = 128
"""As many as the SDK keeps."""

OURS: Final = frozenset({"chatwoot"})
"""The systems that may be the operator's own, and so have a use for our context. Others get no unknown header."""

HOSTED: Final = frozenset({"app.chatwoot.com"})
"""Those of their vendor all the same."""

OTHER: Final = "other"

_HEADER: Final = "traceparent"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_REDIS: Final = {"messaging.system": "redis"}


def context_of(traceparent: str) -> SpanContext | None:
    """The context that *traceparent* names; None where it names none."""
    if not traceparent:
        return None
    found = trace.get_current_span(_PROPAGATOR.extract({_HEADER: traceparent}, Context())).get_span_context()
    return found if found.is_valid else None


def traceparent_of(context: SpanContext) -> str:
    """*context* as an event or a header carries it."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _links(contexts: Iterable[SpanContext | None]) -> list[Link]:
    """Links to those that are recorded, each once."""
    known = {(one.trace_id, one.span_id): one for one in contexts if one is not None and one.trace_flags.sampled}
    return [Link(one) for one in list(known.values())[:MOST_LINKS]]


@dataclass(slots=True)
class Handling:
    """One call of a handler. *traceparent*: what the event carries while it is handled."""

    span: Span
    traceparent: str

    @property
    def context(self) -> SpanContext:
        """What others link to."""
        return self.span.get_span_context()

    def ended(self, result: object) -> None:
        """It returned *result*, or raised it. What waits for its channel has not failed."""
        if isinstance(result, FerrymanError):
            self.span.set_attribute("error.type", type(result).__name__)
            if result.code:
                self.span.set_attribute("ferryman.error_code", result.code)
            if not isinstance(result, NotSent):
                self.span.set_status(Status(StatusCode.ERROR))
        self.span.set_attribute("ferryman.outcome", _outcome(result))


def _outcome(result: object) -> str:
    if isinstance(result, FerrymanError):
        return "waits" if isinstance(result, NotSent) else "failed"
    return "skipped" if getattr(result, "skipped", None) is not None else type(result).__name__.lower()


class Tracing:
    """Makes the spans. *systems*: (host, port) of an outside system -> its name."""

    def __init__(self, provider: TracerProvider, systems: Mapping[tuple[str, int], str]) -> None:
        self._tracer = provider.get_tracer("ferryman")
        self._systems = systems

    def _span(self, name: str, kind: SpanKind, **more: Any) -> AbstractContextManager[Span]:
        """A span that is current while it lasts. An error marks it by its class alone: its text may hold anything."""
        return self._tracer.start_as_current_span(
            name, kind=kind, record_exception=False, set_status_on_exception=False, **more
        )

    @contextmanager
    def _together(self, name: str, links: Sequence[Link], told: Mapping[str, Any]) -> Iterator[None]:
        """A span of its own for what is done for all that it links to."""
        with self._span(name, SpanKind.CLIENT, context=Context(), links=links, attributes=told) as span, _marking(span):
            yield

    def webhook(
        self, path: str, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """*handler*, which serves POST at *path*, with a span for each request."""
        told = {"http.request.method": "POST", "http.route": path}

        async def traced(request: web.Request) -> web.Response:
            parent = _PROPAGATOR.extract(request.headers, Context())
            with self._span(f"POST {path}", SpanKind.SERVER, context=parent, attributes=told) as span:
                answer = await handler(request)
                span.set_attribute("http.response.status_code", answer.status)
                if answer.status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            return answer

        return traced

    @contextmanager
    def publish(self, events: Sequence[Event]) -> Iterator[list[Event]]:
        """While *events* of one request are made durable: they, with the context that they carry from here on."""
        topic = events[0].topic
        told: dict[str, Any] = _REDIS | {
            "messaging.operation.type": "send",
            "messaging.operation.name": "publish",
            "messaging.destination.name": topic,
            "messaging.batch.message_count": len(events),
        }
        if len(events) == 1:
            told["messaging.message.id"] = events[0].id
        with self._span(f"{topic} publish", SpanKind.PRODUCER, attributes=told) as span, _marking(span):
            carried = traceparent_of(span.get_span_context())
            yield [event._replace(traceparent=carried) for event in events]

    @contextmanager
    def append(self, events: Sequence[Event]) -> Iterator[None]:
        """While the events of several requests go to their streams in one round trip."""
        links = _links(context_of(one) for one in dict.fromkeys(event.traceparent for event in events))
        if not links:
            yield
            return
        told = _REDIS | {"messaging.batch.message_count": len(events)}
        with self._together("append", links, told):
            yield

    @contextmanager
    def process(
        self,
        worker: str,
        event: Event,
        *,
        attempt: int,
        repeated: bool,
        partition: int,
        appended: float,
        now: datetime,
    ) -> Iterator[Handling]:
        """While *worker* handles *event*. *attempt*: from 1. *repeated*: a call of the handler has failed before.
        *appended*: when the event came to its stream, Unix seconds.

        A repetition, and what has waited for long, begins a trace of its own, with a link to the first.
        """
        origin = context_of(event.traceparent)
        again = repeated or event.replayid or event.target or (now - event.time).total_seconds() > ANEW_S
        follows = origin is not None and not again
        told: dict[str, Any] = _REDIS | {
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.consumer.group.name": worker,
            "messaging.destination.name": event.topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.message.id": event.id,
            "ferryman.event_type": event.type,
            "ferryman.attempt": attempt,
        }
        with self._span(
            f"{worker} process",
            SpanKind.CONSUMER,
            context=_within(origin) if follows else Context(),
            links=() if follows else _links([origin]),
            attributes=told,
        ) as span:
            waited_ms = max(0, round((now.timestamp() - appended) * 1000))
            span.add_event("waited in lane", {"ferryman.waited_ms": waited_ms})
            yield Handling(span, traceparent_of(span.get_span_context()))

    @contextmanager
    def commit(self, worker: str, handled: Sequence[SpanContext | None]) -> Iterator[None]:
        """While what became of several events is written in one transaction."""
        links = _links(handled)
        if not links:
            yield
            return
        told = {"db.system.name": "postgresql", "ferryman.worker": worker, "ferryman.batch_size": len(handled)}
        with self._together("commit", links, told):
            yield

    def requests(self) -> TraceConfig:
        """A span for each request that a client of ours sends within another span."""
        config = TraceConfig()
        config.on_request_start.append(self._request_begins)
        config.on_request_end.append(_request_answered)
        config.on_request_exception.append(_request_failed)
        return config

    async def _request_begins(
        self, session: ClientSession, about: SimpleNamespace, params: TraceRequestStartParams
    ) -> None:
        if not trace.get_current_span().get_span_context().is_valid:
            return
        host, port = params.url.host or "", params.url.port or 0
        system = self._systems.get((host, port), OTHER)
        told = {"http.request.method": params.method, "ferryman.system": system}
        about.span = self._tracer.start_span(f"{params.method} {system}", kind=SpanKind.CLIENT, attributes=told)
        if system in OURS and host not in HOSTED:
            params.headers[_HEADER] = traceparent_of(about.span.get_span_context())


async def _request_answered(session: ClientSession, about: SimpleNamespace, params: TraceRequestEndParams) -> None:
    span: Span | None = getattr(about, "span", None)
    if span is not None:
        span.set_attribute("http.response.status_code", params.response.status)
        if params.response.status >= 400:
            span.set_status(Status(StatusCode.ERROR))
        span.end()


async def _request_failed(session: ClientSession, about: SimpleNamespace, params: TraceRequestExceptionParams) -> None:
    span: Span | None = getattr(about, "span", None)
    if span is not None:
        _mark(span, params.exception)
        span.end()


def _within(origin: SpanContext | None) -> Context:
    return Context() if origin is None else trace.set_span_in_context(trace.NonRecordingSpan(origin), Context())


@contextmanager
def _marking(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        _mark(span, exc)
        raise


def _mark(span: Span, exc: BaseException) -> None:
    span.set_attribute("error.type", type(exc).__name__)
    span.set_status(Status(StatusCode.ERROR))

"""The start and the end of traces: whether they are wanted, and where they go.

The standard variables of OpenTelemetry say both. The SDK comes with the extra `tracing`, and is imported where traces
are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import structlog
from yarl import URL

from daemon.accounts import VALUES
from daemon.lifecycle import StartError
from daemon.settings.model import Settings
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import Metrics
from daemon.version import version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from daemon.telemetry.tracing import Tracing

FLUSH_S: Final = 2.0
"""Longest wait at the end for the collector. What it has not taken by then is lost."""

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

METRICS: Final = (
    Declared(
        "ferryman_spans_total",
        "counter",
        "Spans of traces: ended here, taken by the collector, or refused by it. What has ended and is neither, but for"
        " the last seconds, had no room in the queue.",
        ("outcome",),
        values={"outcome": ("ended", "exported", "failed")},
    ),
)

log = structlog.get_logger(__name__)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether *environ* asks for traces. Raises: StartError where it asks for what is not there."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = {one.strip().lower() for one in environ.get("OTEL_TRACES_EXPORTER", "").split(",")} - {""}
    if exporters == {"none"} or (not exporters and not any(environ.get(name) for name in ENDPOINTS)):
        return False
    if exporters - {"otlp"}:
        raise StartError("OTEL_TRACES_EXPORTER has to be otlp or none")
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise StartError("OTEL_EXPORTER_OTLP_PROTOCOL has to be http/protobuf: set it, and the port (4318 by default)")
    return True


@asynccontextmanager
async def traces(environ: Mapping[str, str], settings: Settings, metrics: Metrics) -> AsyncIterator[Tracing | None]:
    """What makes the spans of the process, where *environ* asks for them; else None, and nothing is ever called.

    At the end the collector has FLUSH_S to take what is left. Raises: StartError.
    """
    if not wanted(environ):
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        from daemon.telemetry.tracing import Tracing
    except ImportError as exc:
        raise StartError(
            "OTEL_* asks for traces, and the extra `tracing` is not installed: see deploy/README.md, Traces"
        ) from exc

    class Counted(SpanExporter):
        """Counts what the collector takes. It runs in a thread of the SDK, which alone writes these series."""

        def __init__(self, to: SpanExporter) -> None:
            self._to = to
            self._failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = self._to.export(spans)
            taken = result is SpanExportResult.SUCCESS
            metrics.inc("ferryman_spans_total", {"outcome": "exported" if taken else "failed"}, len(spans))
            if taken is self._failing:  # told once
                self._failing = not taken
                log.info("traces.exported") if taken else log.warning("traces.not_exported", spans=len(spans))
            return result

        def shutdown(self) -> None:
            self._to.shutdown()

    class Ended(BatchSpanProcessor):
        """Counts what it is given."""

        def on_end(self, span: ReadableSpan) -> None:
            if span.context is not None and span.context.trace_flags.sampled:
                metrics.inc("ferryman_spans_total", {"outcome": "ended"})
            super().on_end(span)

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would repeat itself while the collector is away
    try:
        provider = TracerProvider(resource=Resource.create(_resource(environ)), shutdown_on_exit=False)
        provider.add_span_processor(Ended(Counted(OTLPSpanExporter())))
    except ValueError as exc:
        raise StartError("a variable OTEL_* has a value that OpenTelemetry does not know") from exc
    log.info("traces.on")
    try:
        yield Tracing(provider, systems(settings))
    finally:
        await _ended(provider.shutdown)


def _resource(environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    of_us = {"service.version": version(), "service.instance.id": uuid4().hex}
    return of_us if named else of_us | {"service.name": "ferryman"}


def systems(settings: Settings) -> dict[tuple[str, int], str]:
    """(host, port) of an outside system -> its name in spans."""
    addresses = {name: getattr(settings, values["url"]) for name, values in VALUES.items()}
    addresses |= {"openai": settings.openai_base_url, "upstream": settings.sync_upstream_url}
    urls = {name: URL(address) for name, address in addresses.items() if address is not None}
    return {(url.host or "", url.port or 0): name for name, url in urls.items()}


async def _ended(shut_down: Callable[[], None]) -> None:
    """Await *shut_down*, FLUSH_S at most, in a thread that does not keep the process: the SDK goes on trying for many
    seconds where nobody answers."""
    done, loop = asyncio.Event(), asyncio.get_running_loop()

    def run() -> None:
        try:
            shut_down()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="traces-end", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_S):
            await done.wait()
    except TimeoutError:
        log.warning("traces.cut", after_s=FLUSH_S)

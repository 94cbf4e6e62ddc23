"""Whether traces are wanted, by the standard variables."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from daemon.lifecycle import StartError
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics
from daemon.traces import METRICS, systems, traces, wanted

COLLECTOR = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "ferryman"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_traces_are_on_where_the_standard_variables_say_where_they_go(environ: dict[str, str], on: bool) -> None:
    assert wanted(environ) is on


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER has to be otlp or none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "http/protobuf"),
    ],
)
def test_what_is_asked_for_and_is_not_there_stops_the_start(environ: dict[str, str], says: str) -> None:
    with pytest.raises(StartError, match=says):
        wanted(environ)


async def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(StartError, match="the extra `tracing` is not installed"):
        async with traces({"OTEL_TRACES_EXPORTER": "otlp"}, Settings(), Metrics(METRICS)):
            pass


async def test_a_value_that_the_sdk_does_not_know_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-5")
    with pytest.raises(StartError, match="OTEL_"):
        async with traces({"OTEL_TRACES_EXPORTER": "otlp"}, Settings(), Metrics(METRICS)):
            pass


def test_a_process_without_traces_needs_no_opentelemetry() -> None:
    """Promise: off costs nothing. All that a daemon is made of is imported, where the extra is not installed."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None;"
        "import daemon.cli.run, daemon.app, daemon.workers;"
        "sys.exit('daemon.telemetry.tracing' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_system_is_known_by_its_host_and_port() -> None:
    given: dict[str, Any] = {
        "chatwoot_base_url": "https://chat.acme.example",
        "cgb_api_url": "http://127.0.0.1:9000/api",
    }
    found = systems(Settings(**given))
    assert found["chat.acme.example", 443] == "chatwoot"
    assert found["127.0.0.1", 9000] == "cgb"
    assert found["graph.facebook.com", 443] == "meta"
    assert "upstream" not in found.values()

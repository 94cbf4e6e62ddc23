"""The page of the metrics, as Prometheus reads it."""

from __future__ import annotations

from daemon.telemetry.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Series, as it stands on the page -> value."""
    lines = metrics.render()[0].decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

"""The numbers on /metrics: every name in one table, every label from a closed set.

A label value outside its set counts as "other", so nothing from outside can make a series. No phone, name or
id is ever a label.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Final, Literal, TypeAlias

from aioprometheus.collectors import Counter, Gauge, Histogram, Registry
from aioprometheus.histogram import Histogram as Buckets
from aioprometheus.renderer import render

OTHER: Final = "other"

Series: TypeAlias = tuple[str, ...]
"""A metric's name and the texts of its labels, in their declared order."""

WEBHOOK_OUTCOMES: Final = ("accepted", "spooled", "refused", "unavailable", "error")
REFUSAL_REASONS: Final = ("signature", "too_large", "not_json", "malformed", "no_identity", "timeout")
EVENT_OUTCOMES: Final = ("done", "skipped", "dead", "uncertain", "retried", "later")

_WEBHOOK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EVENT_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SYNC_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its kind, what it tells, its labels. *buckets*: upper bounds in seconds, of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


DECLARED: Final = (
    Declared("cgb_sync_total", "counter", "Order synchronisations to CGB that were begun."),
    Declared("cgb_sync_success", "counter", "Order synchronisations to CGB that succeeded."),
    Declared("cgb_sync_failures", "counter", "Order synchronisations to CGB that failed for good."),
    Declared("cgb_sync_duration", "histogram", "Seconds of one synchronisation to CGB.", buckets=_SYNC_BUCKETS),
    Declared("cgb_contacts_created", "counter", "Contacts created in CGB."),
    Declared("cgb_contacts_updated", "counter", "Contacts updated in CGB."),
    Declared("cgb_whatsapp_available", "counter", "Numbers found to be on WhatsApp."),
    Declared("cgb_whatsapp_unavailable", "counter", "Numbers found not to be on WhatsApp."),
    Declared("ferryman_webhooks_total", "counter", "Webhook requests answered.", ("source", "outcome")),
    Declared(
        "ferryman_webhook_seconds",
        "histogram",
        "Seconds from a webhook request to its answer.",
        ("source",),
        _WEBHOOK_BUCKETS,
    ),
    Declared("ferryman_refused_total", "counter", "Webhook requests refused, by reason.", ("source", "reason")),
    Declared("ferryman_events_total", "counter", "How the handling of events ended.", ("worker", "outcome")),
    Declared(
        "ferryman_event_seconds",
        "histogram",
        "Seconds of one call of a handler.",
        ("worker",),
        _EVENT_BUCKETS,
    ),
    Declared("ferryman_lag", "gauge", "Events published that the worker has not settled.", ("worker",)),
    Declared("ferryman_oldest_seconds", "gauge", "Age of the worker's oldest unsettled event.", ("worker",)),
    Declared("ferryman_dead_letters", "gauge", "Dead letters that wait for a person.", ("worker",)),
    Declared("ferryman_uncertain", "gauge", "Sends of which nobody knows the outcome.", ("provider",)),
    Declared("ferryman_breaker_open", "gauge", "1 while calls to the provider are stopped.", ("provider",)),
    Declared("ferryman_spool", "gauge", "Accepted events that wait in Postgres for Redis."),
    Declared("ferryman_loop_lag_seconds", "gauge", "How late the event loop runs what is due."),
)
"""Every metric there is."""


class Metrics:
    """The metrics of one process, in a registry of their own.

    *workers*, *sources*, *providers*: the values that the labels of these names may have. A name that is not
    declared, another kind's method or other label names than the declared ones raise ValueError: they are
    mistakes of the code, whatever the data.
    """

    def __init__(self, *, workers: Collection[str], sources: Collection[str], providers: Collection[str]) -> None:
        allowed = {"worker": workers, "source": sources, "provider": providers, "reason": REFUSAL_REASONS}
        outcomes = {
            "ferryman_webhooks_total": WEBHOOK_OUTCOMES,
            "ferryman_events_total": EVENT_OUTCOMES,
        }
        self._registry = Registry()
        self._declared = {metric.name: metric for metric in DECLARED}
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        # what grows with every request or event is kept here: the collectors look a series up by its labels' JSON
        self._counted: dict[Series, float] = {}
        self._observed: dict[Series, _Buckets] = {}
        # per metric and label: value to the text on the page
        self._values: dict[str, dict[str, dict[str, str]]] = {}
        for metric in DECLARED:
            sets = {label: allowed.get(label) or outcomes.get(metric.name, ()) for label in metric.labels}
            self._values[metric.name] = {
                label: {value: escaped(value) for value in (*values, OTHER)} for label, values in sets.items()
            }
            self._create(metric)

    def inc(self, name: str, labels: Mapping[str, str] | None = None, n: float = 1) -> None:
        """Add *n* (0 or more) to the counter *name*."""
        if name not in self._counters:
            raise ValueError(f"{name} is not a declared counter")
        if _finite(n) < 0:
            raise ValueError("a counter does not decrease")
        self._counted[self._series(name, labels)] += n

    def set(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Make *value* the value of the gauge *name*."""
        if name not in self._gauges:
            raise ValueError(f"{name} is not a declared gauge")
        _, *texts = self._series(name, labels)
        self._gauges[name].set(dict(zip(self._values[name], texts, strict=True)), _finite(value))

    def observe(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Count *value*, in seconds, in the histogram *name*."""
        self.observer(name, labels)(_finite(value))

    def observer(self, name: str, labels: Mapping[str, str] | None = None) -> Callable[[float], None]:
        """`observe` of one series, to be kept where it is called often."""
        if name not in self._histograms:
            raise ValueError(f"{name} is not a declared histogram")
        return self._observed[self._series(name, labels)].observe

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """The page and its content type, in the Prometheus text format whatever *accept* asks for."""
        for (name, *texts), value in self._counted.items():
            self._counters[name].set(dict(zip(self._values[name], texts, strict=True)), value)
        page, headers = render(self._registry, [accept] if accept else [])
        return page, headers["Content-Type"]

    def _create(self, metric: Declared) -> None:
        """Register *metric*. Counters and histograms begin at 0, so that rate() sees the first increase."""
        help_text = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
        if metric.kind == "gauge":
            # no value before the first measurement: 0 would claim that all is well
            self._gauges[metric.name] = Gauge(metric.name, help_text, registry=self._registry)
        elif metric.kind == "counter":
            self._counters[metric.name] = Counter(metric.name, help_text, registry=self._registry)
            for labels in self._label_sets(metric):
                self._counted[metric.name, *labels.values()] = 0
        else:
            bounds = (*metric.buckets, math.inf)
            histogram = Histogram(metric.name, help_text, registry=self._registry, buckets=bounds)
            self._histograms[metric.name] = histogram
            for labels in self._label_sets(metric):
                histogram.values[labels] = self._observed[metric.name, *labels.values()] = _Buckets(bounds)

    def _label_sets(self, metric: Declared) -> Iterator[dict[str, str]]:
        values = (self._values[metric.name][label].values() for label in metric.labels)
        for combination in product(*values):
            yield dict(zip(metric.labels, combination, strict=True))

    def _series(self, name: str, labels: Mapping[str, str] | None) -> Series:
        allowed = self._values[name]
        given = labels or {}
        if given.keys() != allowed.keys():
            raise ValueError(f"{name} has the labels {tuple(allowed)}")
        return name, *[texts.get(given[label], OTHER) for label, texts in allowed.items()]


class _Buckets(Buckets):
    """Counts in one bucket, where the package's own counts in each that is large enough; the page gets the sums."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * len(bounds)
        super().__init__(*bounds)

    def observe(self, value: float) -> None:
        """Count *value*."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value
        self.observations += 1

    @property
    def buckets(self) -> OrderedDict[float, int]:
        """Upper bound -> how many are not above it."""
        return OrderedDict(zip(self._bounds, accumulate(self._counts), strict=True))

    @buckets.setter
    def buckets(self, _: object) -> None:
        """The package sets what it would count in."""


def escaped(value: str) -> str:
    """*value* as it stands between the quotes of a label; aioprometheus writes it as it is given."""
    text = value.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a metric's value must be a finite number")
    return value

"""The numbers on /metrics: every name declared once, every label from a closed set.

A label value outside its set counts as "other", so nothing from outside can make a series. No phone, name or id is
ever a label.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Final, TypeAlias

from aioprometheus.collectors import Counter, Gauge, Histogram, Registry
from aioprometheus.histogram import Histogram as Buckets
from aioprometheus.renderer import render

from daemon.telemetry.declared import Declared

OTHER: Final = "other"

Series: TypeAlias = tuple[str, ...]
"""A metric's name and the texts of its labels, in their declared order."""


class Metrics:
    """The metrics of one process, in a registry of their own.

    *workers*, *sources*, *providers*: the values that the labels `worker`, `source` and `provider` may have. A name
    that is not declared, another kind's method or other label names than the declared ones raise ValueError: they are
    mistakes of the code, whatever the data.
    """

    def __init__(
        self,
        declared: Sequence[Declared],
        *,
        workers: Collection[str] = (),
        sources: Collection[str] = (),
        providers: Collection[str] = (),
    ) -> None:
        shared = {"worker": workers, "source": sources, "provider": providers}
        self._registry = Registry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        # what grows with every request or event is kept here: the collectors look a series up by its labels' JSON
        self._counted: dict[Series, float] = {}
        self._observed: dict[Series, _Buckets] = {}
        # per metric and label: value to the text on the page
        self._values: dict[str, dict[str, dict[str, str]]] = {}
        for metric in declared:
            self._values[metric.name] = {
                label: {value: escaped(value) for value in (*(metric.values.get(label) or shared[label]), OTHER)}
                for label in metric.labels
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
        """`observe` of one series, for a caller that observes it often."""
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

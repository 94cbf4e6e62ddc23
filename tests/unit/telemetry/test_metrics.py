"""Metrics: the page can be read by Prometheus and never grows by what the outside sends."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from daemon.app import declared
from daemon.telemetry.metrics import Metrics
from daemon.web.metrics import REASONS
from daemon.workers import WORKERS

AWKWARD = 'a"b\\c\nd'


def make(workers: Iterable[str] = ("contact-sync", "journal")) -> Metrics:
    return Metrics(declared(WORKERS), workers=tuple(workers), sources=("orders", "meta"), providers=("cgb",))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page, _ = metrics.render()
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found, key = samples(metrics), tuple(sorted(labels.items()))
    # the parser calls every counter …_total, whatever stands on the page
    return found[name, key] if (name, key) in found else found[f"{name}_total", key]


def test_counters_and_histograms_are_there_at_0_from_the_start() -> None:
    metrics = make()
    assert value(metrics, "cgb_sync_total") == 0
    assert value(metrics, "ferryman_webhooks_total", source="orders", outcome="accepted") == 0
    assert value(metrics, "ferryman_refused_total", source="meta", reason="signature") == 0
    assert value(metrics, "ferryman_events_total", worker="journal", outcome="dead") == 0
    assert value(metrics, "cgb_sync_duration_count") == 0
    assert value(metrics, "ferryman_webhook_seconds_bucket", source="orders", le="+Inf") == 0


def test_a_gauge_says_nothing_before_it_was_measured() -> None:
    assert "ferryman_spool" not in {name for name, _ in samples(make())}


def test_counting_setting_and_observing_show_on_the_page() -> None:
    metrics = make()
    metrics.inc("cgb_contacts_created")
    metrics.inc("ferryman_events_total", {"worker": "journal", "outcome": "done"}, 5)
    metrics.set("ferryman_spool", 3)
    metrics.set("ferryman_lag", 7, {"worker": "journal"})
    metrics.observe("cgb_sync_duration", 0.2)
    assert value(metrics, "cgb_contacts_created") == 1
    assert value(metrics, "ferryman_events_total", worker="journal", outcome="done") == 5
    assert value(metrics, "ferryman_spool") == 3
    assert value(metrics, "ferryman_lag", worker="journal") == 7
    assert value(metrics, "cgb_sync_duration_bucket", le="0.1") == 0
    assert value(metrics, "cgb_sync_duration_bucket", le="0.25") == 1
    assert value(metrics, "cgb_sync_duration_sum") == 0.2


def test_every_declared_name_has_its_type_and_help_on_the_page() -> None:
    page, content_type = make().render("text/plain")
    assert content_type.startswith("text/plain; version=0.0.4")
    for metric in declared(WORKERS):
        assert f"# TYPE {metric.name} {metric.kind}\n" in page.decode()
        assert f"# HELP {metric.name} {metric.help}\n" in page.decode()


def test_two_instances_do_not_count_together() -> None:
    one, other = make(), make()
    one.inc("cgb_sync_total")
    assert value(other, "cgb_sync_total") == 0


def test_a_value_outside_its_set_counts_as_other() -> None:
    metrics = make()
    metrics.inc("ferryman_refused_total", {"source": "+15550001234", "reason": AWKWARD})
    assert value(metrics, "ferryman_refused_total", source="other", reason="other") == 1


def test_names_with_quotes_backslashes_and_line_ends_come_back_as_they_were() -> None:
    metrics = make(workers=(AWKWARD,))
    metrics.inc("ferryman_events_total", {"worker": AWKWARD, "outcome": "done"})
    assert value(metrics, "ferryman_events_total", worker=AWKWARD, outcome="done") == 1


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf])
def test_a_counter_takes_neither_less_than_0_nor_what_is_no_number(wrong: float) -> None:
    with pytest.raises(ValueError):
        make().inc("cgb_sync_total", n=wrong)


def test_a_mistake_of_the_code_is_raised_at_once() -> None:
    metrics = make()
    with pytest.raises(ValueError, match="not a declared counter"):
        metrics.inc("cgb_sync_totals")
    with pytest.raises(ValueError, match="not a declared gauge"):
        metrics.set("cgb_sync_total", 1)
    with pytest.raises(ValueError, match="not a declared histogram"):
        metrics.observe("ferryman_spool", 1)
    with pytest.raises(ValueError, match="has the labels"):
        metrics.inc("ferryman_refused_total", {"source": "orders"})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text() | st.sampled_from(REASONS), st.text()), max_size=20))
def test_random_label_values_keep_the_page_readable_and_the_number_of_series(
    labels: list[tuple[str, str]],
) -> None:
    metrics = make()
    before = len(samples(metrics))
    for one, two in labels:
        metrics.inc("ferryman_refused_total", {"source": two, "reason": one})
        metrics.inc("ferryman_events_total", {"worker": one, "outcome": two})
        metrics.observe("ferryman_webhook_seconds", 0.01, {"source": one})
    assert len(samples(metrics)) == before


@settings(max_examples=60, deadline=None)
@given(st.sets(st.text(), max_size=5))
def test_whatever_workers_are_called_the_page_stays_readable(workers: set[str]) -> None:
    metrics = make(workers=workers)
    for worker in workers:
        metrics.set("ferryman_lag", 1, {"worker": worker})
    assert samples(metrics)

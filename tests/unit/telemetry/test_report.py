"""The report of a process, as its row keeps it."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from daemon.telemetry.report import ProviderReport, Report, report_from

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
REPORT = Report(
    host="h",
    pid=7,
    version="1",
    started_at=NOON,
    listens="127.0.0.1:8080",
    settings={"CGB_RATE_PER_MINUTE": "90"},
    settings_at=NOON,
    workers=("journal",),
    workers_off={"contact-sync": "CGB_API_KEY is not set"},
    sources=("orders",),
    sources_off={},
    unsigned=("orders",),
    credentials={"meta/second": "no key"},
    providers={
        "cgb": ProviderReport(state="away", since=NOON, error="http-500", error_at=NOON, waiting=3, lacks=("a", "b"))
    },
)


def test_a_report_is_read_as_it_was_told() -> None:
    assert report_from(orjson.dumps(REPORT.document()).decode()) == REPORT


def test_the_report_of_another_version_is_read_as_far_as_it_is_known() -> None:
    newer = orjson.dumps(REPORT.document() | {"mood": "good", "providers": {"cgb": {"state": "up", "taste": 1}}})
    assert report_from(newer.decode()).providers == {"cgb": ProviderReport(state="up")}
    assert report_from("{}") == Report()


def test_the_digest_of_the_settings_is_the_same_where_they_are() -> None:
    same = Report(settings={"B": "2", "A": "1"}).settings_digest
    assert same == Report(settings={"A": "1", "B": "2"}).settings_digest
    assert same != Report(settings={"A": "1", "B": "3"}).settings_digest

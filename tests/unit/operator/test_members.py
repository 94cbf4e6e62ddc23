"""Several processes seen together: their providers, what none of them serves, and how this shell differs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from daemon.operator.members import Member, credentials, differences, disagreements, providers, sources_off, workers_off
from daemon.telemetry.report import ProviderReport, Report

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)


def member(id: str, **report: Any) -> Member:
    return Member(id, Report(host="h", pid=1, **report))


def test_the_provider_of_the_process_that_is_worst_off_counts() -> None:
    up = ProviderReport(state="up", error="http-500", error_at=NOON)
    down = ProviderReport(state="refused", since=NOON, error="http-401", error_at=NOON, waiting=2)
    (found,) = providers(
        [member("a", providers={"cgb": up}), member("b", providers={"cgb": down}), member("c", providers={"cgb": down})]
    ).values()
    assert (found.state, found.error, found.waiting, found.processes, found.of) == ("refused", "http-401", 4, 2, 3)
    assert found.why == "cgb refuses our account or key (http-401)"
    assert found.stopped


def test_a_provider_that_answers_gives_no_reason() -> None:
    (found,) = providers([member("a", providers={"cgb": ProviderReport(state="up", error="http-500")})]).values()
    assert (found.why, found.stopped) == ("", False)
    (unknown,) = providers([member("a", providers={"cgb": ProviderReport(state="of a newer version")})]).values()
    assert not unknown.stopped


def test_what_an_account_lacks_is_told_whichever_process_has_seen_it() -> None:
    one, two = (ProviderReport(state="up", lacks=names) for names in (("b",), ("a", "b")))
    (found,) = providers([member("a", providers={"cgb": one}), member("b", providers={"cgb": two})]).values()
    assert found.lacks == ("a", "b")
    assert found.document()["lacks"] == ["a", "b"]


def test_a_setting_differs_where_no_process_has_the_value_of_this_shell() -> None:
    here = Report(settings={"CGB_API_KEY": "unset", "FERRYMAN_WORKERS": "all", "FERRYMAN_PORT": "8080"})
    one = member("a", settings={"CGB_API_KEY": "***", "FERRYMAN_WORKERS": "journal", "FERRYMAN_PORT": "9000"})
    two = member("b", settings={"CGB_API_KEY": "***", "FERRYMAN_WORKERS": "all", "FERRYMAN_PORT": "9001"})
    assert differences(here, [one, two]) == ["CGB_API_KEY"]
    assert differences(here, [one]) == ["CGB_API_KEY", "FERRYMAN_WORKERS"]
    assert differences(here, []) == []


def test_the_same_settings_from_two_files_are_no_difference() -> None:
    """Promise: the service's own copy of the file of settings, or `--env-file`, is no reason to warn."""
    here = Report(settings={"FERRYMAN_ENV_FILE": "/etc/ferryman/ferryman.env", "CGB_API_KEY": "***"})
    one = member("a", settings={"FERRYMAN_ENV_FILE": "/run/ferryman/ferryman.env", "CGB_API_KEY": "***"})
    two = member("b", settings={"FERRYMAN_ENV_FILE": "unset", "CGB_API_KEY": "***"})
    assert differences(here, [one]) == []
    assert disagreements([one, two]) == []


def test_processes_that_differ_in_what_they_should_share_are_named_by_the_settings() -> None:
    one = member("a", settings={"CGB_RATE_PER_MINUTE": "90", "FERRYMAN_PORT": "1", "FERRYMAN_WORKERS": "all"})
    two = member("b", settings={"CGB_RATE_PER_MINUTE": "60", "FERRYMAN_PORT": "2", "FERRYMAN_WORKERS": "journal"})
    assert disagreements([one, two]) == ["CGB_RATE_PER_MINUTE"]
    assert disagreements([one]) == []


def test_what_one_process_serves_is_not_off() -> None:
    off = {"orders": "set ORDERS_API_KEY"}
    one = member("a", sources_off=off, workers_off={"contact-sync": "CGB_API_KEY is not set"}, workers=("journal",))
    two = member("b", sources=("orders",), workers_off={"journal": "FERRYMAN_WORKERS does not name it"})
    assert sources_off([one]) == off
    assert sources_off([one, two]) == {}
    assert workers_off([one, two]) == {"contact-sync": "CGB_API_KEY is not set"}


def test_what_one_process_cannot_use_of_the_stored_accounts_is_said() -> None:
    one = member("a", credentials={"meta/second": "no key", "twilio/default": ""})
    two = member("b", credentials={"meta/second": "", "twilio/default": ""})
    assert credentials([one, two]) == credentials([two, one]) == {"meta/second": "no key", "twilio/default": ""}
    assert credentials([]) == {}

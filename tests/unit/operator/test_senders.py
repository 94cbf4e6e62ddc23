"""What `status` and the doctor say of the senders of messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.postgres.holds import TemplateStop
from adapters.postgres.operator.inspect import OpenMessages, TableCounts
from adapters.registry import SENDERS, SOURCES
from daemon.operator.about import about
from daemon.operator.finding import Finding
from daemon.operator.inspection import Inspection
from daemon.operator.members import Member
from daemon.operator.senders import check, fallback, senders
from daemon.settings.model import Settings
from daemon.telemetry.report import ProviderReport
from daemon.workers import WORKERS

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
TABLES = TableCounts(16, {}, {}, 0, None, 0, None, 14, True)
CGB: dict[str, Any] = {"cgb_api_key": SecretStr("1.abcdefghijklmnop")}
META: dict[str, Any] = {"meta_access_token": SecretStr("EAA" + "x" * 20), "meta_phone_number_id": "1060001"}
TWILIO: dict[str, Any] = {"twilio_account_sid": "AC" + "0" * 32, "twilio_auth_token": SecretStr("t" * 32)}


def inspection(given: dict[str, Any], *, running: bool = False, **changed: Any) -> Inspection:
    settings = Settings(**given)
    report = about(settings, WORKERS, SOURCES)
    if running:
        providers = {"cgb": ProviderReport(state="refused", error="http-401")}
        changed["members"] = [Member("m1", replace(report, providers=providers))]
    return Inspection(version="", settings=settings, now=NOON, shell=report, **changed)


def warned(found: Inspection) -> list[Finding]:
    return [finding for finding in check(found) if finding.level != "ok"]


def test_every_sender_is_told_with_what_it_lacks() -> None:
    found = {one.provider: one for one in senders(inspection(META | TWILIO))}
    assert found.keys() == SENDERS.keys()
    assert (found["meta"].state, found["meta"].missing) == ("configured", ())
    assert found["twilio"].state == "off: TWILIO_WHATSAPP_NUMBER is not set"
    assert found["whapi"].missing == ("WHAPI_TOKEN",)
    documented = senders(inspection(CGB | {"cgb_api_style": "documented"}))
    assert documented[0].missing == ("CGB_API_STYLE=live",)


def test_an_account_in_part_and_a_default_that_is_off_are_warnings() -> None:
    texts = [str(finding) for finding in warned(inspection(META | TWILIO))]
    assert len(texts) == 2
    assert any("TWILIO_WHATSAPP_NUMBER" in text for text in texts)
    assert any("go by cgb, which is off" in text and "MESSAGES_DEFAULT_PROVIDER to meta" in text for text in texts)


@pytest.mark.parametrize("given", [{}, CGB, META | {"messages_default_provider": "meta"}])
def test_what_nobody_asked_for_is_no_warning(given: dict[str, Any]) -> None:
    assert warned(inspection(given)) == []


def test_the_fallback_is_told_and_is_a_warning_where_it_is_off() -> None:
    given = CGB | {"messages_fallback_providers": "meta, twilio/second"}
    found = inspection(given)
    assert fallback(found) == ["meta", "twilio/second"]
    assert any("go by cgb, and where it is down by meta, twilio/second" in one.text for one in check(found))
    (finding,) = warned(found)
    assert ("names meta, which is off" in finding.text, "credentials set meta" in finding.do) == (True, True)
    report = replace(found.shell, credentials={"meta/default": ""})
    assert warned(replace(found, members=[Member("m1", report)])) == []
    assert warned(inspection(given | META)) == []
    assert fallback(inspection(CGB)) == []


def test_messages_in_doubt_are_a_warning_and_counted() -> None:
    tables = replace(TABLES, messages={"cgb": OpenMessages(4, 2)})
    (finding,) = warned(inspection(CGB, tables=tables))
    assert ("2 messages by cgb" in finding.text, "uncertain list" in finding.do) == (True, True)
    told = senders(inspection(CGB, tables=tables))[0].document()
    assert (told["queued"], told["uncertain"], told["configured"], told["default"]) == (4, 2, True, True)
    assert senders(inspection(CGB))[0].document()["queued"] is None


def test_a_template_that_is_stopped_is_a_warning() -> None:
    stop = TemplateStop("meta", "default", "news", "he", "meta-132015", "Meta: the template is paused", NOON, NOON)
    (finding,) = warned(
        inspection(META | {"messages_default_provider": "meta"}, tables=replace(TABLES, stopped=[stop]))
    )
    assert (
        "meta takes no messages of the template news (he), and they wait: Meta: the template is paused" in finding.text
    )


def test_a_channel_is_told_as_the_processes_report_it_or_as_it_was_paused() -> None:
    refused = senders(inspection(CGB, running=True))[0]
    assert (refused.channel, "refuses our account or key" in refused.state) == ("refused", True)
    paused = senders(inspection(CGB, paused=frozenset({"cgb"})))[0]
    assert (paused.channel, paused.state) == ("paused", "cgb is paused")
    assert senders(inspection(CGB))[0].channel == "not known"

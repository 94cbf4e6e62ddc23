"""The alerts: each fires on a made-up series, is silent on its twin, and leads to a part of the runbook that exists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.alerts import FILE, RULES
from tests.support.prometheus import promtool

BASE: Final = "https://ferryman.example/deploy/README.md#"
TWO: Final = "http://one", "http://two"
ORDERS: Final = 'ferryman_webhooks_total{source="orders",outcome="accepted"}'


@dataclass(frozen=True, kw_only=True)
class Case:
    """*bad*, *good*: series -> its values, one a minute, as promtool writes them. *at*: the minute that is looked at.
    *labels*: of the alert, beside its severity. *says*: its sentence. *to*: the part of the runbook, where the rule
    chooses among several."""

    alert: str
    bad: dict[str, str]
    good: dict[str, str]
    says: str
    at: int = 60
    labels: dict[str, str] = field(default_factory=dict)
    to: str = ""


CASES: Final = (
    Case(
        alert="FerrymanDown",
        bad={'up{job="ferryman",instance="a"}': "1x3 0x60", 'up{job="ferryman",instance="b"}': "0x63"},
        good={'up{job="ferryman",instance="a"}': "0x63", 'up{job="ferryman",instance="b"}': "1x63"},
        says="No process of Ferryman answers, so senders are refused.",
    ),
    Case(
        alert="FerrymanSyncFailing",
        bad={"cgb_sync_success": "0+8x60", "cgb_sync_failures": "0+2x60"},
        good={"cgb_sync_success": "0+19x60", "cgb_sync_failures": "0+1x60"},
        says="20% of the syncs of orders to CGB have failed in half an hour.",
    ),
    Case(  # few orders: one that fails is no failing sync
        alert="FerrymanSyncFailing",
        bad={"cgb_sync_success": "0x60", "cgb_sync_failures": "0+1x60"},
        good={"cgb_sync_success": "0x60", "cgb_sync_failures": "0x40 1x20"},
        says="100% of the syncs of orders to CGB have failed in half an hour.",
    ),
    Case(  # two processes, of which one alone fails
        alert="FerrymanSyncFailing",
        bad={'cgb_sync_success{instance="a"}': "0+8x60", 'cgb_sync_failures{instance="b"}': "0+2x60"},
        good={'cgb_sync_success{instance="a"}': "0+8x60", 'cgb_sync_failures{instance="b"}': "0x60"},
        says="20% of the syncs of orders to CGB have failed in half an hour.",
    ),
    Case(
        alert="FerrymanNoSyncs",
        bad={ORDERS: "0+1x60", "cgb_sync_success": "5x60"},
        good={ORDERS: "0+1x60", "cgb_sync_success": "0+1x60"},
        says="15 orders have come in a quarter of an hour, and none has reached CGB.",
    ),
    Case(  # the series of successes never was; two orders are too few
        alert="FerrymanNoSyncs",
        bad={ORDERS: "0+1x60"},
        good={ORDERS: "0x30 2x30"},
        says="15 orders have come in a quarter of an hour, and none has reached CGB.",
    ),
    Case(  # the sync is off by the settings
        alert="FerrymanNoSyncs",
        bad={ORDERS: "0+1x60", 'ferryman_configuration_info{cgb_sync="on"}': "1x60"},
        good={ORDERS: "0+1x60", 'ferryman_configuration_info{cgb_sync="off"}': "1x60"},
        says="15 orders have come in a quarter of an hour, and none has reached CGB.",
    ),
    Case(
        alert="FerrymanOldest",
        bad={
            'ferryman_oldest_seconds{worker="contact-sync"}': "0+60x60",
            'ferryman_breaker_open{provider="cgb"}': "0x60",
        },
        good={
            'ferryman_oldest_seconds{worker="contact-sync"}': "500x60",
            'ferryman_breaker_open{provider="cgb"}': "0x60",
        },
        says="The oldest event of contact-sync has waited for 1h 0m 0s.",
        labels={"worker": "contact-sync"},
    ),
    Case(  # its provider is away, which is another alert
        alert="FerrymanOldest",
        bad={'ferryman_oldest_seconds{worker="contact-sync"}': "0+60x60"},
        good={
            'ferryman_oldest_seconds{worker="contact-sync"}': "0+60x60",
            'ferryman_breaker_open{provider="cgb"}': "1x60",
        },
        says="The oldest event of contact-sync has waited for 1h 0m 0s.",
        labels={"worker": "contact-sync"},
    ),
    Case(
        alert="FerrymanBacklogGrows",
        bad={
            'ferryman_lag{worker="journal",instance="a"}': "1000+60x120",
            'ferryman_lag{worker="journal",instance="b"}': "0x120",
        },
        good={
            'ferryman_lag{worker="journal",instance="a"}': "9000-60x120",
            'ferryman_lag{worker="journal",instance="b"}': "0x120",
        },
        says="The backlog of journal grows by 1 events a second.",
        labels={"worker": "journal"},
        at=120,
    ),
    Case(
        alert="FerrymanDeadLetters",
        bad={
            'ferryman_dead_letters{worker="contact-sync",instance="a"}': "1x50 4x20",
            'ferryman_dead_letters{worker="contact-sync",instance="b"}': "1x50 4x20",
        },
        good={
            'ferryman_dead_letters{worker="contact-sync",instance="a"}': "4x70",
            'ferryman_dead_letters{worker="contact-sync",instance="b"}': "4x70",
        },
        says="3 events of contact-sync became dead letters in a quarter of an hour.",
        labels={"worker": "contact-sync"},
    ),
    Case(
        alert="FerrymanUncertain",
        bad={'ferryman_uncertain{provider="meta"}': "0x10 2x60"},
        good={'ferryman_uncertain{provider="meta"}': "0x40 2x5 0x30"},
        says="Of 2 messages by meta nobody knows whether they were sent.",
        labels={"provider": "meta"},
    ),
    Case(
        alert="FerrymanBreakerOpen",
        bad={'ferryman_breaker_open{provider="cgb"}': "0x10 1x60"},
        good={'ferryman_breaker_open{provider="cgb"}': "0x55 1x10"},
        says="cgb is away or refuses us, and what is meant for it waits.",
        labels={"provider": "cgb"},
        to="cgb-is-away-or-refuses-us",
    ),
    Case(
        alert="FerrymanBreakerOpen",
        bad={'ferryman_breaker_open{provider="meta"}': "0x10 1x60"},
        good={'ferryman_breaker_open{provider="meta"}': "0x70"},
        says="meta is away or refuses us, and what is meant for it waits.",
        labels={"provider": "meta"},
        to="messages-do-not-go-out",
    ),
    Case(
        alert="FerrymanSpool",
        bad={"ferryman_spool": "0x50 7x20"},
        good={"ferryman_spool": "0x57 7x1 0x20"},
        says="7 accepted events wait in Postgres, since Redis does not take them.",
    ),
    Case(
        alert="FerrymanLoopLag",
        bad={'ferryman_loop_lag_seconds{instance="a"}': "1.5x70"},
        good={'ferryman_loop_lag_seconds{instance="a"}': "0.4x70"},
        says="The process a has no CPU left: it is 1.5s late.",
        labels={"instance": "a"},
    ),
    Case(
        alert="FerrymanForged",
        bad={'ferryman_refused_total{source="meta",reason="signature"}': "0+2x70"},
        good={
            'ferryman_refused_total{source="meta",reason="signature"}': "0+1x70",
            'ferryman_refused_total{source="meta",reason="path"}': "0+9x70",
        },
        says="30 webhooks of meta had a wrong signature in a quarter of an hour:"
        " the secrets differ, or somebody else sends.",
        labels={"source": "meta"},
    ),
    Case(
        alert="FerrymanDisk",
        bad={'ferryman_disk_free_bytes{instance="a"}': "5x70", 'ferryman_disk_size_bytes{instance="a"}': "100x70"},
        good={'ferryman_disk_free_bytes{instance="a"}': "11x70", 'ferryman_disk_size_bytes{instance="a"}': "100x70"},
        says="The disk of the data directory of a has 5% left.",
        labels={"instance": "a"},
    ),
    Case(
        alert="FerrymanExpiry",
        bad={'ferryman_expires_seconds{what="certificate"}': "864000x70"},
        good={
            'ferryman_expires_seconds{what="certificate"}': "1300000x70",
            'ferryman_expires_seconds{what="meta_token"}': "-1x70",
        },
        says="The certificate ends in 10d 0h 0m 0s.",
        labels={"what": "certificate"},
    ),
    Case(  # one that has ended
        alert="FerrymanExpiry",
        bad={'ferryman_expires_seconds{what="meta_token"}': "0x70"},
        good={'ferryman_expires_seconds{what="meta_token"}': "-1x70"},
        says="The meta_token ends in 0s.",
        labels={"what": "meta_token"},
    ),
)


def scenario(series: dict[str, str], at: int, alert: str, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{at}m", "alertname": alert, "exp_alerts": expected}],
    }


def expected(case: Case) -> dict[str, Any]:
    rule = RULES[case.alert]
    url = BASE + case.to if case.to else rule["annotations"]["runbook_url"]
    return {
        "exp_labels": rule["labels"] | case.labels,
        "exp_annotations": {"summary": case.says, "runbook_url": url},
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert.removeprefix("Ferryman"))
def test_an_alert_fires_on_a_bad_series_and_is_silent_on_its_twin(case: Case, tmp_path: Path) -> None:
    scenarios = [
        scenario(case.bad, case.at, case.alert, [expected(case)]),
        scenario(case.good, case.at, case.alert, []),
    ]
    file = tmp_path / "case.yaml"
    file.write_text(json.dumps({"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": scenarios}))
    code, said = promtool("test", "rules", str(file))
    assert code == 0, said


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == RULES.keys()


def test_prometheus_finds_no_fault_in_the_rules() -> None:
    code, said = promtool("check", "rules", str(FILE))
    assert code == 0, said
    assert f"{len(RULES)} rules found" in said


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_an_alert_says_whom_it_wakes_what_is_wrong_and_where_the_runbook_has_it(rule: dict[str, Any]) -> None:
    page = (FILE.parents[1] / "README.md").read_text()
    sections = re.findall(r"^### (.+)$", page.partition("\n## Runbook\n")[2], flags=re.M)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in sections}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r'[A-Z{"].*\.', rule["annotations"]["summary"], flags=re.S)
    url = rule["annotations"]["runbook_url"]
    assert url.startswith(BASE.removesuffix("#"))
    named = re.findall(r"#([a-z-]+)", url)
    assert named
    assert set(named) <= anchors

"""Every query of the alerts and the dashboards uses what we export, as it is meant to be used."""

from __future__ import annotations

import pytest

from tests.support.alerts import RULES
from tests.support.dashboards.every import DASHBOARDS
from tests.support.dashboards.made import document
from tests.support.promql import problems

QUERIES = [rule["expr"] for rule in RULES.values()] + [
    target["expr"]
    for made in map(document, DASHBOARDS)
    for panel in made["panels"]
    for target in panel.get("targets", ())
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_parses_and_uses_only_what_we_export(query: str) -> None:
    assert problems(query) == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sum(rate(cgb_sync_succes[5m]))", "cgb_sync_succes is not exported"),
        ("rate(cgb_sync_success)", "expected type matrix"),
        ("sum(cgb_sync_success", "unclosed"),
        ("rate(ferryman_lag[5m])", "rate of the gauge ferryman_lag"),
        ("deriv(cgb_sync_success[5m])", "deriv of cgb_sync_success, which is no gauge"),
        ('ferryman_lag{provider="cgb"}', "ferryman_lag has no label provider"),
        ('ferryman_lag{worker="contacts-sync"}', "worker of ferryman_lag is never contacts-sync"),
        ('ferryman_webhooks_total{outcome=~"accepted|taken"}', "outcome of ferryman_webhooks_total is never taken"),
        ("max by (source) (ferryman_lag)", "nothing has the label source"),
        ("sum by (worker) (ferryman_lag)", "sum of ferryman_lag, which every process tells for all"),
        ("sum(cgb_sync_duration)", "cgb_sync_duration is not exported"),
        ("sum by (le) (rate(cgb_sync_duration_sum[5m]))", "nothing has the label le"),
        ('up{version="1"}', "up has no label version"),
    ],
)
def test_a_wrong_query_is_noticed(query: str, says: str) -> None:
    assert says in "; ".join(problems(query))

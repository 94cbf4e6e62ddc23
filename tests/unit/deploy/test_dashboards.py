"""The dashboards: what grafana/dashboard-linter asks for, and what this repository promises of them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.dashboards.every import DASHBOARDS, FOLDER
from tests.support.dashboards.made import CHOSEN, SOURCE, text
from tests.support.promql import labels

MADE: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")
}
PANELS: Final = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, made in MADE.items()
    for panel in made["panels"]
    if panel["type"] != "row"
]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_a_file_is_what_its_generator_writes(dashboard: Any) -> None:
    file = FOLDER / f"{dashboard.name}.json"
    assert file.read_text(encoding="utf-8") == text(dashboard), "run python -m tests.support.dashboards"


def test_there_is_no_file_without_a_generator_and_no_uid_twice() -> None:
    assert MADE.keys() == {one.name for one in DASHBOARDS} == {"overview", "providers", "bus"}
    assert len({made["uid"] for made in MADE.values()}) == len({made["title"] for made in MADE.values()}) == 3


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_a_dashboard_can_be_provisioned_and_is_the_same_after_each_start(made: dict[str, Any]) -> None:
    assert made["id"] is None
    assert made["uid"] == f"ferryman-{made['title'].removeprefix('Ferryman: ').split()[0]}"
    assert (made["editable"], made["tags"]) == (False, ["ferryman"])
    assert made["description"]


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_data_source_job_and_process_are_variables_that_follow_the_time_range(made: dict[str, Any]) -> None:
    source, *others = made["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert [one["name"] for one in others] == ["job", "instance"]
    for one in others:
        assert one["datasource"] == SOURCE
        assert (one["refresh"], one["multi"], one["includeAll"], one["allValue"]) == (2, True, True, ".+")
        metric = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (job|instance)\)", one["query"]["query"])
        assert metric is not None
        assert labels(metric[1] + (metric[2] or "").replace("$job", ".*")) >= {metric[3]}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_no_two_panels_of_a_dashboard_overlap_or_share_an_id(made: dict[str, Any]) -> None:
    panels = made["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_the_chosen_source_for_the_chosen_processes_at_the_right_interval(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == SOURCE
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        selectors = re.findall(r"\b(?:up|(?:ferryman|cgb)_\w+)(\{[^}]*\})?", target["expr"])
        assert selectors
        assert all(CHOSEN in selector for selector in selectors), target["expr"]
        intervals = re.findall(r"\b(?:rate|irate|increase)\([^\[]*\[([^\]]+)\]", target["expr"])
        assert set(intervals) <= {"$__rate_interval"}
        assert len(intervals) == len(re.findall(r"\b(?:rate|irate|increase)\(", target["expr"]))


@pytest.mark.parametrize("panel", PANELS)
def test_a_legend_names_labels_that_the_series_have(panel: dict[str, Any]) -> None:
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert named <= labels(target["expr"]), target["expr"]


def test_the_provider_is_one_of_grafana_that_keeps_what_is_in_git() -> None:
    document = yaml.safe_load((FOLDER / "provider.yaml").read_text())
    (provider,) = document["providers"]
    assert (document["apiVersion"], provider["type"], provider["allowUiUpdates"]) == (1, "file", False)
    assert provider["options"]["path"].startswith("/")

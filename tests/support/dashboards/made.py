"""What a dashboard is, and the document that Grafana keeps of it.

The documents are classic ones, which every Grafana from 10 on provisions. In a query `…` stands for the labels by which
the reader chooses processes: `m{…}`, `m{a="b",…}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

CHOSEN: Final = 'job=~"$job",instance=~"$instance"'
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH: Final = 24
SCHEMA: Final = 38
"""That of Grafana 10: newer ones bring it up to their own when they load it."""


@dataclass(frozen=True)
class Panel:
    """*tells*: what is to be seen, for who looks for the first time. *unit*: as Grafana names it. *queries*: query ->
    legend. *red*: from where on a number is bad; *down*: below it, that is. *of*: how many stand in a row."""

    title: str
    tells: str
    unit: str
    queries: dict[str, str]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    red: float | None = None
    down: bool = False
    of: int = 2


@dataclass(frozen=True)
class Dashboard:
    """*rows*: title -> its panels."""

    name: str
    title: str
    tells: str
    rows: dict[str, Sequence[Panel]]


def number(title: str, tells: str, query: str, red: float, *, unit: str = "short", down: bool = False) -> Panel:
    """One number, red when it is bad."""
    return Panel(title, tells, unit, {query: ""}, kind="stat", red=red, down=down, of=6)


def highest(metric: str, *labels: str, legend: str = "") -> dict[str, str]:
    """The gauge *metric* of the whole installation, or of the process that has most."""
    return {f"max{_by(labels)} ({metric}{{…}})": legend or _legend(labels)}


def lowest(metric: str, *labels: str) -> dict[str, str]:
    """The gauge *metric*, of the process that has least."""
    return {f"min{_by(labels)} ({metric}{{…}})": _legend(labels)}


def a_second(metric: str, *labels: str, legend: str = "") -> dict[str, str]:
    """How fast the counter *metric* grows."""
    return {f"sum{_by(labels)} (rate({metric}{{…}}[$__rate_interval]))": legend or _legend(labels)}


def an_hour(metric: str, *labels: str) -> dict[str, str]:
    """How fast the counter *metric* grows in an hour, where it does."""
    return {f"sum{_by(labels)} (rate({metric}{{…}}[$__rate_interval])) * 3600 > 0": _legend(labels)}


def p95(metric: str, *labels: str) -> dict[str, str]:
    """What 95 of 100 observations of the histogram *metric* do not exceed."""
    rates = f"sum{_by((*labels, 'le'))} (rate({metric}_bucket{{…}}[$__rate_interval]))"
    return {f"histogram_quantile(0.95, {rates})": _legend(labels) or "p95"}


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def _legend(labels: Sequence[str]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def document(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana keeps it."""
    return {
        "id": None,
        "uid": f"ferryman-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.tells,
        "tags": ["ferryman"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "graphTooltip": 1,
        "links": [{"type": "dashboards", "title": "Ferryman", "tags": ["ferryman"], "asDropdown": True}],
        "annotations": {"list": []},
        "templating": {"list": _variables()},
        "panels": list(_panels(dashboard)),
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return [
        source,
        _label("job", "Job", "label_values(ferryman_build_info, job)"),
        _label("instance", "Process", 'label_values(ferryman_build_info{job=~"$job"}, instance)'),
    ]


def _label(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    id, y = 0, 0
    for title, panels in dashboard.rows.items():
        id += 1
        yield {
            "id": id,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": _at(0, y, WIDTH, 1),
            "panels": [],
        }
        y, x, height = y + 1, 0, 0
        for panel in panels:
            width, high = WIDTH // panel.of, 4 if panel.kind == "stat" else 8
            if x + width > WIDTH:
                x, y = 0, y + height
            id += 1
            yield _panel(panel) | {"id": id, "gridPos": _at(x, y, width, high)}
            x, height = x + width, high
        y += height


def _at(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": SOURCE,
                "expr": query.replace("…", CHOSEN),
                "legendFormat": legend or "__auto",
                "instant": panel.kind != "timeseries",
                "range": panel.kind == "timeseries",
            }
            | ({"format": "table"} if panel.kind == "table" else {})
            for n, (query, legend) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, **_colours(panel)}, "overrides": []},
        "options": {},
    }
    if panel.kind == "stat":
        made["options"] = {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True, "__name__": True}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    if panel.kind == "timeseries":
        made["options"] = {
            "legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return made


def _colours(panel: Panel) -> dict[str, Any]:
    if panel.red is None:
        return {}
    below, above = ("red", "green") if panel.down else ("green", "red")
    steps = [{"color": below, "value": None}, {"color": above, "value": panel.red}]
    return {"thresholds": {"mode": "absolute", "steps": steps}}


def text(dashboard: Dashboard) -> str:
    """What its file has to hold."""
    return json.dumps(document(dashboard), indent=2, ensure_ascii=False) + "\n"

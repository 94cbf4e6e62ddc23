"""Writes the dashboards: python -m tests.support.dashboards."""

from __future__ import annotations

from tests.support.dashboards.every import DASHBOARDS, FOLDER
from tests.support.dashboards.made import text

for dashboard in DASHBOARDS:
    (FOLDER / f"{dashboard.name}.json").write_text(text(dashboard), encoding="utf-8")

"""The dashboards of deploy/grafana."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.dashboards.bus import BUS
from tests.support.dashboards.overview import OVERVIEW
from tests.support.dashboards.providers import PROVIDERS

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "grafana"
DASHBOARDS: Final = (OVERVIEW, PROVIDERS, BUS)

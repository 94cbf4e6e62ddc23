"""What the records domain needs of the outside, and what it counts."""

from __future__ import annotations

from typing import Final

from daemon.bus.worker import Outside
from daemon.records import stats
from daemon.records.edge import wiring as edge
from daemon.records.models.rules import MODELS, schema_id
from daemon.records.pulling import service as pulling
from daemon.records.pulling.service import Pulls
from daemon.records.pushing import counting
from daemon.records.pushing.service import Records
from daemon.telemetry.declared import Declared

METRICS: Final[tuple[Declared, ...]] = (*pulling.METRICS, *counting.METRICS, *edge.METRICS, *stats.METRICS)


def open_records(outside: Outside) -> Records:
    """The records of this process."""
    return Records(outside)


def open_pulls(outside: Outside, records: Records) -> Pulls:
    """The pulls of this process."""
    said = outside.rules(MODELS)
    return Pulls(outside.pool, records.woke, outside.metrics, outside.now, said.models, schema_id(said))

"""What the consumers of one process share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from adapters.channel import Channels
from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.bus.leases import Leases
from daemon.bus.read_failures import ReadFailures
from daemon.bus.worker import Clock
from daemon.settings.model import Settings
from daemon.stores.health import Stores
from daemon.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Built once for each process. *streams*: for appends and acknowledgements; each reader has a client of its own.
    *suspect* is called at a sign that Redis has lost data. *since*: worker -> when it began; events that were accepted
    before are not its own. It is complete before any consumer starts."""

    settings: Settings
    stores: Stores
    pool: Pool
    streams: Streams
    leases: Leases
    channels: Channels
    metrics: Metrics
    now: Clock
    suspect: Callable[[], None]
    since: Mapping[str, datetime] = field(default_factory=dict)
    read_failures: ReadFailures = field(default_factory=ReadFailures)

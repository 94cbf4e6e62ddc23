"""What a process tells of itself, of its disk and of the stores, beside what its parts count."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Final

from adapters.postgres.usage import usage as postgres_usage
from adapters.redis.usage import usage as redis_usage
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Duty, Outside
from daemon.settings.model import Settings
from daemon.stores.disk import disk_at
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import Metrics
from daemon.version import version

EVERY_S: Final = 10.0

_STORE: Final = {"store": ("redis", "postgres")}
_BUILD: Final = {"version": version(), "python": platform.python_version()}
_CONFIGURATION: Final = {
    "redis": ("embedded", "external"),
    "postgres": ("embedded", "external"),
    "cgb_sync": ("on", "off", "dry-run"),
    "cgb_api_style": ("live", "documented"),
    "default_provider": ("cgb", "chatwoot", "meta", "twilio", "whapi"),
    "workers": ("all", "some"),
    "edge": ("yes", "no"),
    "traces": ("on", "off"),
}

METRICS: Final = (
    Declared(
        "ferryman_build_info",
        "gauge",
        "1, with the version of the program and of Python.",
        tuple(_BUILD),
        values={name: (value,) for name, value in _BUILD.items()},
    ),
    Declared(
        "ferryman_configuration_info",
        "gauge",
        "1, with how the settings have this process work.",
        tuple(_CONFIGURATION),
        values=_CONFIGURATION,
    ),
    Declared("ferryman_disk_size_bytes", "gauge", "Room, used or free, on the disk of this host's data directory."),
    Declared("ferryman_disk_free_bytes", "gauge", "Free room on the disk of this host's data directory."),
    Declared(
        "ferryman_store_memory_bytes",
        "gauge",
        f"Memory in use by the data of the store; Postgres does not tell it. {OF_ALL}",
        ("store",),
        values=_STORE,
    ),
    Declared(
        "ferryman_store_connections",
        "gauge",
        f"Connections that the store has, also those of other programs. {OF_ALL}",
        ("store",),
        values=_STORE,
    ),
    Declared(
        "ferryman_store_size_bytes",
        "gauge",
        f"Size on disk: of Redis's append-only file, of our database in Postgres. {OF_ALL}",
        ("store",),
        values=_STORE,
    ),
    Declared(
        "ferryman_store_write_seconds",
        "gauge",
        "How long one small write took, to its answer: with its sync to disk, where the store syncs before it answers.",
        ("store",),
        values=_STORE,
    ),
)


def tell(metrics: Metrics, settings: Settings, *, traces: bool) -> None:
    """Set what holds as long as the process runs. *traces*: whether it makes any."""
    metrics.set("ferryman_build_info", 1, _BUILD)
    metrics.set("ferryman_configuration_info", 1, _configuration(settings) | {"traces": "on" if traces else "off"})


def _configuration(settings: Settings) -> dict[str, str]:
    syncs = settings.cgb_sync_enabled and settings.cgb_api_key is not None
    return {
        "redis": "embedded" if settings.redis_url is None else "external",
        "postgres": "embedded" if settings.database_url is None else "external",
        "cgb_sync": "off" if not syncs else "dry-run" if settings.cgb_sync_dry_run else "on",
        "cgb_api_style": settings.cgb_api_style,
        "default_provider": settings.messages_default_provider,
        "workers": "some" if settings.ferryman_workers else "all",
        "edge": "no" if settings.sync_upstream_url is None else "yes",
    }


def duties(outside: Outside) -> Sequence[Duty]:
    """The measuring, a duty for each thing that may be away by itself."""

    async def of_disk() -> None:
        _disk(outside)

    async def of_redis() -> None:
        await _redis(outside)

    async def of_postgres() -> None:
        await _postgres(outside)

    return (
        Duty("gauges-disk", of_disk, EVERY_S),
        Duty("gauges-redis", of_redis, EVERY_S),
        Duty("gauges-postgres", of_postgres, EVERY_S),
    )


def _disk(outside: Outside) -> None:
    found = disk_at(outside.settings.ferryman_data_dir)
    if found is not None:
        used, size = found
        outside.metrics.set("ferryman_disk_size_bytes", size)
        outside.metrics.set("ferryman_disk_free_bytes", size - used)


async def _redis(outside: Outside) -> None:
    found = await redis_usage(outside.redis)
    told = {"memory_bytes": found.memory_bytes, "connections": found.connections, "size_bytes": found.size_bytes}
    _set(outside.metrics, "redis", told | {"write_seconds": found.write_s})


async def _postgres(outside: Outside) -> None:
    found = await postgres_usage(outside.pool)
    told = {"connections": found.connections, "size_bytes": found.size_bytes}
    _set(outside.metrics, "postgres", told | {"write_seconds": found.write_s})


def _set(metrics: Metrics, store: str, told: dict[str, float | None]) -> None:
    for name, value in told.items():
        if value is not None:
            metrics.set(f"ferryman_store_{name}", value, {"store": store})

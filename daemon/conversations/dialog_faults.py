"""What is wrong between the parts of `dialogs.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from daemon.rules.problems import Fault


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """All of them. *document* is parsed and not yet checked: any part may have any shape."""
    yield from ()

"""Service accounts of Google's."""

from __future__ import annotations

from typing import Final

_HOST: Final = ".iam.gserviceaccount.com"


def project_in(email: str) -> str | None:
    """The project that the service account of *email* belongs to; None: its name tells none."""
    _, _, host = email.partition("@")
    return host.removesuffix(_HOST) if host.endswith(_HOST) else None

"""The version of this program."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version that is installed; "of a checkout" where nothing is."""
    try:
        return metadata.version("ferryman")
    except metadata.PackageNotFoundError:
        return "of a checkout"

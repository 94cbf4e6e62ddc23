"""The archive for status and doctor: where objects go, what waits for that place, and what could not be archived."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from daemon.conversations.archive.archive import WORKER
from daemon.conversations.archive.wiring import in_cloud, lacking
from daemon.operator.finding import Finding, Findings, age
from daemon.operator.inspection import Inspection
from daemon.settings.model import Settings

LITTLE_BYTES: Final = 1_000_000_000
"""Room for less than a day of voice notes and pictures, where many people write."""

LATE_S: Final = 900.0

_LIVE: Final = "see `ferryman doctor --live` and the daemon's log; they go there by themselves"


def place_of(settings: Settings) -> str:
    """Where objects go: files, google or emulator."""
    if settings.storage_emulator_host is not None:
        return "emulator"
    return "google" if in_cloud(settings) else "files"


def document(inspection: Inspection) -> Mapping[str, Any] | None:
    """To be shown; None: not known."""
    found = inspection.archive
    if found is None:
        return None
    return {
        "place": place_of(inspection.settings),
        "waiting": found.waiting,
        "waiting_since": found.since,
        "files_in_error": found.files,
        "notes_in_error": found.notes,
    }


def check(inspection: Inspection) -> Findings:
    """The place of the archive, and whether what waits for it has waited for long."""
    if WORKER.name not in inspection.workers:
        return
    place = place_of(inspection.settings)
    if place == "files":
        yield from _of_files(inspection.settings.ferryman_data_dir / "archive", runs=bool(inspection.members))
    elif lacking(inspection.settings) is None:
        where = "Google Cloud Storage" if place == "google" else "an emulator of Google Cloud Storage"
        yield Finding("ok", f"the archive goes to {where}, which `ferryman doctor --live` asks")
    found = inspection.archive
    if found is not None and found.since is not None:
        waited_s = (inspection.now - found.since).total_seconds()
        if waited_s > LATE_S:
            yield Finding(
                "warn", f"{found.waiting} objects wait for the archive, the oldest for {age(waited_s)}", _LIVE
            )


def _of_files(directory: Path, *, runs: bool) -> Findings:
    """Whether files can be written in *directory*, or it can be made; and how much room there is. *runs*: a daemon
    does, and may be another user than whoever asks."""
    there = next((one for one in (directory, *directory.absolute().parents) if one.exists()), None)
    if there is None or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        text = f"the archive goes to files in {directory}, which this user may not write"
        do = "run the doctor as the user of the daemon; if that may not either, give it the folder, or set GCS_*"
        yield Finding("warn" if runs else "error", text, do)
        return
    free = shutil.disk_usage(there).free
    text = f"the archive goes to files in {directory}, where {free / 1e9:.1f} GB are free"
    if free < LITTLE_BYTES:
        yield Finding("warn", text, "make room, or set GCS_* to keep objects at Google")
    else:
        yield Finding("ok", text)

"""What a process is by its settings: the part of its report that it knows without running."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.ports import Source
from daemon.bus.worker import AnyWorker
from daemon.settings.load import shown
from daemon.settings.model import Settings
from daemon.telemetry.report import Report
from daemon.version import version
from daemon.workers import enabled


def about(
    settings: Settings,
    workers: Sequence[AnyWorker],
    sources: Sequence[Source],
    beside: Callable[[str], Sequence[str]] = lambda setting: (),
) -> Report:
    """The report of a process with these settings that knows these workers and sources. *beside*: gives the secrets
    that are stored elsewhere and count as much as those of a setting."""
    running, off = enabled(settings, workers)
    names = [worker.name for worker in running]
    off |= {w.name: "FERRYMAN_WORKERS does not name it" for w in workers if w.name not in (*names, *off)}
    unproven = {
        source.name: f"set {source.wanted}"
        for source in sources
        if source.name not in settings.ferryman_allow_unsigned
        and not any(getattr(settings, name) or beside(name) for name in source.secrets)
    }
    return Report(
        version=version(),
        settings=_texts(settings),
        workers=tuple(names),
        workers_off=off,
        sources=tuple(source.name for source in sources if source.name not in unproven),
        sources_off=unproven,
        unsigned=tuple(name for name in settings.ferryman_allow_unsigned if name not in unproven),
    )


def _texts(settings: Settings) -> dict[str, str]:
    """Name -> text, secrets masked. A relative path is another one in another place, so it is told whole."""
    texts = {name: text for name, text, _ in shown(settings)}
    texts["FERRYMAN_DATA_DIR"] = str(settings.ferryman_data_dir.resolve())
    if settings.ferryman_rules_dir is not None:
        texts["FERRYMAN_RULES_DIR"] = str(settings.ferryman_rules_dir.absolute())
    return texts

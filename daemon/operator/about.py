"""What a process is by its settings: the part of its report that it knows without running."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.ports import Source
from daemon.bus.worker import AnyWorker
from daemon.rules.files import Rules
from daemon.settings.load import shown
from daemon.settings.model import Settings
from daemon.telemetry.report import Report
from daemon.version import version
from daemon.workers import enabled


def about(
    settings: Settings,
    workers: Sequence[AnyWorker],
    sources: Sequence[Source],
    rules: Rules | None = None,
    beside: Callable[[str], Sequence[str]] = lambda setting: (),
) -> Report:
    """The report of a process with these settings that knows these workers and sources. *rules*: in force; None: those
    that the settings name. *beside*: gives the secrets that are stored elsewhere and count as much as those of a
    setting."""
    running, off = enabled(settings, workers, rules)
    names = [worker.name for worker in running]
    off |= {w.name: "FERRYMAN_WORKERS does not name it" for w in workers if w.name not in (*names, *off)}
    known = settings.ferryman_public_url is not None
    unproven = {
        source.name: why
        for source in sources
        if source.name not in settings.ferryman_allow_unsigned
        and (why := source.lacks(_secrets(settings, source, beside), address_known=known))
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


def _secrets(
    settings: Settings, source: Source, beside: Callable[[str], Sequence[str]]
) -> dict[str, Sequence[object] | object]:
    return {name: getattr(settings, name) or beside(name) for name in source.secrets}

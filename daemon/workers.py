"""The workers of Ferryman. A new one is a file in its domain's folder and a line in WORKERS; its name is its consumer
group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from daemon.bus import journal
from daemon.bus.worker import AnyWorker
from daemon.contacts import applicant_issues, changes, sync, whatsapp_validation
from daemon.messages import delivery_status, outbound
from daemon.rules.files import RuleFile
from daemon.settings.model import Settings

WORKERS: Final[tuple[AnyWorker, ...]] = (
    journal.WORKER,
    sync.WORKER,
    whatsapp_validation.WORKER,
    applicant_issues.WORKER,
    changes.WORKER,
    outbound.WORKER,
    delivery_status.WORKER,
)


def rule_files(workers: Sequence[AnyWorker] = WORKERS) -> tuple[RuleFile[Any], ...]:
    """The rule files that the domains of *workers* go by, each once."""
    domains = dict.fromkeys(worker.domain for worker in workers if worker.domain is not None)
    return tuple(dict.fromkeys(file for domain in domains for file in domain.rules))


def enabled(settings: Settings, workers: Sequence[AnyWorker] = WORKERS) -> tuple[list[AnyWorker], dict[str, str]]:
    """(those of *workers* that run with *settings*, name -> why another one that FERRYMAN_WORKERS names does not)."""
    chosen = [w for w in workers if not settings.ferryman_workers or w.name in settings.ferryman_workers]
    off = {worker.name: reason for worker in chosen if (reason := worker.off(settings)) is not None}
    return [worker for worker in chosen if worker.name not in off], off

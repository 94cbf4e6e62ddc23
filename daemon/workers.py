"""The workers of Ferryman. A new one is a file in its domain's folder and a line in WORKERS; its name is its consumer
group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from daemon.bus import journal
from daemon.bus.worker import AnyWorker
from daemon.contacts import applicant_issues, changes, sync, whatsapp_validation
from daemon.conversations.archive import archive, attachments
from daemon.conversations.clarification import clarification
from daemon.conversations.labels import crm_labels
from daemon.conversations.understanding import transcription
from daemon.messages import automatic, delivery_status, outbound
from daemon.records import record_sync
from daemon.records.models.rules import MODELS
from daemon.rules.files import SHIPPED, RuleFile, Rules, load_all
from daemon.rules.problems import WrongRules
from daemon.settings.model import Settings

WORKERS: Final[tuple[AnyWorker, ...]] = (
    journal.WORKER,
    sync.WORKER,
    whatsapp_validation.WORKER,
    applicant_issues.WORKER,
    changes.WORKER,
    outbound.WORKER,
    delivery_status.WORKER,
    automatic.WORKER,
    clarification.WORKER,
    archive.WORKER,
    attachments.WORKER,
    transcription.WORKER,
    crm_labels.WORKER,
    record_sync.WORKER,
)


def rule_files(workers: Sequence[AnyWorker] = WORKERS) -> tuple[RuleFile[Any], ...]:
    """The rule files that the domains of *workers* go by, each once, and the models of records: those are written
    without any worker."""
    domains = dict.fromkeys(worker.domain for worker in workers if worker.domain is not None)
    return tuple(dict.fromkeys((*(file for domain in domains for file in domain.rules), MODELS)))


def enabled(
    settings: Settings, workers: Sequence[AnyWorker] = WORKERS, rules: Rules | None = None
) -> tuple[list[AnyWorker], dict[str, str]]:
    """(those of *workers* that run with *settings* and *rules*, name -> why another one that FERRYMAN_WORKERS names
    does not). *rules*: None: those that the settings name."""
    chosen = [w for w in workers if not settings.ferryman_workers or w.name in settings.ferryman_workers]
    in_force = _rules_of(settings, chosen) if rules is None else rules
    why = {worker.name: worker.off(settings) or worker.idle(in_force) for worker in chosen}
    off = {name: reason for name, reason in why.items() if reason is not None}
    return [worker for worker in chosen if worker.name not in off], off


def _rules_of(settings: Settings, workers: Sequence[AnyWorker]) -> Rules:
    """The rules that *settings* name; those that ship where they are wrong, as a daemon does not start then. The files
    of all workers are known, also of those that do not run: none of them is a stranger in the folder."""
    try:
        return load_all(settings.ferryman_rules_dir, rule_files((*WORKERS, *workers)))
    except WrongRules:
        return SHIPPED

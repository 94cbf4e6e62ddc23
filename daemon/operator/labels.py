"""The account labels of the CRM, made as labels.toml says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from adapters.channel import Channel
from daemon.accounts import CHATWOOT, SCOPES, TIMEOUT_S
from daemon.conversations.labels.account import crm_on, why_off
from daemon.conversations.labels.rules import LABELS, Shown
from daemon.operator.faults import Unusable
from daemon.rules.files import load
from schemas.labels import same

if TYPE_CHECKING:
    from adapters.conversation_ports import Crm
    from daemon.settings.in_force import InForce
    from daemon.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a label. *state*: it is `new`, or `there` already; `differs`: it is there in another colour, which
    was left as it is. *color*: as it is in the account."""

    title: str
    state: Literal["new", "there", "differs"]
    color: str

    def document(self) -> dict[str, str]:
        """As JSON."""
        return {"title": self.title, "state": self.state, "color": self.color}


async def create(
    crm: Crm,
    labels: Sequence[Shown],
    *,
    dry_run: bool = False,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> list[Made]:
    """Make those of *labels* that the account has not; run again, it makes none. *told*: called with how many are done,
    and of how many. Raises: what the CRM raises; what was made before stays."""
    there = await crm.account_labels()
    made: list[Made] = []
    for label in labels:
        color = next((color for title, color in there.items() if same(title, label.title)), None)
        if color is None and not dry_run:
            await crm.make_label(label.title, label.color, label.description)
        if color is None:
            made.append(Made(label.title, "new", label.color))
        else:
            alike = not color or color.lower() == label.color.lower()
            made.append(Made(label.title, "there" if alike else "differs", color))
        told(len(made), len(labels))
    return made


def document(made: Sequence[Made], *, dry_run: bool) -> dict[str, Any]:
    """The outcome as JSON: the counts, and each label."""
    counts = {state: sum(one.state == state for one in made) for state in ("new", "there", "differs")}
    return {**counts, "total": len(made), "dry_run": dry_run, "labels": [one.document() for one in made]}


def catalog(settings: Settings) -> list[Shown]:
    """The labels of labels.toml. Raises: WrongRules."""
    return load(settings.ferryman_rules_dir, LABELS).catalog()


@asynccontextmanager
async def open_crm(in_force: InForce) -> AsyncIterator[Crm]:
    """The CRM of the settings, for a command: no store is needed. Raises: Unusable where none is set."""
    if (why := why_off(in_force.settings)) is not None:
        raise Unusable(f"Chatwoot is not configured: {why}")
    from adapters.gate import Gate
    from adapters.http import open_session
    from adapters.redis.limits import RateLimiter

    async with open_session() as session:
        gate = Gate(
            session=session,
            channel=Channel(CHATWOOT),
            limiter=RateLimiter(None, per_minute=None),
            scope=SCOPES[CHATWOOT],
            system="Chatwoot",
            timeout_s=TIMEOUT_S,
        )
        yield crm_on(gate, in_force.settings, in_force.secret)

"""Records, authors and operations for tests of deciding."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from daemon.records.deciding.decision import decide
from daemon.records.models.rules import Models, ModelsPart, ModelStrategy, models_of
from daemon.records.state import Author, Decided, Stored
from schemas.principals import Principal
from schemas.records.operation import Operation, Verb

NOW: Final = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
ALICE: Final = Principal(kind="user", name="alice", role="operate")
BOB: Final = Principal(kind="user", name="bob", role="operate")
ADMIN: Final = Principal(kind="user", name="root", role="admin")

_RULES: Final = """
[models.Lead]
delete = "{delete}"
retired = ["fax"]
[models.Lead.fields]
name = {{ type = "text", max = 200, required = true }}
stage = {{ type = "text" }}
city = {{ type = "text" }}
theirs = {{ type = "text", strategy = "client" }}
ours = {{ type = "text", strategy = "server" }}
amount = {{ type = "decimal", strategy = "manual" }}
most = {{ type = "integer", strategy = "max" }}
least = {{ type = "date", strategy = "min" }}
tags = {{ type = "set", strategy = "union" }}
[models.Gift]
owner_may_give = true
[models.Gift.fields]
name = {{ type = "text" }}
"""


def models(delete: str = "update-wins", strategy: ModelStrategy = "newest") -> Models:
    """Lead, with a field of each strategy, and Gift, which its owner may give away."""
    return models_of(ModelsPart.model_validate(tomllib.loads(_RULES.format(delete=delete))), strategy)


MODELS: Final = models()
LEAD: Final = MODELS["Lead"]


def author(
    peer: str = "a", principal: Principal = ALICE, *, origin: str | None = None, formerly: bool = False
) -> Author:
    """Who writes through *peer*; a person's own replica is where it was written."""
    return Author(principal=principal, user=principal.name, peer=peer, origin=origin or peer, formerly=formerly)


def operation(
    number: int,
    verb: Verb = "UPDATE",
    data: Mapping[str, Any] | None = None,
    *,
    base: int | None = 0,
    at: float = 0,
    tick: int = 0,
    seen: Mapping[str, Any] | None = None,
    model: str = "Lead",
) -> Operation:
    """The operation of this *number*, made *at* so many seconds before or after NOW. *seen*: its `base`."""
    return Operation(
        op_id=UUID(int=number),
        operation=verb,
        model=model,
        record_id="lead_1",
        data=data or {},
        base_version=base,
        base=seen,
        changed_at=NOW + timedelta(seconds=at),
        tick=tick,
    )


def put(
    stored: Stored | None,
    op: Operation,
    by: str | Author = "a",
    *,
    rules: Models = MODELS,
) -> Decided:
    """What *op* makes of *stored*, long after it was made."""
    who = author(by) if isinstance(by, str) else by
    later = NOW + timedelta(days=1)
    return decide(stored, op, who, rules[op.model], later, op.changed_at)


def created(by: str | Author = "a", *, rules: Models = MODELS, model: str = "Lead", **data: Any) -> Stored:
    """A record at version 1, made through the replica *by*."""
    op = operation(1, "CREATE", {"name": "Ann", **data}, at=-1000, model=model)
    stored = put(None, op, by, rules=rules).stored
    assert stored is not None
    return stored


def after(stored: Stored | None, op: Operation, by: str | Author = "a", *, rules: Models = MODELS) -> Stored:
    """The record after *op*, whether that has changed it or not."""
    decided = put(stored, op, by, rules=rules)
    assert decided.answer.result != "rejected", decided.answer
    stands = decided.stored or stored
    assert stands is not None
    return stands

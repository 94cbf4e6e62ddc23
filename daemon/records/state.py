"""The values that deciding is about: a record as it is stored, who writes, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.principals import Principal
from schemas.records.answers import Answer, Decision
from schemas.records.operation import Key, Verb
from schemas.records.stamps import Stamps

# What is made for each operation is not frozen, which takes nearly three times as long. Nobody changes it all the same.


@dataclass(slots=True, kw_only=True)
class Stored:
    """A record of this server. A tombstone (*deleted*) keeps its data until it is compacted; an *erased* one has none.

    *version* grows by one with each operation that is applied. *changed_at*: when its author has changed it last, by
    this server's clock. *up_version*: on an edge, the version of the upstream that it is made of.
    """

    model: str
    record_id: str
    version: int
    owner_id: str | None
    branch: str | None
    data: Mapping[str, Any]
    stamps: Stamps
    changed_at: datetime
    deleted: bool = False
    erased: bool = False
    up_version: int | None = None

    @property
    def key(self) -> Key:
        """Model and id."""
        return self.model, self.record_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes. *user*: the acting person (of an edge: whom the edge names). *peer*: the replica that pushes.
    *origin*: the replica where it was written. *formerly*: they are known to have read the record before."""

    principal: Principal
    user: str
    peer: str
    origin: str
    formerly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Values that met: a row of `sync_conflicts`. *ours*: what was stored here; *theirs*: what the operation brought;
    None: deleted, or not known. *decision* `open`: a person decides."""

    base: Mapping[str, Any] | None
    ours: Mapping[str, Any] | None
    theirs: Mapping[str, Any] | None
    fields: tuple[str, ...]
    strategy: str
    decision: Decision


@dataclass(slots=True, kw_only=True)
class Effect:
    """What an operation has really done to the record, for an edge to tell its upstream; never what it only asked."""

    operation: Verb
    data: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Decided:
    """*stored*: the record after the operation, where it changes; None: it stays as it is. *parallel*: fields of others
    that it went past without meeting them. A rejection has neither *stored* nor *conflict*."""

    answer: Answer
    stored: Stored | None = None
    conflict: Conflict | None = None
    effect: Effect | None = None
    parallel: int = 0

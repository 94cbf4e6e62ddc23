"""What a replica keeps, as the exchange with its server sees it: a queue of operations and a copy of the server's rows.

Each call is one transaction: it is done as a whole or not at all, also when the process is killed within it. Times are
in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from schemas.records.answers import Decision
from schemas.records.operation import Operation

RebuildReason: TypeAlias = Literal["compacted", "epoch", "feed", "scope"]
"""Why a replica's copy of the rows is of no use any more: rows that it lacks have been forgotten; the server's history
went back; it is another server; the replica may read something else than before."""

HISTORY: tuple[RebuildReason, ...] = ("epoch", "feed")
"""The reasons after which operations that were answered may be lost at the server: they are sent again."""


class Rebuild(NamedTuple):
    """A copy of the rows that is built anew beside the one in force. *cursor*: where it has come to; None: nowhere."""

    reason: RebuildReason
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How the server knows this replica. *ack*: what it gave with the last answers; None: none yet. *cursor*: up to
    where its changes are in the copy in force; None: nothing was pulled. *rebuild*: None where none is under way."""

    replica: str
    ack: str | None
    cursor: str | None
    rebuild: Rebuild | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """An operation that waits. *retries*: how often it has failed by itself."""

    operation: Operation
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an operation that was sent.

    *state*: `synced`: the server has it. `conflict`: the server has it, and a person decides. `failed`: refused; it is
    kept and shown, and not sent again by itself. `pending`: it waits *after_s* seconds and is sent again; *retries*:
    the new count of its own failures; *restamp*: its clock was ahead, so it is written as of now first.

    *version*: the server's, of the record after it (`synced`, `conflict`; 0: there is none). The operation stays on top
    of the copied row until that has this version. *reason*, *detail*: why it is refused or waits.
    """

    op_id: UUID
    state: Literal["synced", "conflict", "failed", "pending"]
    version: int | None = None
    decision: Decision | None = None
    conflict_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    retries: int = 0
    after_s: float = 0.0
    restamp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that was pulled. `delete`: the record is a tombstone now; *erased*: nothing of it may be kept. `remove`:
    it is not for this replica any more; nothing else is told. *data*, *owner_id*: of an `upsert`. *stamps*: field ->
    (ms, counter, origin), where asked."""

    op: Literal["upsert", "delete", "remove"]
    model: str
    record_id: str
    version: int = 0
    owner_id: str | None = None
    erased: bool = False
    data: Mapping[str, Any] | None = None
    stamps: Mapping[str, tuple[int, int, str]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Changes in the order of the server's commits. *cursor*: where the next page begins. *more*: there is one already.
    *server_time*: as the server wrote it; *schema*: of its models; *feed*: its name."""

    changes: Sequence[Change]
    cursor: str
    more: bool
    server_time: str | None = None
    schema: str | None = None
    feed: str | None = None


class ReplicaStore(Protocol):
    """The queue and the copy. A row of the copy never goes back to a lower version but by a rebuild, and what users see
    is always the copied row with the open operations on top (`schemas.records.overlay.overlaid`)."""

    async def identity(self) -> Identity:
        """How the server knows this replica."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait until no other program sends by this replica's name: each of two that do at once lacks the `ack` of the
        other, and the server takes them for copies."""

    async def due(self, limit: int, max_bytes: int) -> Sequence[Queued]:
        """Operations to send now, at most *limit* and about *max_bytes* of JSON, but at least one where any is due.

        Oldest first, and those of one record in their order: none comes while an earlier one of its record waits.
        """

    async def settle(self, ack: str | None, verdicts: Sequence[Verdict]) -> None:
        """Keep what became of operations, and the server's new *ack* (None: it stays). A verdict on an operation that
        does not wait any more changes nothing."""

    async def take(self, page: Page) -> int:
        """Put the changes of *page* into the copy and move the cursor: of the copy that is built anew where one is, of
        the one in force otherwise. Returns how many changes were new. Operations whose version is reached end here."""

    async def begin_rebuild(self, reason: RebuildReason) -> None:
        """Begin a copy anew beside the one in force, from nothing. The queue stays."""

    async def end_rebuild(self) -> None:
        """Put the new copy in the place of the old one. Where the server's history went back (HISTORY), operations that
        were answered wait again, with their ids: the server answers `duplicate` to those that it still has."""

    async def renew_identity(self) -> None:
        """Take a new name, without an ack: another copy of this replica goes by the old one. The queue stays."""

    async def heard(self, error: str | None) -> None:
        """Note the end of a round. *error*: None: it was complete; else our short name for what stopped it."""

"""What a page of the feed is made of, as plain functions: whose records it has, its changes, and where it leaves
off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from adapters.postgres.pool import Record
from adapters.postgres.records.feed import ALL, Head
from daemon.records.pulling.cursor import Cursor
from schemas.principals import Principal

MARK_EVERY: Final = 1000
"""A reader whom nothing concerns stays at the newest mark that there is, so that its pulls write nothing; when so many
changes have gone past it, a mark is made."""


class Scope(NamedTuple):
    """What a principal reads. *owners*, *branch*: whose records; None owners: everybody's. *name*: the same for the
    same rights and models."""

    owners: tuple[str, ...] | None
    branch: str | None
    audiences: frozenset[str]
    name: str


@lru_cache(maxsize=10_000)
def scope_of(principal: Principal, models: frozenset[str] | None) -> Scope:
    """What *principal* reads of *models*; None: of all."""
    audiences = frozenset({ALL}) if principal.sees_all else principal.audiences
    told = [sorted(audiences), None if models is None else sorted(models)]
    name = sha256(orjson.dumps(told)).hexdigest()[:16]
    if principal.sees_all:
        return Scope(None, None, audiences, name)
    owners = tuple(sorted(one[2:] for one in audiences if one.startswith("o:")))
    return Scope(owners, next((one[2:] for one in audiences if one.startswith("b:")), None), audiences, name)


class Place(NamedTuple):
    """Where a page leaves off; as Cursor has it. *newest*: whether the newest mark proves the history up to it; else
    one is to be made at the head."""

    seq: int
    snap: int
    end: int
    more: bool
    newest: bool


def place_after(head: Head, since: Cursor | None, last: int | None, is_full: bool) -> Place:
    """The place after the page that begins at *since*. *last*: the number of its last change; None: it has none.
    *is_full*: whether more may follow in the snapshot that it was read in."""
    began, snap, end = (0, head.seq, head.seq) if since is None else (since.seq, since.snap, since.end or head.seq)
    seq = last if is_full and last is not None else head.seq
    if last is None and head.mseq is not None and head.seq - head.mseq <= MARK_EVERY:
        seq = max(began, head.mseq)
    more = is_full and seq < end
    return Place(
        seq=seq,
        snap=snap if snap > seq else 0,
        end=end if more else 0,
        more=more,
        newest=head.mseq is not None and head.mseq >= max(seq, snap),  # compaction leaves the marks from snap on
    )


def taken(rows: Sequence[Record], limit: int, most_bytes: int) -> tuple[Sequence[Record], bool]:
    """Those of *rows* that go into a page, and whether more may follow them."""
    if rows and rows[-1]["bytes"] > most_bytes:
        return rows[:-1] or rows, True
    return rows, len(rows) >= limit


def changes(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """*rows* as JSON has them. The stored text of the data goes out as it is."""
    made: list[dict[str, Any]] = []
    for _, op, model, id, version, owner_id, data, stamps, _ in rows:
        change = {"op": op, "model": model, "id": id}
        if op != "remove":
            change["version"] = version
        if op == "delete" and data is not None:  # the mark of an erased record
            change["erased"] = True
        if op == "upsert":
            change["owner_id"] = owner_id
            change["data"] = orjson.Fragment(data)
            if stamps is not None:
                change["stamps"] = _told(stamps)
        made.append(change)
    return made


def _told(stamps: str) -> dict[str, Any]:
    """The stamps of a stored text as others are told them: what orders changes, and nothing of peers and versions."""
    return {field: parts[:3] for field, parts in orjson.loads(stamps).items()}

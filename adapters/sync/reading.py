"""What a server of records answers, read: answers to operations, and pages of changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast, get_args
from uuid import UUID

from adapters.sync.store import Change, Page
from schemas.records.answers import Answer, Decision, Result


def read_answer(raw: object) -> Answer | None:
    """An answer to one operation; None: one that we cannot read, so its operation waits."""
    if not isinstance(raw, dict) or raw.get("result") not in get_args(Result):
        return None
    op_id = said(raw, "op_id")
    try:
        UUID(op_id or "")
    except ValueError:
        return None
    first, decision = raw.get("first"), raw.get("decision")
    record = raw.get("record")
    return Answer(
        op_id=op_id,
        result=cast(Result, raw["result"]),
        version=_whole(raw.get("version")),
        first=cast(Result, first) if first in get_args(Result) else None,
        decision=cast(Decision, decision) if decision in get_args(Decision) else None,
        conflict_id=_whole(raw.get("conflict_id")),
        reason=said(raw, "reason"),
        detail=said(raw, "detail"),
        retry=raw.get("retry") is True,
        record=record if isinstance(record, dict) else None,
    )


def read_page(found: Mapping[str, Any]) -> Page | None:
    """*found* as a page; None: it is none. A page is read as a whole: a change that was left out would be missing for
    ever."""
    changes, cursor, more = found.get("changes"), found.get("cursor"), found.get("more")
    if not isinstance(changes, list) or not isinstance(cursor, str) or not isinstance(more, bool):
        return None
    try:
        read = [_change(one) for one in changes]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    times = said(found, "server_time"), said(found, "schema"), said(found, "feed")
    return Page(changes=read, cursor=cursor, more=more, server_time=times[0], schema=times[1], feed=times[2])


_OPS: Final = ("upsert", "delete", "remove")


def _change(raw: Mapping[str, Any]) -> Change:
    """Raises: KeyError, TypeError, ValueError, AttributeError."""
    op, model, record_id = raw["op"], raw["model"], raw["id"]
    version = 0 if op == "remove" else _whole(raw["version"])
    data = raw["data"] if op == "upsert" else None
    if op not in _OPS or not isinstance(model, str) or not isinstance(record_id, str) or version is None:
        raise ValueError("no change")
    if op == "upsert" and not isinstance(data, dict):
        raise ValueError("no data")
    stamps = {name: (int(ms), int(n), str(who)) for name, (ms, n, who) in (raw.get("stamps") or {}).items()} or None
    return Change(
        op=cast(Literal["upsert", "delete", "remove"], op),
        model=model,
        record_id=record_id,
        version=version,
        owner_id=raw.get("owner_id"),
        erased=raw.get("erased") is True,
        data=data,
        stamps=stamps,
    )


def said(found: Mapping[str, Any], name: str) -> str | None:
    """The text *name* of *found*; None: it has none."""
    value = found.get(name)
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

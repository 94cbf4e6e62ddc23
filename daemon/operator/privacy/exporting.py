"""A person's data as files in one archive: what a person is given who asks for it, readable by its owner alone.

JSON lines for each table, an index that says what each holds, and a manifest of digests. Other people in it are masked:
who of the staff wrote, who else is in a group.
"""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.operator.privacy import rows, subjects
from adapters.redis import persons
from daemon.operator.faults import Unusable
from daemon.operator.privacy import finding, verifying
from daemon.operator.privacy.map import TABLES
from daemon.operator.privacy.needles import pattern_of
from schemas.envelope import from_fields
from schemas.errors import FerrymanError, Malformed

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from adapters.redis.streams import Streams
    from daemon.operator.privacy.outside import Beyond

EXPORTED: Final = "person.exported"
"""The action in the audit log."""

MASKED: Final = "(another person)"
_OF_OTHERS: Final = frozenset({"assignee", "author", "participant", "participant_name", "agent", "user", "members"})
"""Members of what the CRM and WhatsApp tell that name others than the person."""


class Export(NamedTuple):
    """An archive, and what is in it."""

    contents: dict[str, Any]
    body: bytes


async def export(pool: Pool, bus: Streams, beyond: Beyond, text: str, to: Path, actor: str) -> dict[str, Any]:
    """Write all that is kept of the person whom *text* means into the new file *to*, readable by its owner alone;
    returns its index. Raises: Unusable, where *to* exists or cannot be made; as `exported`."""
    try:
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Unusable("there is a file of this name already: name another one") from None
    except OSError as exc:
        raise Unusable(f"the file cannot be made ({exc.strerror}): name another place") from None
    try:
        with os.fdopen(handle, "wb") as out:
            made = await exported(pool, bus, beyond, text, actor)
            out.write(made.body)
    except BaseException:
        await asyncio.to_thread(to.unlink, missing_ok=True)
        raise
    return made.contents


async def exported(pool: Pool, bus: Streams, beyond: Beyond, text: str, actor: str) -> Export:
    """All that is kept of the person whom *text* means. Raises: NotThere; as `finding.seeds`."""
    async with finding.looked_at(pool, await finding.seeds(pool, text)) as (conn, number):
        found = await subjects.read(conn, number)
        tables = await rows.exported(conn, number, finding.null_hash())
    own = verifying.entry_of(found, pattern_of(found))
    entries = [entry async for entry in persons.entries(bus.redis, bus.partitions, own)]
    if not (tables or entries):
        raise finding.nobody()
    parts = {f"database/{table}.jsonl": _lines(_shown(table, listed)) for table, listed in sorted(tables.items())}
    if entries:
        parts["streams.jsonl"] = _lines([_entry(entry.fields) for entry in entries])
    missing = await _objects(beyond, found.get("object", ()), parts)
    index = _index(parts, missing)
    parts["INDEX.json"] = orjson.dumps(index, option=orjson.OPT_INDENT_2)
    digests = {name: sha256(body).hexdigest() for name, body in parts.items()}
    parts["MANIFEST.json"] = orjson.dumps({"sha256": digests}, option=orjson.OPT_INDENT_2)
    detail = {"files": len(parts), "sha256": sha256(parts["MANIFEST.json"]).hexdigest()}
    async with pool.acquire() as conn:
        await audit_log.add(conn, [Logged(actor, EXPORTED, "person", detail)])
    return Export(index, _zipped(parts))


async def _objects(beyond: Beyond, places: Sequence[str], parts: dict[str, bytes]) -> list[str]:
    """Put the person's objects among *parts*; returns the names of those that cannot be had now."""
    missing = []
    for number, place in enumerate(places, 1):
        bucket, _, path = place.partition("\n")
        name = f"archive/{number:04d}-{path.rpartition('/')[2]}"
        try:
            parts[name] = await beyond.archive.get(bucket, path)
        except FerrymanError:
            missing.append(name)
    return missing


def _index(parts: Mapping[str, bytes], missing: Sequence[str]) -> dict[str, Any]:
    about = {f"database/{held.place}.jsonl": f"{held.about}: {held.purpose}" for held in TABLES if held.about}
    return {
        "made_at": datetime.now(UTC),
        "files": {
            name: {"lines": body.count(b"\n"), "bytes": len(body), "holds": about.get(name, "as it came")}
            for name, body in parts.items()
        },
        "missing": list(missing),
        "masked": f"what others wrote, and who they are, stands as {MASKED}",
    }


def _shown(table: str, listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what is others'."""
    if table == "meeting_notes":
        listed = [one if one["message_type"] == "incoming" else one | {"content": MASKED} for one in listed]
    return [_masked(_parsed(one)) for one in listed]


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    """The data of an event as what they say, and not as one text."""
    for name in ("data", "raw_body"):
        if isinstance(row.get(name), str):
            try:
                row = row | {name: orjson.loads(row[name])}
            except orjson.JSONDecodeError:
                continue
    return row


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("type") in ("user", "agent_bot") and "name" in value:  # of Chatwoot: who of the staff
            return MASKED
        return {name: MASKED if name in _OF_OTHERS and part else _masked(part) for name, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list) else value


def _entry(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        event = from_fields(fields)
        return {"type": event.type, "time": event.time, "data": _masked(event.json())}
    except Malformed:
        return {"type": "unreadable"}


def _lines(listed: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(one) + b"\n" for one in listed)


def _zipped(parts: Mapping[str, bytes]) -> bytes:
    body = BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return body.getvalue()

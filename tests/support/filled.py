"""An installation with a few of everything: twelve rows in each table that pages can show, with hostile text in every
field that has no form of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import asyncpg

from daemon.workers import WORKERS
from schemas.envelope import TYPES

ROWS: Final = 12
"""Of each table: as many as the longest closed set of states has, so that each state is there."""

HOSTILE: Final = (
    '<img src=x onerror="window.ran=1"><b class="hostile">\' "bold"</b></td></script>'
    "<script>window.ran=1</script> javascript:window.ran=1 {{ 7 * 7 }} \u202egnitirw\u2066 \u200f{0} %s \\ &amp; =1+1"
)
ENDLESS: Final = "W" * 10_000
"""A word that fits nowhere, and that no screen may be widened by."""

TEXTS: Final = (HOSTILE, "Noa Levi", ENDLESS, "<plaintext>\u202e")

NOT_FILLED: Final[Mapping[str, str]] = {
    "schema_migrations": "of the migrations",
    "ferryman_meta": "keys and marks of the installation itself",
    "workers": "each daemon writes its own workers there at its start",
    "leases": "the daemon takes them",
    "members": "the daemon reports itself",
    "outbox": "what stands there is published at once",
    "spool": "what stands there is published at once",
    "sweeps": "the daemon sweeps by it",
    "sync_clock": "one row, of the migrations",
    "sync_upstream": "one row, of an edge",
    "sync_marks": "how far replicas have read: no page has it",
    "sync_replicas": "how far replicas have read: no page has it",
    "operator_sessions": "whoever logs in has one",
    "operator_links": "whoever logs in had one",
    "operator_reveals": "of a session",
    "login_failures": "digests",
}
"""Tables that stay as the daemon makes them, and why."""

_SPACE: Final = UUID("0f8a7f0e-5b53-4a4e-9a35-6f0e6f2a7c11")
_NOW: Final = datetime.now(UTC)
_EVENT_TYPES: Final = tuple(TYPES)
_WORKER_NAMES: Final = tuple(worker.name for worker in WORKERS)


def event_id(n: int) -> str:
    """The id of the event that the rows *n* of all tables are about."""
    return str(uuid5(_SPACE, f"event {n}"))


def phone(n: int) -> str:
    """The phone of the person *n*."""
    return f"+97250555{n:04d}"


_DATA: Final = json.dumps({"text": HOSTILE, HOSTILE: [ENDLESS, None, 9007199254740993, True]}, ensure_ascii=False)

_BY_NAME: Final[Mapping[str, Callable[[int], Any]]] = {
    "event_id": event_id,
    "replay_id": lambda n: "",
    "worker": lambda n: _WORKER_NAMES[n % len(_WORKER_NAMES)],
    "type": lambda n: _EVENT_TYPES[n % len(_EVENT_TYPES)],
    "phone": phone,
    "subject": phone,
    "time": lambda n: _NOW - timedelta(minutes=n),
    "data": lambda n: _DATA,
    "provider": lambda n: ("cgb", "meta", "twilio", "whapi")[n % 4],
    "schemaversion": lambda n: 1,
    "fingerprint": lambda n: hashlib.sha256(str(n % 3).encode()).hexdigest()[:16],
    "causationid": lambda n: event_id(n + 1),
    "traceparent": lambda n: f"00-{n:032x}-{n:016x}-01",
    "order_id": lambda n: f"IL21021{n:02d}TH{n:04d}",
    "language": lambda n: ("en", "he", "ru")[n % 3],
    "model": lambda n: ("person", "order", "note")[n % 3],
}
"""Columns of these names have a form everywhere."""

_MESSAGES: Final = (
    "uncertain",
    "sent",
    "failed",
    "uncertain",
    "delivered",
    "read",
    "played",
    "skipped",
    "canceled",
    "received",
    "queued",
    "sent",
)

_BY_COLUMN: Final[Mapping[tuple[str, str], Callable[[int], Any]]] = {
    ("event_journal", "id"): event_id,
    ("event_journal", "recorded_at"): lambda n: _NOW - timedelta(minutes=n),
    ("event_journal", "entry_id"): lambda n: f"{1_790_000_000_000 + n}-0",
    ("event_journal", "source"): lambda n: ("orders", "issues", "ferryman")[n % 3],
    ("orders", "client_phone_e164"): phone,
    ("orders", "event_id"): event_id,
    ("campaign_recipients", "person"): phone,
    ("campaigns", "status"): lambda n: ("draft", "paused", "stopped", "done")[n % 4],  # none that would be fed
    ("messages", "status"): lambda n: _MESSAGES[n],
    ("messages", "direction"): lambda n: "in" if _MESSAGES[n] == "received" else "out",
    ("messages", "not_before"): lambda n: _NOW + timedelta(days=3),  # none that would be sent
    ("messages", "route"): lambda n: None,
    ("messages", "moves"): lambda n: None,
    ("automatic_messages", "kind"): lambda n: "reminder",
    ("messages", "evidence"): lambda n: json.dumps({"at": _NOW.isoformat(), "found": False, "text": TEXTS[n % 4]}),
    ("records", "stamps"): lambda n: "{}",  # JSON, as texts
    ("sync_base", "stamps"): lambda n: "{}",
    ("subscribers", "name"): lambda n: f"shop-{n}",
    ("subscribers", "state"): lambda n: "disabled",  # nothing is delivered anywhere
    ("subscribers", "url"): lambda n: f"https://subscriber.example/{n}",
    ("subscribers", "leased_until"): lambda n: None,
    ("subscribers", "leased_by"): lambda n: None,
    ("opt_outs", "line"): lambda n: f"whatsapp:{phone(n)}",
    ("pauses", "name"): lambda n: f"paused-{n}",
    ("replays", "finished_at"): lambda n: _NOW,
    ("sync_runs", "finished_at"): lambda n: _NOW,
    ("operators", "password"): lambda n: None,
    ("whatsapp_user_mapping", "whatsapp_number"): phone,
    ("contacts", "merged_into"): lambda n: None,
    ("contacts", "stayed_as"): lambda n: None,
    ("contacts", "apart_from"): lambda n: [],
    ("contacts", "name"): lambda n: f"{TEXTS[n % 4]} {n}"[:255],  # as long as CGB's are cut
    ("contact_identities", "kind"): lambda n: ("phone", "email", "wa_id", "bsuid", "chatwoot", "cgb")[n % 6],
    ("contact_identities", "value"): lambda n: (phone(n), f"<b>person{n}@shop.example")[n % 2],
    ("contact_identities", "cgb_own"): lambda n: [],
    ("sync_queue", "operation"): lambda n: ("create", "update", "delete")[n % 3],
    ("sync_conflicts", "operation"): lambda n: ("create", "update", "delete")[n % 3],
    ("sync_queue", "state"): lambda n: ("synced", "failed", "discarded")[n % 3],
    ("sync_ops", "result"): lambda n: ("applied", "conflict", "refused")[n % 3],
    ("sync_conflicts", "strategy"): lambda n: "manual",
    ("sync_conflicts", "decision"): lambda n: None if n % 2 else "theirs",
    ("sync_conflicts", "decided_at"): lambda n: None if n % 2 else _NOW,
    ("sync_conflicts", "decided_by"): lambda n: None if n % 2 else "operator Noa",
    ("sync_conflicts", "base"): lambda n: json.dumps({"name": "before"}),
    ("sync_conflicts", "ours"): lambda n: json.dumps({"name": HOSTILE}),
    ("sync_conflicts", "theirs"): lambda n: json.dumps({"name": ENDLESS}),
    ("sync_conflicts", "fields"): lambda n: ["name"],
}


class _Column(NamedTuple):
    table: str
    name: str
    type: str
    automatic: bool
    refers_to: str | None
    choices: Sequence[str] = ()


async def fill(url: str) -> dict[str, int]:
    """Fill the database at *url*, whose daemon runs already; returns how many rows each table was given."""
    conn = await asyncpg.connect(url)
    try:
        tables = await _tables(conn)
        made: dict[str, list[Mapping[str, Any]]] = {}
        async with conn.transaction():
            for table in _in_order(tables):
                if table not in NOT_FILLED:
                    made[table] = [await _insert(conn, table, tables[table], n, made) for n in range(ROWS)]
        await conn.execute("ANALYZE")
        return {table: len(rows) for table, rows in made.items()}
    finally:
        await conn.close()


async def _insert(
    conn: asyncpg.Connection,
    table: str,
    columns: Sequence[_Column],
    n: int,
    made: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Mapping[str, Any]:
    given = {
        column.name: _value(column, n, made)
        for column in columns
        if not column.automatic and column.refers_to != column.table
    }
    places = ", ".join(f"${place}" for place in range(1, len(given) + 1))
    names = ", ".join(f'"{name}"' for name in given)
    row = await conn.fetchrow(f'INSERT INTO "{table}" ({names}) VALUES ({places}) RETURNING *', *given.values())
    assert row is not None
    return dict(row)


def _value(column: _Column, n: int, made: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    if (own := _BY_COLUMN.get((column.table, column.name))) is not None:
        return own(n)
    if column.refers_to is not None:
        referred = made[column.refers_to][n]
        return referred["digest" if column.type == "bytea" else "id"]
    if column.choices:
        return column.choices[n % len(column.choices)]
    if (own := _BY_NAME.get(column.name)) is not None and column.type in ("text", "timestamptz", "int4"):
        return own(n)
    return _OF_TYPE[column.type](column, n)


def _text(column: _Column, n: int) -> str:
    return f"{TEXTS[n % len(TEXTS)]} {n}"


_OF_TYPE: Final[Mapping[str, Callable[[_Column, int], Any]]] = {
    "text": _text,
    "_text": lambda column, n: [HOSTILE, f"label-{n}"],
    "uuid": lambda column, n: uuid5(_SPACE, f"{column.table} {column.name} {n}"),
    "_uuid": lambda column, n: [],
    "jsonb": lambda column, n: _DATA,
    "bytea": lambda column, n: hashlib.sha256(f"{column.table} {n}".encode()).digest(),
    "bool": lambda column, n: bool(n % 2),
    "int4": lambda column, n: n,
    "int8": lambda column, n: n + 1,
    "float4": lambda column, n: n / ROWS,
    "float8": lambda column, n: n + 0.5,
    "numeric": lambda column, n: Decimal(n) * 1000,
    "timestamptz": lambda column, n: _NOW - timedelta(hours=n, seconds=n),
    "date": lambda column, n: date(2026, 1, 1) + timedelta(days=n),
    "time": lambda column, n: time(n),
}

_COLUMNS: Final = """
SELECT c.table_name, c.column_name, c.udt_name,
       c.is_identity = 'YES' OR c.is_generated = 'ALWAYS' OR c.udt_name = 'tsvector'
           OR coalesce(c.column_default LIKE 'nextval(%', false) AS automatic,
       (SELECT f.confrelid::regclass::text FROM pg_constraint f
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
        WHERE f.contype = 'f' AND f.conrelid = format('%I', c.table_name)::regclass AND a.attname = c.column_name
        LIMIT 1) AS refers_to,
       (SELECT array_agg(found[1]) FROM pg_constraint k
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
        CROSS JOIN regexp_matches(pg_get_constraintdef(k.oid), '''([a-z_]+)''::text', 'g') found
        WHERE k.contype = 'c' AND k.conrelid = format('%I', c.table_name)::regclass AND a.attname = c.column_name
          AND cardinality(k.conkey) = 1 AND pg_get_constraintdef(k.oid) LIKE '%= ANY (ARRAY%') AS choices
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
    AND NOT (SELECT p.relispartition FROM pg_class p WHERE p.oid = format('%I', c.table_name)::regclass)
ORDER BY c.table_name, c.ordinal_position
"""


async def _tables(conn: asyncpg.Connection) -> dict[str, list[_Column]]:
    found: dict[str, list[_Column]] = {}
    for row in await conn.fetch(_COLUMNS):
        table, name, type, automatic, refers_to, choices = row
        found.setdefault(table, []).append(_Column(table, name, type, automatic, refers_to, choices or ()))
    return found


def _in_order(tables: Mapping[str, Sequence[_Column]]) -> list[str]:
    """Each table after those that it refers to."""
    done: list[str] = []

    def add(table: str) -> None:
        if table in done:
            return
        for column in tables[table]:
            if column.refers_to is not None and column.refers_to != table:
                add(column.refers_to)
        done.append(table)

    for table in tables:
        add(table)
    return done

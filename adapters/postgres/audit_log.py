"""The audit log: what people and the daemon changed. It names what was changed, and holds no value of a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from adapters.postgres.pool import Connection

DAEMON: Final = "ferryman"
"""The actor of what no operator has asked for."""


class Logged(NamedTuple):
    """*actor* has done *action* to *subject* ("kind:id"). *detail*: JSON without values of persons."""

    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


_ADD: Final = """
INSERT INTO audit_log (actor, action, subject, detail)
SELECT actor, action, subject, detail::jsonb FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
  AS given (actor, action, subject, detail)
"""


async def add(conn: Connection, entries: Sequence[Logged]) -> None:
    """Append *entries*."""
    if entries:
        rows = [(e.actor, e.action, e.subject, orjson.dumps(e.detail).decode()) for e in entries]
        await conn.execute(_ADD, *map(list, zip(*rows, strict=True)))

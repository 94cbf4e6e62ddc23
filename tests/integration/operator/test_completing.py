"""Error classes for a shell's completion, as the tables have them."""

from __future__ import annotations

import asyncio

import pytest

from adapters.postgres.pool import Pool
from daemon.cli import completing

_BURY = (
    "INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid,"
    " schemaversion, error_class, error_text, attempts, state)"
    " VALUES ('contact-sync', $1, 'order.received', 'orders', 'b', now(), '{}', '', '', 1, $2, 'no', 1, $3)"
)


async def test_the_error_classes_of_open_letters_are_completed(
    db: Pool, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, (name, state) in enumerate(
        [("Refused", "open"), ("Refused", "open"), ("Malformed", "open"), ("Gone", "discarded")]
    ):
        await db.execute(_BURY, f"e{n}", name, state)
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2}
    for setting, value in stores.items():
        monkeypatch.setenv(setting, value)
    monkeypatch.setattr(completing, "WITHIN_S", 10.0)  # the machine of a test may be busy
    assert await asyncio.to_thread(completing.error_classes, "") == ["Malformed", "Refused"]
    assert await asyncio.to_thread(completing.error_classes, "R") == ["Refused"]

"""What every request asks of the sessions costs the same, however many there are; and what pages count is bounded."""

from __future__ import annotations

from typing import Final

import pytest

from adapters.postgres import sessions
from adapters.postgres.operator import refusals
from adapters.postgres.pool import Pool
from tests.support.list_rows import REFUSED
from tests.support.plans import assert_reads_few

OPERATOR: Final = """
INSERT INTO operators (name, role, created_by) SELECT 'o-' || n, 'read', 'test' FROM generate_series($1::int, $2::int) n
"""
SESSION: Final = """
INSERT INTO operator_sessions (digest, operator, address, agent)
SELECT sha256(n::text::bytea), 1 + (n - 1) % 20, '', '' FROM generate_series($1::int, $2::int) n
"""
REVEAL: Final = """
INSERT INTO operator_reveals (digest, subject, until)
SELECT sha256(n::text::bytea), 'contact:1', now() + interval '1 h' FROM generate_series($1::int, $2::int) n
"""
FAILURE: Final = """
INSERT INTO login_failures (subject, failures) SELECT sha256(n::text::bytea), 1 FROM generate_series($1::int, $2::int) n
"""
FILLS: Final = [OPERATOR, SESSION, REVEAL, FAILURE]
TABLES: Final = ["operators", "operator_sessions", "operator_reveals", "login_failures"]


@pytest.mark.parametrize(
    ("query", "types", "arguments"),
    [
        (sessions._FIND, "bytea", "sha256('7')"),
        (sessions._REVEALED, "bytea", "sha256('7')"),
        (sessions._WAITS, "bytea[]", "ARRAY[sha256('7'), sha256('8')]"),
        (sessions._FORGET_OLD, "", ""),
    ],
    ids=["session", "reveals", "waits", "old failures"],
)
async def test_a_request_reads_few_rows(db: Pool, query: str, types: str, arguments: str) -> None:
    await assert_reads_few(db, TABLES, FILLS, 5000, query, types, arguments, 30)


async def test_the_groups_of_refused_requests_are_of_the_newest(db: Pool) -> None:
    most = 5 * 2000  # each step of the plan passes on what it was given
    await assert_reads_few(db, ["refused_requests"], [REFUSED], 20_000, refusals._GROUPS, "", "", most)

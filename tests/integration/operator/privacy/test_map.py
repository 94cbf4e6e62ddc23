"""The map of what is kept about people names every column, and its page is made of it."""

from __future__ import annotations

from pathlib import Path

from adapters.postgres.operator.privacy import texts
from adapters.postgres.operator.privacy.rows import ROWS
from adapters.postgres.pool import Pool
from daemon.operator.privacy import map as privacy_map

PAGE = Path(__file__).parents[4] / "deploy" / "PRIVACY.md"


async def test_every_column_of_the_database_is_in_the_map_and_no_other(db: Pool) -> None:
    there = set(await texts.every_column(db))
    assert there - privacy_map.columns() == set(), "say in daemon/operator/privacy/map.py what they tell of a person"
    assert privacy_map.columns() - there == set(), "they are gone"


def test_no_column_is_in_the_map_twice() -> None:
    named = [(held.place, column) for held in privacy_map.TABLES for column in held.columns.split()]
    assert len(named) == len(set(named))


def test_what_the_map_says_is_deleted_is_erased_by_a_statement() -> None:
    erased = {one.table for one in ROWS}
    by_others = {  # with the rows that they belong to: records, messages, notes, requests, the erasure itself
        *("records", "sync_conflicts", "sync_queue", "sync_base", "idempotency_keys", "automatic_messages"),
        *("archive_moves", "refused_requests", "erasure_subjects"),
    }
    assert {held.place for held in privacy_map.TABLES if held.erased == "deleted"} <= erased | by_others


def test_the_page_is_made_of_the_map() -> None:
    assert privacy_map.page() in PAGE.read_text(encoding="utf-8"), "put there what `page()` gives"

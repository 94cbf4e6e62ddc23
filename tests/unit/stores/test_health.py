"""One watcher per store: when it is up, what is logged of an outage, and what its users may report to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from redis import exceptions as redis_errors
from structlog.testing import capture_logs

from adapters.redis.streams import NotDurable
from daemon.stores import health
from daemon.stores.health import StoreWatch, store_away
from tests.support.services import services
from tests.support.until import until

LONG_S = 30.0


class Store:
    """A store that answers, fails, or hangs."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.looks = 0

    async def look(self) -> None:
        self.looks += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def watch(store: Store, monkeypatch: pytest.MonkeyPatch) -> StoreWatch:
    """A watcher of *store* in a hurry; users must be quiet for a while before a look ends an outage."""
    monkeypatch.setattr(health, "EVERY_S", 0.01)
    monkeypatch.setattr(health, "EVERY_WHILE_DOWN_S", 0.01)
    monkeypatch.setattr(health, "PATIENCE_S", 0.05)
    monkeypatch.setattr(health, "QUIET_S", 0.2)
    return StoreWatch("postgres", store.look, store_away)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def told(lines: list[Any]) -> list[tuple[str, str, str]]:
    return [(line["event"], line["store"], line.get("error_class", "")) for line in lines]


async def looked(store: Store, times: int) -> None:
    wanted = store.looks + times
    await until(lambda: store.looks >= wanted)


async def test_an_outage_is_logged_once_with_its_error_and_once_when_it_is_over(
    store: Store, watch: StoreWatch, lines: list[Any]
) -> None:
    async with services(watch):
        await looked(store, 3)
        assert watch.up
        assert not lines
        store.error = ConnectionRefusedError()
        await until(lambda: not watch.up)
        await looked(store, 5)
        store.error = None
        async with asyncio.timeout(LONG_S):
            await watch.wait_up()
        await looked(store, 3)
    assert told(lines) == [("store.down", "postgres", "ConnectionRefusedError"), ("store.up", "postgres", "")]


async def test_a_store_that_hangs_is_down(store: Store, watch: StoreWatch, lines: list[Any]) -> None:
    store.hangs = True
    async with services(watch):
        await until(lambda: not watch.up)
    assert told(lines) == [("store.down", "postgres", "TimeoutError")]


async def test_an_error_that_a_user_met_counts_at_once_and_is_followed_by_a_look(
    store: Store, watch: StoreWatch, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "EVERY_S", LONG_S * 10)
    async with services(watch):
        await looked(store, 1)
        await asyncio.sleep(0)
        watch.noticed(ConnectionResetError())
        assert not watch.up
        await looked(store, 1)
    assert told(lines) == [("store.down", "postgres", "ConnectionResetError")]


async def test_a_store_that_answers_looks_and_fails_its_users_has_one_outage(
    store: Store, watch: StoreWatch, lines: list[Any]
) -> None:
    async with services(watch):
        for _ in range(10):
            watch.noticed(asyncpg.DiskFullError())
            await looked(store, 2)
            assert not watch.up
        async with asyncio.timeout(LONG_S):
            await watch.wait_up()  # no user meets an error any more
    assert told(lines) == [("store.down", "postgres", "DiskFullError"), ("store.up", "postgres", "")]


async def test_a_user_that_succeeds_ends_the_outage_at_once(store: Store, watch: StoreWatch, lines: list[Any]) -> None:
    async with services(watch):
        watch.answered()
        watch.noticed(OSError())
        waiting = asyncio.create_task(watch.wait_up())
        await asyncio.sleep(0)
        assert not waiting.done()
        watch.answered()
        await waiting
        assert watch.up
        await looked(store, 2)
        assert watch.up
    assert [event for event, _, _ in told(lines)] == ["store.down", "store.up"]


async def test_a_wait_for_a_store_ends_also_with_the_event_that_it_was_given(store: Store, watch: StoreWatch) -> None:
    store.error = OSError()
    stop = asyncio.Event()
    async with services(watch):
        await until(lambda: not watch.up)
        waiting = asyncio.create_task(watch.wait_up(stop))
        await looked(store, 2)
        assert not waiting.done()
        stop.set()
        await waiting
        assert not watch.up


async def test_an_error_of_the_look_that_is_no_outage_ends_the_watcher(store: Store, watch: StoreWatch) -> None:
    store.error = RuntimeError("not about the store")
    watch.start()
    with pytest.raises(RuntimeError, match="not about the store"):
        async with asyncio.timeout(LONG_S):
            await watch.stopped()


async def test_a_store_that_is_yet_to_be_found_is_down_and_one_line_says_where_it_is_sought(
    store: Store, lines: list[Any]
) -> None:
    watch = StoreWatch("postgres", store.look, store_away, sought_at="postgresql://host/name")
    states = [watch.up]
    for _ in range(3):
        watch.noticed(ConnectionRefusedError())
    states.append(watch.up)
    watch.answered()
    states.append(watch.up)
    watch.noticed(ConnectionResetError())
    states.append(watch.up)
    assert states == [False, False, True, False]
    assert told(lines) == [
        ("store.awaited", "postgres", "ConnectionRefusedError"),
        ("store.up", "postgres", ""),
        ("store.down", "postgres", "ConnectionResetError"),
    ]
    assert lines[0]["place"] == "postgresql://host/name"


async def test_a_store_that_is_there_at_the_first_look_for_it_is_nothing_to_tell(
    store: Store, lines: list[Any]
) -> None:
    watch = StoreWatch("postgres", store.look, store_away, sought_at="postgresql://host/name")
    watch.answered()
    assert watch.up
    assert not lines


@pytest.mark.parametrize(
    ("exc", "away"),
    [
        (redis_errors.ConnectionError(), True),
        (redis_errors.OutOfMemoryError(), True),
        (NotDurable(), True),
        (asyncpg.CannotConnectNowError(), True),
        (asyncpg.DiskFullError(), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (asyncpg.UndefinedTableError(), True),
        (asyncpg.UndefinedColumnError(), True),
        (asyncpg.InsufficientPrivilegeError(), True),
        (asyncpg.ReadOnlySQLTransactionError(), True),
        (asyncpg.exceptions.InvalidCachedStatementError(), True),
        (asyncpg.exceptions.DataCorruptedError(), True),
        (asyncpg.UniqueViolationError(), False),
        (asyncpg.exceptions.UntranslatableCharacterError(), False),
        (asyncpg.exceptions.ProgramLimitExceededError(), False),
        (asyncpg.exceptions.RaiseError(), False),
        (ValueError(), False),
        (RuntimeError(), False),
    ],
)
def test_a_duty_skips_a_round_for_a_store_that_is_away_and_for_nothing_else(exc: Exception, away: bool) -> None:
    assert store_away(exc) is away

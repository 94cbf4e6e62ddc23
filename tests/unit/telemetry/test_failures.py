"""What may be told of an exception: the cause, and never the data that it quotes."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator

import asyncpg
import pytest
import structlog
from redis import exceptions as redis_errors

from daemon.telemetry import logs
from daemon.telemetry.failures import failure, fields, told_traceback
from schemas.errors import Refused


def database(message: str, sqlstate: str, **more: str) -> asyncpg.PostgresError:
    """An error as asyncpg makes it of what the server sends."""
    codes = {"detail": "D", "hint": "H", "constraint": "n"}
    sent = {"S": "ERROR", "C": sqlstate, "M": message} | {codes[name]: text for name, text in more.items()}
    made: asyncpg.PostgresError = asyncpg.PostgresError.new(sent)
    return made


CAUSES = {
    'InvalidPasswordError 28P01: password authentication failed for user "ferryman"': database(
        'password authentication failed for user "ferryman"', "28P01"
    ),
    'InvalidCatalogNameError 3D000: database "ferrymna" does not exist': database(
        'database "ferrymna" does not exist', "3D000"
    ),
    "InsufficientPrivilegeError 42501: permission denied for table orders": database(
        "permission denied for table orders", "42501"
    ),
    "TooManyConnectionsError 53300: sorry, too many clients already": database(
        "sorry, too many clients already", "53300"
    ),
    "ResponseError: OOM command not allowed when used memory > 'maxmemory'.": redis_errors.ResponseError(
        "OOM command not allowed when used memory > 'maxmemory'."
    ),
    "ReadOnlyError: You can't write against a read only replica.": redis_errors.ReadOnlyError(
        "You can't write against a read only replica."
    ),
    "NoPermissionError: User app has no permissions to run the 'info' command": redis_errors.NoPermissionError(
        "User app has no permissions to run the 'info' command"
    ),
    "ConnectionRefusedError: Connection refused": ConnectionRefusedError(111, "Connection refused"),
    "gaierror: Name or service not known": socket.gaierror(-2, "Name or service not known"),
    "TimeoutError: no answer in time": TimeoutError(),
    "Refused: the account is closed": Refused("the account is closed"),
    "ValueError: list index": ValueError("list index"),
}

QUOTING = [
    database("duplicate key value", "23505", detail="Key (phone)=(CANARY) already exists.", constraint="orders_pkey"),
    database('invalid input syntax for type integer: "CANARY"', "22P02"),
    database('new row for relation "orders" violates check CANARY', "23514", detail="Failing row contains (CANARY)."),
    database("permission denied for table orders", "42501", detail="CANARY", hint="CANARY"),
    database("CANARY is no order", "P0001"),
    asyncpg.DataError("invalid input for query argument $1: 'CANARY' (expected str, got int)"),
    asyncpg.DataError("invalid input for query argument $1: {'name': ['CANARY']} (expected str, got dict)"),
    redis_errors.ResponseError("unknown command 'XX', with args beginning with: 'CANARY' "),
    redis_errors.ConnectionError("cannot use redis://user:CANARY@host:6379"),
    ValueError("invalid literal for int() with base 10: 'CANARY'"),
    KeyError("CANARY"),
    UnicodeDecodeError("utf-8", b"CANARY", 0, 1, "invalid start byte"),
    json.JSONDecodeError("Expecting value", "CANARY", 0),
]


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    root, lines = logging.getLogger(), io.BytesIO()
    before = root.level, [*root.handlers]
    logs.configure("debug", stream=lines)
    yield lines
    structlog.reset_defaults()
    root.level, root.handlers = before


@pytest.mark.parametrize(("told", "exc"), CAUSES.items(), ids=list(CAUSES))
def test_the_sentence_that_names_the_cause_is_told(told: str, exc: Exception) -> None:
    assert str(failure(exc)) == told


@pytest.mark.parametrize("exc", QUOTING, ids=lambda exc: type(exc).__name__)
def test_what_quotes_data_is_told_by_its_class_alone(exc: Exception, stream: io.BytesIO) -> None:
    try:
        try:
            raise exc
        except Exception as quoting:
            raise RuntimeError("the batch") from quoting
    except RuntimeError as led_to:
        structlog.get_logger().exception("event.handler_failed", **fields(exc))
        structlog.get_logger().error("event.unwritable", exc_info=ExceptionGroup("parts", [exc, led_to]))
        said = stream.getvalue().decode() + told_traceback(led_to) + str(failure(exc))
    assert "CANARY" not in said
    assert type(exc).__name__ in said
    assert "RuntimeError: the batch" in said


def test_a_database_error_is_told_with_its_code_and_constraint() -> None:
    exc = QUOTING[0]
    assert str(failure(exc)) == "UniqueViolationError 23505 orders_pkey"
    assert fields(exc) == {
        "error_class": "UniqueViolationError",
        "sqlstate": "23505",
        "constraint": "orders_pkey",
    }


def test_a_sentence_is_one_short_line() -> None:
    told = failure(RuntimeError("one\ntwo" + "x" * 5000))
    assert told.sentence == "one"
    assert len(failure(RuntimeError("x y" * 5000)).sentence) <= 240

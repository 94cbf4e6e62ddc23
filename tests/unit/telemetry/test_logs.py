"""Logs: one object per line, and nothing personal or secret in any."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from daemon.telemetry import logs
from daemon.telemetry.redaction import FIELD_LIMIT, is_sensitive, redact, redact_text

unhurried = hypothesis_settings(deadline=None)

FORMATS = (
    "+{0}{1}{2}{3}",
    "{0}{1}{2}{3}",
    "00{0} {1} {2} {3}",
    "+{0} {1}-{2}-{3}",
    "+{0} ({1}) {2}-{3}",
    "0{1}.{2}.{3}",
    "(0{1}) {2} {3}",
    "+{0}\u00a0{1}\u2011{2}\u2011{3}",
    "\u202a+{0}\u200e {1} {2}{3}\u202c",
    "tel:+{0}-{1}-{2}-{3}",
    "https://wa.me/{0}{1}{2}{3}?text=x",
    "%2B{0}{1}{2}{3}",
    "{0}{1}{2}{3}@s.whatsapp.net",
    "\uff0b{0}/{1}/{2}/{3}",
)


EARLIEST, LATEST = datetime(2000, 1, 1), datetime(2099, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone


def digits(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


phones = st.builds(
    lambda form, *parts: str(form).format(*parts),
    st.sampled_from(FORMATS),
    st.sampled_from(["972", "46", "1", "7", "44"]),
    digits(20, 99),
    digits(100, 999),
    digits(1000, 9999),
)
prose = st.text(st.characters(categories=["L", "P", "S", "Z"], exclude_characters="@%/\\:'\"=\u2028"), max_size=30)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """`logs.configure` changes the whole process: every test of this file leaves it as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines() -> io.BytesIO:
    stream = io.BytesIO()
    logs.configure("debug", stream=stream)
    return stream


def read(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def only_digits(text: str) -> str:
    return "".join(str(unicodedata.digit(one)) for one in text if one.isdigit())


@unhurried
@given(phones, prose, prose)
@example("٠٥٠١٢٣٤٥٦٧", "", "")
def test_a_phone_is_not_in_the_text_however_it_is_written(phone: str, before: str, after: str) -> None:
    out = redact_text(f"{before} {phone} {after}")
    assert len(only_digits(out)) < 7


@unhurried
@given(st.emails(), prose)
def test_an_email_address_is_not_in_the_text(email: str, around: str) -> None:
    assert email not in redact_text(f"{around} {email} {around}")


@unhurried
@given(st.text("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=9, max_size=40))
def test_a_token_is_not_in_the_text_where_its_place_says_what_it_is(rest: str) -> None:
    token = f"Q7z{rest}"
    for text in (
        f"Authorization: Bearer {token}",
        f"whsec_{token}",
        f"GET /x?access_token={token}&a=1",
        f"X-API-Key: {token}",
        f"redis://:{token}@host:6379/0",
        f"postgresql://me:{token}@x@host/db",
        f'{{"api_key":"{token}"}}',
        f"-----BEGIN PRIVATE KEY-----\n{token}\n-----END PRIVATE KEY-----",
    ):
        assert token not in redact_text(text)


NESTED = st.recursive(
    st.just("CANARY"),
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.just("x"), inner, min_size=1),
    max_leaves=4,
)


@pytest.mark.parametrize(
    "field",
    [
        "phone",
        "client_name",
        "firstName",
        "email",
        "text",
        "body",
        "access_token",
        "secret",
        "api_key",
        "subject",
        "authorization",
        "to",
        "from",
        "phone_number",
        "Authorization",
        "X-API-Key",
        "names",
        "client",
        "message",
    ],
)
@unhurried
@given(NESTED)
def test_a_sensitive_field_hides_all_that_is_in_it_at_any_depth(field: str, value: object) -> None:
    assert "CANARY" not in str(redact({"outer": [{field: value}]}))


@pytest.mark.parametrize(
    "field",
    ["worker", "event_id", "took_ms", "body_bytes", "token_count", "outcome", "attempt", "phone_number_id"],
)
def test_an_ordinary_field_stays(field: str) -> None:
    assert not is_sensitive(field)


@unhurried
@given(
    st.uuids(),
    st.datetimes(timezones=st.just(UTC), min_value=EARLIEST, max_value=LATEST),
)
def test_ids_and_times_stay_as_they_are(some_id: uuid.UUID, when: datetime) -> None:
    text = f"event {some_id} at {when.isoformat()}"
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:6379",
        "listening on 0.0.0.0:8080",
        "took 1234.567 ms",
        "0.123456789",
        "waited 30000 ms of 45000 ms",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "1732186984123-0",
        "<Task at 0x7f1234567890>",
        "2026-11-21T10:03:04.123456Z",
        "redis 8.1.0 on port 65535",
    ],
)
def test_what_only_looks_like_a_phone_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "duplicate key\nDETAIL:  Key (name)=(CANARY) already exists.",
        "DETAIL:  Failing row contains (1, CANARY, null).",
        "1 error\nname\n  wrong [type=x, input_value='CANARY', input_type=str]",
        "{'first_name': 'CANARY', 'n': 1}",
    ],
)
def test_values_that_errors_quote_are_not_in_the_text(text: str) -> None:
    assert "CANARY" not in redact_text(text)


@unhurried
@given(st.text())
def test_control_and_direction_characters_never_get_through(text: str) -> None:
    out = redact_text(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f]", out)
    assert len(out) <= 10 * FIELD_LIMIT


def test_a_long_text_is_cut_and_does_not_leave_half_a_number() -> None:
    out = redact_text("x " * 1995 + "0501234567" * 3)
    assert len(out) <= FIELD_LIMIT
    assert not only_digits(out)


@pytest.mark.parametrize("piece", ["://", "a:", '"a":', "(", "1", "a@", "Key (", "a", "1 ", "%40", "1.", "=", "'"])
def test_a_hostile_text_costs_no_more_than_a_moment(piece: str) -> None:
    started = datetime.now(UTC)
    redact_text(piece * 100_000)
    assert (datetime.now(UTC) - started).total_seconds() < 1


def test_other_objects_show_their_kind_only() -> None:
    assert redact(SecretStr("CANARY")) == "<SecretStr>"
    assert redact(b"CANARY") == "<6 bytes>"
    assert redact({"x": 2**70}) == {"x": "[phone]"}
    loop: dict[str, object] = {}
    loop["loop"] = loop
    assert "…" in str(redact(loop))


def test_a_line_is_one_json_object_with_level_time_and_event(lines: io.BytesIO) -> None:
    structlog.get_logger().info("event.settled", worker="journal", took_ms=1.5, note="a\r\nb\x1b[2J")
    (line,) = read(lines)
    assert line["event"] == "event.settled"
    assert line["level"] == "info"
    assert line["worker"] == "journal"
    assert line["took_ms"] == 1.5
    assert line["note"] == r"a\r\nb\x1b[2J"
    assert line["timestamp"].endswith("Z")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.BytesIO()
    logs.configure("warning", stream=stream)
    structlog.get_logger().info("event.settled")
    structlog.get_logger().warning("event.buried")
    assert [line["event"] for line in read(stream)] == ["event.buried"]
    structlog.reset_defaults()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        logs.configure("loud")


def test_exceptions_come_with_their_traceback_and_without_canaries_or_locals(lines: io.BytesIO) -> None:
    hidden = "LOCAL-CANARY"
    try:
        try:
            raise KeyError("dana@example.com")
        except KeyError as cause:
            raise ExceptionGroup("many", [ValueError("+972 50-123-4567"), OSError(f"{len(hidden)}")]) from cause
    except ExceptionGroup:
        structlog.get_logger().exception("event.failed")
    (line,) = read(lines)
    assert "ValueError: [phone]" in line["exception"]
    assert "test_logs.py" in line["exception"]
    assert "dana@" not in line["exception"]
    assert "123-4567" not in line["exception"]


def test_the_standard_library_logs_through_the_same_renderer(lines: io.BytesIO) -> None:
    logging.getLogger("aiohttp.access").info("GET /x?token=%s %d", "CANARY", 200)
    logging.getLogger("odd").log(25, "between two levels")
    try:
        raise ValueError("dana@example.com")
    except ValueError:
        logging.getLogger("asyncio").exception("Task failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    access, odd, failed, warned = read(lines)
    assert (access["logger"], access["event"]) == ("aiohttp.access", "GET /x?token=*** 200")
    assert odd["level"] == "info"
    assert (failed["level"], failed["logger"]) == ("error", "asyncio")
    assert "ValueError: [email]" in failed["exception"]
    assert warned["logger"] == "py.warnings"


def test_a_record_whose_arguments_do_not_fit_is_still_a_line(lines: io.BytesIO) -> None:
    (handler,) = (one for one in logging.getLogger().handlers if type(one).__module__ == logs.__name__)
    handler.handle(logging.LogRecord("odd", logging.INFO, __file__, 1, "does not fit %d", ("x",), None))
    assert read(lines)[-1]["event"] == "does not fit %d"


def test_a_log_that_cannot_be_written_does_not_fail_the_work() -> None:
    stream = io.BytesIO()
    logs.configure("info", stream=stream)
    stream.close()
    structlog.get_logger().info("event.settled")
    again = io.BytesIO()
    logs.configure("info", stream=again)
    structlog.get_logger().info("event.settled", n=2)
    structlog.reset_defaults()
    assert [(line["event"], line["n"]) for line in read(again)] == [("event.settled", 2)]


def test_lines_for_a_person_cannot_be_forged(lines: io.BytesIO) -> None:
    logs.configure("info", stream=lines, human=True)
    try:
        raise ValueError("x\n2026-01-01 [info] money.sent")
    except ValueError:
        structlog.get_logger().exception("event.failed", note="a\nb")
    text = lines.getvalue().decode()
    assert r"note=a\nb" in text
    assert all(line.startswith("  | ") for line in text.splitlines()[1:])


KEYS = st.sampled_from(["x", "note", "error", "detail", "items"])


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.recursive(phones, lambda i: st.lists(i, max_size=3) | st.dictionaries(KEYS, i, max_size=3), max_leaves=8))
def test_no_phone_leaves_in_any_field_at_any_depth(value: object) -> None:
    stream = io.BytesIO()
    logs.configure("debug", stream=stream)
    structlog.get_logger().debug("event.seen", detail=value, **{"name": "Dana CANARY"})
    (line,) = read(stream)
    structlog.reset_defaults()
    del line["timestamp"]
    assert not re.search(r"\d{4}", str(line))
    assert "CANARY" not in str(line)

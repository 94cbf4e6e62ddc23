"""Logging: one JSON object per line, or lines for a person; nothing personal or secret in either.

Event names are dotted and past tense (`event.settled`), ids are fields. The standard library's loggers
(aiohttp, asyncio, limits, warnings) come out of the same renderer.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, BinaryIO, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.telemetry.failures import exception_formatter
from daemon.telemetry.outlet import Outlet
from daemon.telemetry.redaction import redact, redact_text

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_OWN_FIELDS: Final = frozenset({"level", "timestamp"})


def configure(
    level: str = "info", *, stream: BinaryIO | Outlet | None = None, human: bool = False, colors: bool = False
) -> None:
    """Send every log line of *level* and above to *stream* (standard output when None).

    *human*: lines for a terminal instead of JSON, with *colors* if it can show them. Call it once, before the
    first line; a later call reaches only loggers that have not logged yet.
    Raises: ValueError for a level that is none of debug, info, warning, error, critical.
    """
    if level not in _LEVELS:
        raise ValueError("the log level must be one of: " + ", ".join(_LEVELS))
    lines = _Lines(sys.stdout.buffer if stream is None else stream)
    structlog.configure(
        processors=_processors(human=human, colors=colors),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    _route_standard_logging(_LEVELS[level])


def _processors(*, human: bool, colors: bool) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # never the frames' local variables, and of a database's error never the text that quotes a row
        structlog.processors.ExceptionRenderer(exception_formatter),
        _redact_fields,
        _HumanLine(colors=colors) if human else _json_line,
    ]


def _redact_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Redact every field: the event's name and an exception by patterns alone, the others by their names too."""
    clean: EventDict = {}
    for field, value in event.items():
        if field in _OWN_FIELDS:
            clean[field] = value
        elif field == "exception":
            clean[field] = _redact_traceback(str(value))
        else:
            clean[_field_name(field)] = redact(value, "" if field in ("event", "logger") else field)
    return clean


_field_name = lru_cache(maxsize=4096)(redact_text)


def _redact_traceback(text: str) -> str:
    """The first lines, and the last ones, which say more."""
    if len(text) > 2000:
        text = f"{text[:400].rpartition(chr(10))[0]}\n…\n{text[-1600:].partition(chr(10))[2] or text[-1600:]}"
    return redact_text(text, lines=True)


def _json_line(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
    return orjson.dumps(event)


class _HumanLine:
    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)

    def __call__(self, logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> bytes:
        if "exception" in event:
            # indented, so that no text in it can pass for a line of the log
            event["exception"] = "\n".join(f"  | {line}" for line in event["exception"].split("\n"))
        return str(self._render(logger, method, event)).encode()


class _Lines:
    """Writes whole lines. A line that cannot be written is dropped: it must not fail the work that it tells of."""

    def __init__(self, stream: BinaryIO | Outlet) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: bytes) -> None:
        try:
            with self._lock:
                self._stream.write(line + b"\n")
                self._stream.flush()
        except (OSError, ValueError):  # the reader is gone, the disk full, the stream closed
            return

    debug = info = warning = error = critical = exception = log = msg


class _StandardHandler(logging.Handler):
    """Hands records of the standard library's loggers to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit the message
            text = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["exc_info"] = record.exc_info
        # structlog knows the five standard levels only
        level = max(logging.DEBUG, min(logging.CRITICAL, record.levelno // 10 * 10))
        structlog.get_logger().log(level, text, **fields)


def _route_standard_logging(level: int) -> None:
    root = logging.getLogger()
    for handler in [old for old in root.handlers if isinstance(old, _StandardHandler)]:
        root.removeHandler(handler)
    root.addHandler(_StandardHandler())
    root.setLevel(level)
    logging.captureWarnings(True)

"""The one place through which every verb prints. Text may come from outside, so what could mislead a reader or command
a terminal is shown as an escape: control characters, marks that turn the direction of writing, invisible marks.

The escapes are those of JSON: a document on standard output stays the same document.
"""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from typing import Any, Final, TextIO

import orjson

from schemas.errors import FerrymanError

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control and format characters, halves of characters, and separators of lines."""

_JOINERS: Final = "\u200c\u200d"
"""Format characters that Persian names and emoji are written with. They change nothing beside them."""

_PLAIN: Final = {"→": "->", "…": "...", "–": "-", "—": "-"}
"""What stands for characters of ours where the output cannot show them."""

_UNBOUNDED: Final = 100_000
"""Columns of a table whose cells are not wrapped."""

LONGEST_CELL: Final = 200
"""Characters of a cell that is not wrapped: longer than any id that a worker takes."""


class OutputGone(FerrymanError):
    """Standard output takes no more. *quiet*: its reader has closed it, which is the reader's right."""

    def __init__(self, exc: OSError | ValueError) -> None:
        self.quiet = isinstance(exc, BrokenPipeError)
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is closed"
        super().__init__(f"the output cannot be written ({why}): what was asked for may still have been done")


def safe(text: str, *, lines: bool = False) -> str:
    """*text* with escapes in place of what is not shown as it is. *lines*: line ends stay, as they were meant."""
    if text.isprintable():
        return text
    return "".join(c if (lines and c == "\n") or not _hidden(c) else _escape(c) for c in text)


def _hidden(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def say(text: str, *, lines: bool = False, err: bool = False) -> None:
    """Print *text* as one line, or with *lines* as several. *err*: on standard error. Raises: OutputGone."""
    _write(safe(text, lines=lines) + "\n", sys.stderr if err else sys.stdout)


def show_json(document: Any) -> None:
    """Print *document* on standard output. Raises: OutputGone."""
    say(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode(), lines=True)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    box: bool = False,
    fit: bool = True,
) -> None:
    """Print a table: as wide as the terminal, and elsewhere as wide as its cells. *fit* false: as wide as its cells on
    a terminal too, which breaks the lines itself, so that an id can be copied whole; a cell beyond LONGEST_CELL is cut,
    as each row would be as long. Raises: OutputGone."""
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, box=HEAVY_HEAD if box else None, pad_edge=box)
    for row in rows:
        cells = row if fit else [cell if len(cell) <= LONGEST_CELL else f"{cell[: LONGEST_CELL - 1]}…" for cell in row]
        table.add_row(*(Text(safe(cell)) for cell in cells))
    out = sys.stdout
    paper = _Paper(out.encoding)
    terminal = out.isatty()
    Console(file=paper, width=None if terminal and fit else _UNBOUNDED, force_terminal=terminal).print(table)
    _write("".join(line.rstrip() + "\n" for line in paper.getvalue().splitlines()), out)


def width(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, columns: int) -> list[str]:
    """*text* in lines of so many *columns* at most, broken between words where that is possible. A no-break space is
    shown as a space."""
    from rich.cells import chop_cells

    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width(longer) <= columns:
            lines[-1] = longer
            continue
        begun = lines if lines[-1] else lines[:-1]
        lines = [*begun, *chop_cells(word, columns)]
    return [line.replace("\u00a0", " ") for line in lines]


class _Paper(StringIO):
    """Text in memory, of an encoding: it tells which frames a table may have."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """See TextIO."""
        return self._encoding


@contextmanager
def progress(what: str, *, err: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields the function to call with (done, of how many): a bar on a terminal, else lines. Raises: OutputGone."""
    out = sys.stderr if err else sys.stdout
    if not out.isatty():
        last = -1

        def line(done: int, of: int) -> None:
            nonlocal last
            if done != last:
                last = done
                say(f"{done} of {of} {what}", err=err)

        yield line
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=out)) as bars:
        task = bars.add_task(what, pace="")

        def bar(done: int, of: int) -> None:
            speed = bars.tasks[0].speed
            bars.update(task, completed=done, total=of, pace="" if speed is None else f"{speed:.1f}/s")

        yield bar


def _write(text: str, out: TextIO) -> None:
    try:
        out.write(text)
        out.flush()
    except (OSError, ValueError) as exc:
        raise OutputGone(exc) from exc


def prepare() -> None:
    """Make the standard streams fit to print on, whatever the locale is, and whichever of them is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # a file or socket that is opened later would take its number
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - to the end
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def _plain(exc: UnicodeError) -> tuple[str, int]:
    """The handler of characters that an encoding lacks."""
    assert isinstance(exc, UnicodeEncodeError)
    bad = exc.object[exc.start : exc.end]
    return "".join(_PLAIN.get(c) or _escape(c) for c in bad), exc.end


def complain(exc: FerrymanError) -> None:
    """Say on standard error what went wrong, if that can be written."""
    if isinstance(exc, OutputGone) and exc.quiet:
        return
    with suppress(OutputGone):
        say(f"ferryman: {exc}", lines=True, err=True)


def crashed(exc: Exception) -> None:
    """Show the traceback of a fault of ours on standard error, without the data that its exceptions quote."""
    from daemon.telemetry.failures import told_traceback

    with suppress(OutputGone):
        say(told_traceback(exc), lines=True, err=True)


def finished() -> bool:
    """Whether all that was printed has left. What has not is dropped: the interpreter would try once more, and fail."""
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            whole = False
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
    return whole

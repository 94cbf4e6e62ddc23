"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress(screen: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields the function to call with (done, of how many)."""
    if not screen.is_terminal:
        last = -1

        def line(done: int, of: int) -> None:
            nonlocal last
            if done != last:
                last = done
                screen.print(f"{done} of {of} {what}")

        yield line
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen) as bars:
        task = bars.add_task(what)

        def bar(done: int, of: int) -> None:
            bars.update(task, completed=done, total=of)

        yield bar

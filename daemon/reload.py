"""The reload: SIGHUP lets a process read its settings again and take new secrets, without closing anything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from daemon.card import Card, card
from daemon.lifecycle import Background, any_set
from daemon.settings.in_force import Change
from daemon.settings.load import SettingsError
from daemon.settings.model import Settings

_TERMINAL: Final = "/dev/tty"

log = structlog.get_logger(__name__)


class Reloading(Background):
    """A Service that, each time *asked* is set, reads the settings by *read* and hands them to *take*.

    *read* raises SettingsError for settings that cannot be used; then those in force stay. What came of it is in the
    log, and on the card of the process in *data_dir*: `asked`, how often, and `text` and `done` of the last time.
    """

    def __init__(
        self, asked: asyncio.Event, read: Callable[[], Settings], take: Callable[[Settings], Change], data_dir: Path
    ) -> None:
        super().__init__("reload", self._run)
        self._asked = asked
        self._read = read
        self._take = take
        self._data_dir = data_dir

    async def _run(self, stop: asyncio.Event) -> None:
        times = 0
        with ExitStack() as stack:
            mine = self._card(stack)
            while True:
                await any_set(stop, self._asked)
                if stop.is_set():
                    return
                self._asked.clear()
                times += 1
                done, text = self._reload()
                _say(mine, {"asked": times, "done": done, "text": text})

    def _card(self, stack: ExitStack) -> Card | None:
        try:
            mine = stack.enter_context(card(self._data_dir))
        except OSError as exc:
            log.warning("reload.by_signal_only", reason=f"{self._data_dir} cannot be written: {exc.strerror}")
            return None
        _say(mine, {"asked": 0})
        return mine

    def _reload(self) -> tuple[bool, str]:
        """(whether the new settings can be used, what became of them)."""
        try:
            change = self._take(self._read())
        except SettingsError as exc:
            log.error("settings.refused", problems=exc.problems, in_force="the former ones")
            return False, "the former settings stay in force: " + "; ".join(exc.problems)
        log.info(
            "settings.reloaded", taken=change.taken, at_next_start=change.waiting, overruled_by_env=change.overruled
        )
        return True, str(change)


def _say(mine: Card | None, what: dict[str, Any]) -> None:
    """Say *what* on the card. A disk that does not take it ends no process: the log has it all the same."""
    if mine is None:
        return
    try:
        mine.say(what)
    except OSError as exc:
        log.warning("reload.not_told", reason=exc.strerror)


@contextmanager
def reload_on_hangup(asked: asyncio.Event, stop: asyncio.Event) -> Iterator[None]:
    """SIGHUP sets *asked*. Where it says that the terminal of this process is gone, it sets *stop*. After the context
    the process ignores it.

    It is no handler of the loop's: a loop that closes gives its signals their default back, which here is to kill.
    """
    loop = asyncio.get_running_loop()
    # nohup lets a process ignore the end of its terminal
    lives_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def received() -> None:
        if lives_with_terminal and not _has_terminal():
            log.info("daemon.stop_asked", signal="SIGHUP", reason="the terminal is gone")
            stop.set()
        else:
            asked.set()

    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _has_terminal() -> bool:
    """Whether this process has a terminal that controls it."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True

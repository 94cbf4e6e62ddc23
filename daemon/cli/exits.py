"""Exit codes: the same code means the same, whichever verb ends with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daemon.rules.problems import WrongRules
from daemon.settings.load import SettingsError
from schemas.errors import FerrymanError, UsageError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2

MEANINGS: Final[Mapping[int, str]] = {
    DONE: "done, and what was looked at is sound",
    FAILED: "not done, or what was looked at is not sound: a store is away, nothing has this name, an error was found",
    USAGE: "the command line, the settings or the rules are wrong, or a name fits several: nothing was done",
    130: "interrupted by Ctrl-C",
}
"""Every exit code. `run` and `events tail` end with 0 on Ctrl-C, which is how they are stopped."""


def code_of(exc: FerrymanError) -> int:
    """The exit code of a verb that ends with *exc*."""
    return USAGE if isinstance(exc, SettingsError | WrongRules | UsageError) else FAILED

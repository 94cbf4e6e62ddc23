"""The rule files of a folder, each read into its model, and all that is wrong with them.

A file that the folder lacks counts as it is shipped, in `daemon/rules/shipped/`. Which files there are is told from
above: this package knows no domain.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from daemon.rules.lines import Lines, existing
from daemon.rules.near import meant
from daemon.rules.problems import Fault, KeyPath, Problem, WrongRules, key_of, shown_path, visible
from schemas.errors import FerrymanError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_BYTES: Final = 64 * 1024
MOST_PROBLEMS: Final = 50
"""Problems of one file that are told: each one costs a search for its line."""

_AT: Final = re.compile(r" \(at [^()]*\)$")
_AT_LINE: Final = re.compile(r"\(at line ([0-9]+), column [0-9]+\)$")
_PLAIN: Final = {
    "missing": "is missing: add it",
    "extra_forbidden": "is no key that may stand here: correct it, or take it out",
    "model_type": "must be a table, as {{ key = value }}",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "list_type": "must be a list in brackets; one of tables is written [[NAME]]",
    "tuple_type": "must be a list in brackets; one of tables is written [[NAME]]",
    "string_too_long": "has more than {max_length} characters: write fewer",
    "string_too_short": "has fewer than {min_length} characters: write more, or take it out",
    "too_long": "has more than {max_length} items: take some out",
    "too_short": "has fewer than {min_length} items: add to it",
    "less_than_equal": "must be {le} at most",
    "greater_than_equal": "must be {ge} at least",
}
"""Pydantic's type of an error -> what an operator reads, with the limits in braces."""

M = TypeVar("M", bound=BaseModel)
"""The model of a rule file."""


def _no_faults(document: Mapping[str, Any]) -> Iterable[Fault]:
    return ()


@dataclass(frozen=True, slots=True)
class RuleFile(Generic[M]):
    """A kind of rule file. *model*: frozen, and forbids keys that it does not know. *across*: what is wrong between
    parts of the document, which is parsed and not yet checked: any part may have any shape."""

    name: str
    model: type[M]
    across: Callable[[Mapping[str, Any]], Iterable[Fault]] = _no_faults

    def shipped(self) -> bytes:
        """The content that comes with the package."""
        return resources.files("daemon.rules").joinpath("shipped", self.name).read_bytes()


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The rules in force: called with a rule file, it gives the file's model. A file that was not loaded counts as it
    is shipped."""

    loaded: Mapping[RuleFile[Any], BaseModel] = field(default_factory=dict)

    def __call__(self, file: RuleFile[M]) -> M:
        found = self.loaded.get(file)
        return load(None, file) if found is None else cast(M, found)


SHIPPED: Final = Rules()
"""The rules as they ship."""


def load(folder: Path | None, file: RuleFile[M]) -> M:
    """What the *file* of *folder* says, or where it has none the shipped one. None: no folder.

    Raises: WrongRules with all problems of the file, or the one of the folder.
    """
    _, problems = _names(folder)
    if not problems:
        model, problems = _read(folder, file)
        if model is not None:
            return model
    raise WrongRules(problems)


def load_all(folder: Path | None, files: Sequence[RuleFile[Any]]) -> Rules:
    """What all *files* say. Raises: WrongRules with all problems, those that `check` finds."""
    loaded, problems = _examined(folder, files)
    if problems:
        raise WrongRules(problems)
    return Rules(loaded)


def check(folder: Path | None, files: Sequence[RuleFile[Any]]) -> list[Problem]:
    """All that is wrong with *folder*: with one of *files*, with the name of another rule file, or with itself."""
    return _examined(folder, files)[1]


def own(folder: Path | None, file: RuleFile[Any]) -> Path | None:
    """The file of *folder* that counts in place of the shipped one, None where there is none. A link that leads
    nowhere is one, and so is what this user may not look at: it was meant to count."""
    if folder is None:
        return None
    path = folder / file.name
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass
    return path


def _examined(
    folder: Path | None, files: Sequence[RuleFile[Any]]
) -> tuple[dict[RuleFile[Any], BaseModel], list[Problem]]:
    """The models of those *files* that are sound, and the problems of the others and of *folder*."""
    loaded: dict[RuleFile[Any], BaseModel] = {}
    names, problems = _names(folder)
    if problems:
        return loaded, problems
    problems = _unknown(folder, names, [file.name for file in files])
    for file in files:
        model, found = _read(folder, file)
        problems += found
        if model is not None:
            loaded[file] = model
    return loaded, problems


def _names(folder: Path | None) -> tuple[list[str], list[Problem]]:
    """The names in the folder, or what is wrong with the folder itself."""
    do = "correct FERRYMAN_RULES_DIR, or make the folder with `ferryman rules init`"
    try:
        return [] if folder is None else sorted(os.listdir(folder)), []
    except FileNotFoundError:
        text = f"is not there: {do}"
    except NotADirectoryError:
        text = f"is no folder: {do}"
    except OSError as exc:
        text = f"cannot be read ({exc.strerror}): let this user read it, or correct FERRYMAN_RULES_DIR"
    return [], [Problem(shown_path(folder), None, "", text)]


def _unknown(folder: Path | None, names: Sequence[str], known: Sequence[str]) -> list[Problem]:
    """A problem for each file that is named as a rule file is and that nothing reads: its rules would never count.
    Hidden files are those of editors, and of an `init` that was cut short."""
    problems = []
    for name in names:
        if name.lower().endswith(".toml") and not name.startswith(".") and name not in known:
            near = get_close_matches(Path(name).stem.lower(), [Path(one).stem for one in known], n=1)
            do = f"did you mean {near[0]}.toml?" if near else "rename it, or take it out"
            text = f"is no rule file (known are {', '.join(known)}): {do}"
            problems.append(Problem(f"{shown_path(folder)}/{visible(name)}", None, "", text))
    return problems


def _read(folder: Path | None, file: RuleFile[M]) -> tuple[M | None, list[Problem]]:
    """The model, or None and the problems."""
    path = own(folder, file)
    place = f"{file.name} (shipped)" if path is None else shown_path(path)
    try:
        text = file.shipped().decode() if path is None else _text_of(path)
        model, faults = _parsed(file, text)
    except _Unreadable as exc:
        return None, [Problem(place, exc.line, "", str(exc))]
    problems = _located(place, text, faults)
    return (None, problems) if problems else (model, [])


class _Unreadable(FerrymanError):
    """The file as a whole cannot be read, or not beyond *line*."""

    def __init__(self, text: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(text)


def _text_of(path: Path) -> str:
    """The text of a file of the operator's. Raises: _Unreadable."""
    do = "correct it, or take it out, then the shipped rules count"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Unreadable(f"is no file: {do}")
        with path.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _Unreadable(f"is larger than {MOST_BYTES // 1024} KiB, so it cannot be a file of rules: {do}")
        text = content.decode("utf-8-sig")  # some editors put a mark before the text
    except FileNotFoundError:
        raise _Unreadable(f"is a link that leads to no file: {do}") from None
    except OSError as exc:
        raise _Unreadable(f"cannot be read ({exc.strerror}): let this user read it") from None
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise _Unreadable("is not UTF-8 here: save the file as UTF-8", line) from None
    if not text.strip():
        raise _Unreadable(f"is empty: {do}")
    return text


def _parsed(file: RuleFile[M], text: str) -> tuple[M | None, list[Fault]]:
    """The model, and what is wrong with it. Raises: _Unreadable where *text* is no TOML."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _Unreadable("has too many brackets within brackets: close them, or take some out") from None
    except tomllib.TOMLDecodeError as exc:
        raise _no_toml(str(exc), text) from None
    except ValueError:  # Python reads no number of more than 4300 digits
        raise _Unreadable("holds a number of too many digits: write a smaller one") from None
    faults = list(file.across(document))
    try:
        return file.model.model_validate(document), faults
    except ValidationError as invalid:
        every = invalid.errors(include_input=False, include_url=False)
        errors = [error for error in every if not _follows(error, every)]
        told = [_fault(document, error) for error in errors]
        for n, error in enumerate(errors[:MOST_PROBLEMS]):
            if error["type"] == "extra_forbidden" and (near := meant(file.model, error["loc"])) is not None:
                told[n] = told[n]._replace(text=f"is no key that may stand here: did you mean {near}?")
        return None, [*told, *faults]


def _no_toml(said: str, text: str) -> _Unreadable:
    """What tomllib has said of *text*."""
    at = _AT_LINE.search(said)
    line = int(at[1]) if at else text.rstrip().count("\n") + 1  # else it is the end that is not as it should be
    return _Unreadable(f"is no TOML: {visible(_AT.sub('', said), 100)}", line)


def _follows(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because what is in it is wrong."""
    at = error["loc"]
    return error["type"] == "too_short" and any(one["loc"] != at and one["loc"][: len(at)] == at for one in errors)


def _fault(document: Mapping[str, Any], error: ErrorDetails) -> Fault:
    """An error of the model, in the words of an operator."""
    path: KeyPath = error["loc"]
    if error["type"] != "missing":
        path = existing(document, path)  # a model may have made a list of one value
    said = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    plain = _PLAIN.get(error["type"])
    return Fault(path, said if plain is None else plain.format_map(error.get("ctx", {})))


def _located(place: str, text: str, faults: Sequence[Fault]) -> list[Problem]:
    """The problems of a file in the order of their lines."""
    if not faults:
        return []
    lines = Lines(text.replace("\r\n", "\n"))  # as tomllib counts
    told = [Problem(place, lines.of(path), key_of(path), said) for path, said in faults[:MOST_PROBLEMS]]
    told.sort(key=lambda problem: problem.line or 0)
    if left := len(faults) - len(told):
        told.append(Problem(place, None, "", f"has {left} problems more: mend these first"))
    return told

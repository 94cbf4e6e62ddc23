"""The options of a store's address, as providers hand them out: understood, ignored with a word, or refused by name.

Texts of errors follow the name of the setting. They name an option and never its value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from urllib.parse import parse_qsl

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,39}")


def parse_options(query: str) -> dict[str, str]:
    """The options of an address by name; of one given twice, the last. Raises: ValueError."""
    if "@" in query:
        raise ValueError("must be an address without @ in its options; in a password, write ? as %3F and @ as %40")
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError("must be an address whose options are written name=value, with & between them") from None


def split_options(
    options: dict[str, str], known: Collection[str], ignored: Collection[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """(the *known* ones of *options*, the names of the *ignored* ones). Raises: ValueError that names the others."""
    unknown = [name for name in options if name not in known and name not in ignored]
    if unknown:
        raise ValueError(f"has {_named(unknown)}, which Ferryman does not know: take it out")
    return {n: v for n, v in options.items() if n in known}, tuple(n for n in options if n in ignored)


def switched_on(option: str, text: str) -> bool:
    """The value of an option that is true or false. Raises: ValueError."""
    if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError(f"has the option {option}, which must be true or false")
    return text.lower() in ("true", "1", "yes", "on")


def _named(names: Collection[str]) -> str:
    shown = list(_shown(names))
    return f"the option {shown[0]}" if len(shown) == 1 else f"the options {', '.join(shown)}"


def _shown(names: Collection[str]) -> Iterator[str]:
    for name in names:
        yield name if _NAME.fullmatch(name) else "with an odd name"

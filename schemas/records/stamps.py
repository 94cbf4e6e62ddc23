"""The stamps of a record's fields: who has last changed each, when, and at which version here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import orjson


class Stamp(NamedTuple):
    """*ms*, *counter*, *origin*: when its author has changed the field, corrected to the server's clock; they order
    concurrent changes totally. *version*: of the record here, at that change. *peer*: the replica that brought it
    here. *foreign*: the highest version at which a value of another peer than *peer* has stood here, or has gone into
    this one."""

    ms: int
    counter: int
    origin: str
    version: int
    peer: str
    foreign: int = 0

    @property
    def order(self) -> tuple[int, int, str]:
        """What the strategy `newest` compares."""
        return self.ms, self.counter, self.origin

    def is_concurrent(self, base_version: int, peer: str) -> bool:
        """Whether an author who saw *base_version* and writes through *peer* has not seen a foreign value of this
        field. What the same peer has written before is no conflict: it knew that itself."""
        return (self.version if self.peer != peer else self.foreign) > base_version


LIFE: Final = ""
"""In the place of a field's name: when the record was last deleted, or came back. No field has this name."""

Stamps: TypeAlias = Mapping[str, Stamp]
"""Field -> its stamp; LIFE -> that of a deletion or a return, where there was one."""


class _Kept(Mapping[str, Stamp]):
    """The stamps of a stored text, and later ones over them. Most of them are written back as they are: only those that
    somebody looks at are made. *rows*: name -> a stamp, or its values in their order."""

    __slots__ = ("rows",)

    def __init__(self, rows: dict[str, Any]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> Stamp:
        return Stamp(*self.rows[name])

    def get(self, name: str, default: Any = None) -> Any:
        """The stamp of *name*; *default*: there is none."""
        row = self.rows.get(name)
        return default if row is None else Stamp(*row)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def over(stamps: Stamps, later: Stamps) -> Stamps:
    """*stamps* with the *later* ones in place of theirs."""
    return _Kept({**(stamps.rows if isinstance(stamps, _Kept) else stamps), **later})


def dumped(stamps: Stamps) -> str:
    """*stamps* as the text that is stored."""
    rows = stamps.rows if isinstance(stamps, _Kept) else dict(stamps)
    return orjson.dumps(rows, default=list).decode()


def loaded(text: str) -> Stamps:
    """The stamps of a stored text."""
    return _Kept(orjson.loads(text))

"""The stamps of a record's fields: who has last changed each, when, and at which version here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

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


def dumped(stamps: Stamps) -> str:
    """*stamps* as the text that is stored."""
    return orjson.dumps(dict(zip(stamps, map(list, stamps.values()), strict=True))).decode()


def loaded(text: str) -> dict[str, Stamp]:
    """The stamps of a stored text."""
    stored = orjson.loads(text)
    return dict(zip(stored, map(Stamp._make, stored.values()), strict=True))

"""Who may write a record, and make it another's."""

from __future__ import annotations

from daemon.records.models.rules import ModelRules
from daemon.records.state import Author, Stored


def reaches(author: Author, stored: Stored) -> bool:
    """Whether *author* reads and writes the record."""
    return author.principal.reads(stored.owner_id, stored.branch)


def is_nobodys(stored: Stored) -> bool:
    """Whether it is a tombstone of which nothing is known but that: an edge has them of records that it has never had.
    Whoever creates a record of that id meets the deletion, and nobody's data."""
    return stored.deleted and stored.owner_id is None and stored.branch is None and not stored.data


def may_place(author: Author, model: ModelRules, stored: Stored | None, owner: str | None, branch: str | None) -> bool:
    """Whether *author* may make the record one of *owner* and *branch*. *stored*: as it is; None: it is new.

    An administrator may, and an edge within what it carries. A person has what is their own, and gives it away where
    the model lets owners do so; which branch works on it, they say themselves.
    """
    principal = author.principal
    if principal.sees_all:
        return True
    if principal.kind == "edge":
        return principal.reads(owner, branch)
    holder = author.user if stored is None else stored.owner_id
    return owner == holder or (model.owner_may_give and holder == author.user)

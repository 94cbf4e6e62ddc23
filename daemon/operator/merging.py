"""An operator makes two contacts one, and takes them apart again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from adapters.postgres import merges
from adapters.postgres.merges import NotMerged
from adapters.postgres.operator.people import FoundContact
from adapters.postgres.pool import Connection, Pool
from daemon.operator.people import NoSuchContact, line_of, the_contact, the_stored

WHY: Final = "an operator"
"""What stands in the audit log for the source that showed two contacts to be one person's."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A merge, or its undoing: the contact that *stays*, the *other* one, and table -> how many of its rows move."""

    stays: FoundContact
    other: FoundContact
    moved: Mapping[str, int]

    def merge_lines(self) -> list[str]:
        """The merge as text for an operator."""
        return [
            f"{line_of(self.stays)}  stays: it is the older one",
            f"{line_of(self.other)}  is merged into it",
            f"{self._rows()} move; name, e-mail and newest order are those by the newest order",
        ]

    def unmerge_lines(self) -> list[str]:
        """The undoing as text for an operator."""
        return [
            f"{line_of(self.other)}  becomes a contact of its own again",
            f"{self._rows()} go back to it from {self.stays.id}, which keeps what came after the merge",
            "sources do not merge the two again; `ferryman contacts merge` does",
        ]

    def _rows(self) -> str:
        names = {"contact_identities": "identities", "contact_emails": "e-mails", "applicant_issues": "reports"}
        return ", ".join(f"{count} {names.get(table, table)}" for table, count in self.moved.items())


async def merge(pool: Pool, one: str, other: str, actor: str, *, dry_run: bool) -> Joined:
    """Merge the contacts that *one* and *other* name: the older one stays. Raises: NoSuchContact; SeveralFit;
    NotMerged."""
    both = [await _meant(pool, text, place) for text, place in ((one, "first"), (other, "second"))]
    if both[0] == both[1]:
        raise NotMerged(f"both names mean the contact {both[0]} already: `ferryman contacts show {both[0]}`")
    async with _transaction(pool, keep=not dry_run) as conn:
        locked = await merges.lock(conn, both)
        if len(locked) < len(both) or any(row["merged_into"] for row in locked.values()):
            raise NotMerged("another merge has changed them meanwhile: run it again")
        older, younger = sorted(both, key=lambda id: (locked[id]["created_at"], id))
        stays, merged = [(await the_stored(pool, id)).found for id in (older, younger)]
        moved = await merges.merge(conn, stays=older, merged=younger, actor=actor, why=WHY)
    return Joined(stays, merged, moved)


async def _meant(pool: Pool, text: str, place: str) -> UUID:
    try:
        return (await the_contact(pool, text)).id
    except NoSuchContact as exc:
        raise NoSuchContact(f"the {place} name: {exc}") from None


async def unmerge(pool: Pool, text: str, actor: str, *, dry_run: bool) -> Joined:
    """Undo the merge of the contact whose id *text* is. Raises: NoSuchContact; SeveralFit; NotMerged."""
    named = await the_contact(pool, text)
    if named.asked is None:
        raise NotMerged(f"{named.id} is not merged: `ferryman contacts show {named.id}` names what was merged into it")
    stays, merged = [(await the_stored(pool, id)).found for id in (named.id, named.asked)]
    async with _transaction(pool, keep=not dry_run) as conn:
        moved = await merges.unmerge(conn, merged=named.asked, actor=actor)
    return Joined(stays, merged, moved)


@asynccontextmanager
async def _transaction(pool: Pool, *, keep: bool) -> AsyncIterator[Connection]:
    """A transaction, which leaves nothing unless *keep*."""
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            yield conn
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.commit() if keep else transaction.rollback())

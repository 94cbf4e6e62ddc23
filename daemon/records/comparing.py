"""Whether an edge's copy is what the upstream has.

The upstream is read from the beginning, as a new replica would. Records that have changed there since the cursor of the
edge may differ: they are not compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import orjson

from adapters.postgres.pool import Pool
from adapters.postgres.records import checks, upstream
from adapters.postgres.records.checks import CopiedRow
from adapters.sync.exchange import Upstream
from adapters.sync.store import Change
from daemon.records.checking import Fault, Found
from schemas.errors import FerrymanError
from schemas.records.operation import Key


class NotCopied(FerrymanError):
    """There is no copy of the upstream that could be compared."""


async def compare(pool: Pool, there: Upstream) -> Found:
    """Compare every record that the upstream gives this edge with its copy. Raises: NotCopied; UpstreamError; as the
    store."""
    standing = await upstream.read(pool)
    if standing.cursor is None or standing.rebuilding is not None:
        raise NotCopied("there is no whole copy of the upstream yet: `ferryman records sync` makes one")
    faults, seen = dict[Key, str](), set[Key]()
    async for changes in _pages(there, None):
        seen.update(changes)
        here = {(row.model, row.record_id): row for row in await checks.copied(pool, list(changes))}
        for key, change in changes.items():
            if what := differs(change, here.get(key)):
                faults[key] = what
    async for key in _copies(pool):
        if key not in seen:
            faults[key] = "the upstream does not have it"
    late = {key async for changes in _pages(there, standing.cursor) for key in changes} if faults else set[Key]()
    found = Found(records=len(seen))
    for key, what in faults.items():
        if key not in late:
            found.add(Fault(*key, what))
    return found


def differs(change: Change, here: CopiedRow | None) -> str | None:
    """How the copy *here* differs from what the upstream has; None: it does not."""
    if change.op != "upsert":
        is_gone = here is None or here.deleted or here.up_version is None
        return None if is_gone else "the upstream has it no more"
    if here is None or here.up_version is None:
        return "it is missing here"
    if here.up_version != change.version:
        return f"the upstream is at version {change.version}, the copy at {here.up_version}"
    if here.deleted or here.owner_id != change.owner_id:
        return "it has another owner, or is deleted, in the copy"
    return None if orjson.loads(here.data or "{}") == change.data else "its data differ"


async def _pages(there: Upstream, cursor: str | None) -> AsyncIterator[Mapping[Key, Change]]:
    """The changes after *cursor*, page by page: the last one of each record."""
    more = True
    while more:
        page = await there.pull(cursor)
        yield {(change.model, change.record_id): change for change in page.changes}
        cursor, more = page.cursor, page.more


async def _copies(pool: Pool) -> AsyncIterator[Key]:
    key = ("", "")
    while keys := await checks.of_upstream(pool, *key):
        for key in keys:
            yield key

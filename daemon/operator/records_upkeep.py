"""The upkeep of records for an operator: a new epoch, and checks."""

from __future__ import annotations

from adapters.http import open_session
from adapters.postgres import audit_log
from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Pool
from adapters.postgres.records import marks, upstream
from adapters.sync.exchange import Upstream, UpstreamError
from daemon.records import checking, comparing
from daemon.records.checking import Found
from daemon.records.edge.telling import sentence
from daemon.settings.model import Settings
from schemas.errors import FerrymanError


class NotCompared(FerrymanError):
    """The upstream did not tell what it has."""


async def new_epoch(pool: Pool, actor: str, *, copied: bool = False) -> int:
    """Begin a new epoch, in which every replica pulls from the beginning. Returns its number. *copied*: the database is
    a copy of another server's, which goes on too: it takes names of its own, as a server and as a replica."""
    async with pool.acquire() as conn, conn.transaction():
        epoch = await marks.new_epoch(conn)
        if copied:
            await marks.new_feed(conn)
            await upstream.renew_replica(conn)
        await audit_log.add(conn, [Logged(actor, "records.new_epoch", f"epoch:{epoch}", {"copied": copied})])
    return epoch


async def check(pool: Pool, settings: Settings) -> tuple[Found, Found | None]:
    """Look at all records; and on an edge, compare its copy with the upstream (None: it has none). Raises: NotCompared;
    NotCopied."""
    own = await checking.check(pool)
    url, token = settings.sync_upstream_url, settings.sync_upstream_token
    if url is None or token is None:
        return own, None
    async with open_session() as session:
        try:
            return own, await comparing.compare(pool, Upstream(session, url, token.get_secret_value()))
        except UpstreamError as exc:
            raise NotCompared(sentence(exc.code)) from None

"""What `/api/v1/sync/stats` answers."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel


class SyncStats(BaseModel):
    """*pending*, *failed*: operations of this server for its upstream; *oldest_pending_s*: how long the oldest of them
    has waited. *conflicts*: that wait for a person. *synced_today*: since midnight in `FERRYMAN_TIMEZONE`; at a server
    without an upstream, operations that were applied there. *last_sync*: when a round with the upstream was last
    complete; without one, when a replica has last pushed. *online*: whether the last exchange with the upstream was
    one. *records*: that are not deleted. A person's token sees the counts of that person
    alone; an edge's those of the records that it carries, and `synced_today` of what it has pushed."""

    pending: int
    oldest_pending_s: int | None
    failed: int
    conflicts: int
    synced_today: int
    last_sync: AwareDatetime | None
    last_error: str | None
    online: bool
    records: int

"""What an operator does with refused webhooks: read why, and send again those that were authentic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from multidict import CIMultiDict

from adapters.json_guard import NotJson, parse_object
from adapters.ports import Source, Webhook
from adapters.postgres.bus import outbox
from adapters.postgres.operator import refusals, trail
from adapters.postgres.operator.refusals import KeptRequest
from adapters.postgres.pool import Pool
from daemon.operator.edits import new_data
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed


class RefusedError(FerrymanError):
    """What was asked for cannot be done with this refused request."""


async def newest(pool: Pool, limit: int, *, to_send: bool) -> list[dict[str, Any]]:
    """The newest refused requests as JSON, without bodies. *to_send*: only those that can be sent again."""
    return [document(found) for found in await refusals.newest(pool, limit, to_send=to_send)]


async def find(pool: Pool, number: int) -> KeptRequest:
    """The refused request with this number. Raises: RefusedError when there is none."""
    found = await refusals.find(pool, number)
    if found is None:
        raise RefusedError(f"there is no refused request {number}: see `ferryman refused list`")
    return found


def whole_document(kept: KeptRequest) -> dict[str, Any]:
    """*kept* as JSON, with its body: the object that it is, else its text, as of JSON with a key twice; null where it
    is not kept."""
    body = kept.request.body
    if body is None:
        return document(kept) | {"body": None}
    try:
        return document(kept) | {"body": parse_object(body)}
    except NotJson:
        return document(kept) | {"body": body.decode(errors="replace")}


def document(kept: KeptRequest) -> dict[str, Any]:
    """*kept* as JSON, without its body."""
    request = kept.request
    return {
        "number": kept.id,
        "at": request.at,
        "source": request.source,
        "status": request.status,
        "reason": request.reason,
        "path": request.path,
        "remote": request.remote,
        "headers": orjson.loads(request.headers),
        "body_bytes": request.body_bytes,
        "body_sha256": request.body_sha256,
        "suppressed": request.suppressed,
        "sent_again_at": kept.sent_again_at,
        "sent_again_by": kept.sent_again_by,
        "event_ids": kept.event_ids,
    }


def events_of(kept: KeptRequest, sources: Sequence[Source], now: datetime, *, body: bytes | None = None) -> list[Event]:
    """The events of *kept* as they are read now. *body*: the mended body, or the document with the mended body in it.

    Raises: RefusedError when it cannot be sent again, or would be refused again; OtherDocument.
    """
    number, data = kept.id, kept.request.body
    if body is not None:
        data = new_data(body, {"number": number, "reason": kept.request.reason}, "body")
    if kept.sent_again_at is not None:
        raise RefusedError(f"refused request {number} was sent again at {kept.sent_again_at:%Y-%m-%d %H:%M:%S} UTC")
    if kept.request.body is None or data is None:
        raise RefusedError(
            f"refused request {number} is not kept whole: its sender was not proven, or its body was not read or kept"
            " (a body that comes again is kept once: see the earlier ones in `ferryman refused list`)"
        )
    source = next((source for source in sources if source.name == kept.request.source), None)
    if source is None:
        raise RefusedError(f"there is no source {kept.request.source} in this version")
    headers = CIMultiDict(orjson.loads(kept.request.headers))
    try:
        return source.parse(Webhook(headers, data, ""), source.decode(data), now)
    except Malformed as exc:
        raise RefusedError(
            f"it would be refused again: {exc}; put the mended body into a file and name it with --edit"
        ) from exc


async def known(pool: Pool, events: Sequence[Event]) -> frozenset[str]:
    """The ids of those *events* that are kept already: another delivery of them does nothing."""
    return frozenset(await trail.data_of(pool, [event.id for event in events]))


async def send(pool: Pool, number: int, events: Sequence[Event], operator: str) -> None:
    """Send the request again as *events*; a running daemon takes them over within seconds. *operator*: the person, for
    the record. Raises: RefusedError when another operator was first."""
    async with pool.acquire() as conn, conn.transaction():
        if not await refusals.sent_again(conn, number, operator, [event.id for event in events]):
            raise RefusedError(f"refused request {number} was sent again already")
        await outbox.leave(conn, events)

"""Messages as an operator meets them: by a name, why one waits, and what would become of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from adapters.postgres import messages
from adapters.postgres.messages import Asked, Request
from adapters.postgres.operator import messages as stored
from adapters.postgres.operator import trail
from adapters.postgres.pool import Pool
from daemon.messages.content import from_json
from daemon.messages.outbound import WORKER
from daemon.messages.rules import HEARD_BY, why_not
from daemon.operator.naming import LEAST, SeveralFit
from daemon.operator.sending import NoSuchMessage
from daemon.operator.standing import standing
from daemon.operator.trail import trail_of
from daemon.operator.why import NEXT, read_circumstances, reasons
from schemas.phone import line

FEW: Final = 20
"""Messages that a beginning is compared with at most."""

_BEGINNING: Final = re.compile(rf"[0-9a-f]{{{LEAST},32}}")


async def id_meant(pool: Pool, text: str) -> UUID:
    """The id of the message that *text* names: its id, or its beginning. Raises: NoSuchMessage; SeveralFit."""
    digits = text.strip().lower().replace("-", "")
    if not _BEGINNING.fullmatch(digits):
        raise NoSuchMessage(
            f"a message is named by its id, or by {LEAST} or more characters of its beginning: see"
            " `ferryman messages list`"
        )
    found = await stored.between(pool, UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")), FEW)
    if not found:
        raise NoSuchMessage("there is no message with this id: see `ferryman messages list`")
    if len(found) > 1:
        raise SeveralFit([f"{one}" for one in found])
    return found[0]


async def waits_for(pool: Pool, message: Mapping[str, Any], now: datetime) -> str | None:
    """Why *message*, as `sending.show` gives it, has not gone out yet; None: it does not wait."""
    if message["status"] == "sending":
        return "its call is under way"
    if message["status"] != "queued":
        return None
    if message["not_before"] is not None and message["not_before"] > now:
        at = f"{message['not_before'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        if message["error"] is None:
            return f"it goes out at {at}"
        return f"{message['error'].removeprefix('waits: ')}; it is tried again at {at}"
    event_id = await stored.event_id(pool, message["id"])
    found = await trail.by_ids(pool, [event_id], 1) if event_id is not None else []
    way = await trail_of(pool, [WORKER], found[0]) if found else None
    if way is None:
        return message["error"] or NEXT
    channels = message["provider"], f"{message['provider']}/{message['account']}"
    why = reasons(way, [replace(WORKER, channels=channels)], await read_circumstances(pool)).get(WORKER.name, NEXT)
    behind = (await standing(pool, [WORKER], way)).behind.get(WORKER.name)
    told = message["error"].removeprefix("waits: ") if why == NEXT and message["error"] else why
    return told if behind is None else f"{told}; behind event {behind}"


async def foreseen(pool: Pool, request: Request, now: datetime) -> str | None:
    """Why *request* would be skipped, were it sent now; None: nothing that is known speaks against it."""
    heard_by = ",".join(HEARD_BY.get(request.provider, ()))
    (state,) = await messages.states(pool, [Asked(uuid4(), line(request.phone), heard_by)])
    content = from_json(request.kind, request.content)
    return why_not(content, request.provider, state.written_at, now, opted_out=state.opted_out)

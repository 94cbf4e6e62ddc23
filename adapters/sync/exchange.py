"""The requests of a replica to its server, and what each answer means for what it does next.

The other side is believed to be the server only where it answers JSON in the shape of the protocol: hotels and airports
answer 200 with a page of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast, get_args

import orjson
from aiohttp import ClientSession
from yarl import URL

from adapters.http import Reply, exchange, retry_after
from adapters.sync.reading import read_answer, read_page, said
from adapters.sync.store import Identity, Page, RebuildReason
from schemas.errors import FerrymanError, TooLong
from schemas.records.answers import Answer
from schemas.records.operation import Operation

TIMEOUT_S: Final = 30.0
"""For an answer, beyond what the server was asked to wait."""

MOST_BODY: Final = 32 * 1024 * 1024
"""Of an answer. A page has about 4 MB, but always one row."""

PAGE: Final = 1000
"""Changes of a page, at most."""


class UpstreamError(FerrymanError):
    """A round ends here; `code` says why, in a short name of ours. Nothing that waits is lost, nothing is counted
    against an operation."""

    def __init__(self, code: str) -> None:
        super().__init__(f"record sync: {code}")
        self.code = code


class Offline(UpstreamError):
    """There was no answer of the server: try again later, after *retry_after_s* where it was asked for."""

    def __init__(self, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.retry_after_s = retry_after_s


class Trouble(Offline):
    """The server, or something before it, failed at this request: it is away, or what was sent is at fault."""


class Unauthorized(UpstreamError):
    """The token is not good for this, or the address is this server's own (`loop`): ask for another one, keep
    everything."""


class FileOfAnother(Unauthorized):
    """The file of this replica is another person's than the token: its queue must not go out as theirs."""

    def __init__(self) -> None:
        super().__init__("file-of-another")
        self.args = ("record sync: this file is another person's than the token: give the token its own file",)


class Forked(UpstreamError):
    """Another copy of this replica has pushed: take a new name, keep the queue."""


class Expired(UpstreamError):
    """The copy of the rows is of no use any more: build it anew, keep the queue."""

    def __init__(self, reason: RebuildReason) -> None:
        super().__init__(f"expired-{reason}")
        self.reason: RebuildReason = reason


class TooLarge(UpstreamError):
    """Send less at a time."""


class Bug(UpstreamError):
    """The server understands the request and says that it is wrong."""


class Pushed(NamedTuple):
    """The answers to a push. *ack*: to be sent with the next one. *provisional*: the server is an edge itself, and its
    own upstream may still decide otherwise."""

    ack: str
    answers: Sequence[Answer]
    server_time: str | None
    feed: str | None
    provisional: bool


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server of records at *url* (its address without a path), for the owner of *token*. *now*: the clock that stamps
    the operations too, as the server takes out by how much it is wrong. *owned*: hears of each answer whose the token
    is."""

    session: ClientSession
    url: str
    token: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    owned: Callable[[str], None] = lambda principal: None

    async def push(
        self,
        identity: Identity,
        operations: Sequence[Operation],
        *,
        via: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Pushed:
        """Send *operations*, at most 50. None: asks whether the server takes pushes. Raises: UpstreamError."""
        body: dict[str, Any] = {"replica": identity.replica, "sent_at": _text(self.now())}
        body |= {} if identity.ack is None else {"ack": identity.ack}
        body |= {} if identity.cursor is None else {"cursor": identity.cursor}
        body |= {"via": list(via)} if via else {}
        body["operations"] = [document(one) for one in operations]
        found = self._understood(await self._ask("POST", "/api/v1/sync/push", timeout_s, json=body))
        ack, results = found.get("ack"), found.get("results")
        if not isinstance(ack, str) or not isinstance(results, list):
            raise Offline("other-json")
        answers = [answer for one in results if (answer := read_answer(one)) is not None]
        return Pushed(ack, answers, said(found, "server_time"), said(found, "feed"), found.get("provisional") is True)

    async def pull(
        self,
        cursor: str | None,
        *,
        models: Sequence[str] = (),
        limit: int = PAGE,
        wait_s: float = 0.0,
        stamps: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> Page:
        """The changes after *cursor* (None: all). *wait_s*: how long the server may wait for one. Raises:
        UpstreamError."""
        asked = {"limit": str(limit)} | ({} if cursor is None else {"since": cursor})
        asked |= {"models": ",".join(models)} if models else {}
        asked |= {"wait": str(int(wait_s))} if wait_s >= 1 else {}
        asked |= {"stamps": "1"} if stamps else {}
        found = self._understood(await self._ask("GET", "/api/v1/sync/pull", timeout_s + wait_s, params=asked))
        page = read_page(found)
        if page is None:
            raise Offline("other-json")
        return page

    def _understood(self, reply: Reply) -> dict[str, Any]:
        """The document of a 200. Raises: UpstreamError by what the answer means."""
        found = _understood(reply)
        if (principal := said(found, "principal")) is not None:
            self.owned(principal)
        return found

    async def _ask(
        self,
        method: str,
        path: str,
        timeout_s: float,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Raises: Offline."""
        try:
            return await exchange(
                self.session,
                method,
                str(URL(self.url.rstrip("/") + path)),
                system="record sync",
                timeout_s=timeout_s,
                headers={"Authorization": f"Bearer {self.token}"},
                params=params,
                json=json,
                max_body=MOST_BODY,
                write=False,  # whatever it was that got lost is sent again, with the same ids
            )
        except TooLong:
            raise Offline("too-long") from None
        except FerrymanError as error:
            kind = Trouble if error.code in ("connection-broke", "no-answer") else Offline
            raise kind(error.code) from None


def document(operation: Operation) -> dict[str, Any]:
    """*operation* as it is pushed."""
    said: dict[str, Any] = {
        "op_id": str(operation.op_id),
        "operation": operation.operation,
        "model": operation.model,
        "record_id": operation.record_id,
        "data": dict(operation.data),
        "base_version": operation.base_version,
        "base": None if operation.base is None else dict(operation.base),
        "changed_at": None if operation.changed_at is None else _text(operation.changed_at),
        "tick": operation.tick or None,
        "origin": operation.origin,
        "user_id": operation.user_id,
    }
    return {name: value for name, value in said.items() if value is not None}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _understood(reply: Reply) -> dict[str, Any]:
    """The document of a 200. Raises: UpstreamError by what the answer means."""
    found = _object(reply)
    if reply.status == 200:
        if found is None:
            raise Offline("not-json")
        return found
    raise _error(reply, found)


_BUSY: Final = frozenset({408, 425, 429, 503})


def _error(reply: Reply, found: Mapping[str, Any] | None) -> UpstreamError:
    """What an answer other than 200 means. *found*: its document; a page of somebody else has none."""
    status, code = reply.status, f"http-{reply.status}"
    if status == 413:  # also a proxy before the server says so, with a page
        return TooLarge(code)
    if status in _BUSY:
        return Offline(code, retry_after(reply.headers, datetime.now(UTC)))
    if status >= 500:
        return Trouble(code, retry_after(reply.headers, datetime.now(UTC)))
    if found is None or found.get("status") != status:
        return Offline(code)
    return _told(status, found, code)


def _told(status: int, found: Mapping[str, Any], code: str) -> UpstreamError:
    """What a problem document of the server means."""
    kind = found.get("type")
    if status in (401, 403):
        return Unauthorized(kind if kind == "replica-of-another" else code)
    if status == 409:
        if kind == "loop":  # no operation is at fault, but the address
            return Unauthorized("loop")
        return Forked("replica-forked") if kind == "replica-forked" else Bug(code)
    if status == 410:
        reason = found.get("reason")
        return Expired(cast(RebuildReason, reason) if reason in get_args(RebuildReason) else "compacted")
    if status == 422 and kind == "too-many":
        return TooLarge(code)
    return Bug(code) if status in (400, 422) else Offline(code)


def _object(reply: Reply) -> dict[str, Any] | None:
    try:
        found = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None

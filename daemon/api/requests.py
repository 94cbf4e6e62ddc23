"""What all routes of the API do alike: who may ask, what was sent, and how it is answered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from math import ceil
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from adapters.postgres.pool import has_no_room, store_is_down
from daemon.api.access import Access, Refused
from daemon.api.description import Who, hand_on
from daemon.operator.faults import Conflict, NotThere, Unanswered, Unusable
from daemon.web.problems import problem
from schemas.api.moments import bounded
from schemas.api.wrong import told
from schemas.errors import Malformed

MOST_BYTES: Final = 256 * 1024
LONGEST_KEY: Final = 200

M = TypeVar("M", bound=BaseModel)
A = TypeVar("A")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(access: Access, handler: Handler, *, write: bool, records: bool = False) -> Handler:
    """*handler*, for those who may read, or *write*; its errors as problem documents. *records*: also for tokens that
    are for records alone."""
    who: Who = ("writer" if write else "records") if records else ("admin" if write else "reader")

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            await access.demand(request, who)
            return await handler(request)
        except Refused as refused:
            return refused.answer
        except Unusable as exc:
            return problem(422, str(exc))
        except NotThere as exc:
            return problem(404, str(exc))
        except Conflict as exc:
            return problem(409, str(exc))
        except Unanswered as exc:
            return _unanswered(exc)
        except Exception as exc:
            if not store_is_down(exc):
                raise
            access.outages.met(exc)
            return problem(503, _why(exc), type="busy" if records else "about:blank", headers={"Retry-After": "2"})

    hand_on(handler, answer, who)
    return answer


def _why(exc: BaseException) -> str:
    if has_no_room(exc):
        return "Postgres has no room: nothing was changed; send it again once its operator has made room"
    return "Postgres does not answer: it is not known whether the request was taken; send it again"


def _unanswered(exc: Unanswered) -> web.Response:
    if exc.retry_after_s is None:
        return problem(502, str(exc))
    return problem(503, str(exc), headers={"Retry-After": str(max(1, ceil(exc.retry_after_s)))})


def json_answer(document: Any, *, status: int = 200) -> web.Response:
    """*document* as JSON."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


async def body_of(request: web.Request, most: int = MOST_BYTES) -> bytes:
    """The body of at most *most* bytes. Raises: Refused where it is larger, or compressed: who unpacks does not know
    how much will come of it."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        headers = {"Accept-Encoding": "identity"}
        raise Refused(problem(415, "send the body without Content-Encoding", type="encoding", headers=headers))
    body = await request.content.read(most + 1)
    while len(body) <= most and (more := await request.content.read(most + 1 - len(body))):
        body += more
    if len(body) > most:
        raise Refused(problem(413, f"the body has more than {most // 1024} KiB", type="too-large"))
    return body


def read(model: type[M], reader: Callable[[A], Any], given: A, names_of: Mapping[str, str] | None = None) -> M:
    """What *reader* makes of *given*, as *model*. *names_of*: as `told` has it. Raises: Refused, naming what is wrong
    and never its value."""
    try:
        return model.model_validate(reader(given))
    except Malformed as exc:
        raise Refused(problem(400, f"the body is no JSON object: {exc}")) from None
    except ValidationError as exc:
        raise Refused(problem(422, told(exc, names_of))) from None


def key_of(request: web.Request) -> str | None:
    """Its Idempotency-Key. Raises: Refused where the key makes no sense."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
        raise Refused(problem(400, f"Idempotency-Key must have 1 to {LONGEST_KEY} printable characters"))
    return key.strip()


def id_of(request: web.Request, what: str = "message") -> UUID:
    """The id in its path. Raises: Refused where that is none."""
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise Refused(problem(404, f"there is no {what} with this id: an id is a UUID")) from None


def query_of(request: web.Request, model: type[M]) -> M:
    """Its query as *model*. Raises: Refused, naming what is wrong and never its value."""
    return read_query(request.query, model)


def read_query(query: MultiMapping[str], model: type[M]) -> M:
    """*query* as *model*. Raises: Refused, naming what is wrong and never its value."""
    given = dict(query)
    if len(given) < len(query):
        raise Refused(problem(400, "a name stands twice in the query: give each once"))
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        raise Refused(problem(400, told(exc))) from None


def cursor_text(at: datetime, id: str) -> str:
    """The cursor of the page after the row of *at* and *id*."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{id}".encode()).decode()


def row_of(text: str | None) -> tuple[datetime, UUID] | None:
    """The row that its page comes after; None: it asks for the first. Raises: Refused where `cursor` is not ours."""
    if text is None:
        return None
    try:
        at, _, id = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
        return _aware(datetime.fromisoformat(at)), UUID(id)
    except (ValueError, binascii.Error):
        raise Refused(problem(400, "cursor must be what `next` said")) from None


def _aware(at: datetime) -> datetime:
    """*at*. Raises: ValueError where it has no offset, or is out of bounds."""
    if at.tzinfo is None:
        raise ValueError("no offset")
    return bounded(at)

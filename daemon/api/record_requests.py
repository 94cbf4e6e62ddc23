"""What a request about a record says: its name, its versions, its fields, and the operation that they make; and why an
operation, or a push, is not taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from aiohttp import web

from adapters.json_guard import parse_object
from daemon.api.access import Refused, principal_of
from daemon.api.requests import body_of, key_of, read
from daemon.records.models.rules import ModelRules
from daemon.records.pushing import pushes
from daemon.web.problems import problem
from schemas.api.records import RecordIn, RecordOut
from schemas.principals import Principal
from schemas.records.operation import LONGEST_ID, MOST_BYTES, MOST_VERSION, Operation, Unread, Verb, read_operation

NO_RECORD: Final = "there is no such record"
"""What is said of a record that is not there, was deleted, or is a stranger's: nobody tells them apart."""

_NAMESPACE: Final = UUID("2b6c1f0e-7a55-5c0f-9d7e-8f6f1d1b5600")
_DOCUMENT: Final = RecordOut.model_fields.keys()
_TAG: Final = re.compile(r'\s*(W/)?"([^"]*)"\s*')
_STATUS: Final[Mapping[str, int]] = {
    "model": 404,
    "unknown-record": 404,
    "owner": 403,
    "read-only": 403,
    "too-large": 413,
    "op-reused": 409,
    "erased": 409,
    "base-ahead": 409,
    "internal": 503,
}

_REFUSED: Final[Mapping[pushes.Refusal, int]] = {
    "malformed": 400,
    "replica-of-another": 403,
    "replica-forked": 409,
    "loop": 409,
    "cursor-expired": 410,
    "busy": 503,
}


def rejection(reason: str, detail: str, members: Mapping[str, Any] | None = None) -> web.Response:
    """The answer to what was rejected for *reason*, one of an operation's."""
    status = _STATUS.get(reason, 422)
    headers = {"Retry-After": "2"} if status == 503 else None
    return problem(status, detail, type=reason, headers=headers, members={"reason": reason, **(members or {})})


def refusal(refused: pushes.Refused) -> web.Response:
    """The answer to a push that was not taken at all."""
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(ceil(refused.retry_after_s))}
    return problem(_REFUSED[refused.kind], refused.detail, type=refused.kind, headers=headers, members=refused.members)


def not_there() -> web.Response:
    """The answer about a record that there is not, or that is not for the asker."""
    return rejection("unknown-record", NO_RECORD)


def is_id(text: str) -> bool:
    """Whether a record may have this id."""
    return 0 < len(text) <= LONGEST_ID and text.isprintable() and text == text.strip()


def etag(version: int) -> str:
    """The tag of a record's *version*."""
    return f'"{version}"'


def versions_of(request: web.Request) -> frozenset[int]:
    """The versions that `If-Match` names; empty: any. A tag that is none of ours names none that there is. Raises:
    Refused where it is missing or is no list of tags."""
    text = ", ".join(request.headers.getall("If-Match", ()))
    if not text.strip():
        detail = 'send If-Match with the ETag that you have seen, as "7", so that nothing is overwritten unseen'
        raise Refused(problem(428, detail, type="precondition-required"))
    if text.strip() == "*":
        return frozenset()
    tags = [_TAG.fullmatch(part) for part in text.split(",")]
    if None in tags:
        raise Refused(problem(400, 'If-Match must be ETags in quotes, as "7", or *', type="malformed"))
    return frozenset(_version(tag[2]) if tag and not tag[1] else -1 for tag in tags)


def _version(text: str) -> int:
    """A weak tag, or one that no record has, stands for no version."""
    sound = text.isascii() and text.isdigit() and len(text) <= 16 and text == str(int(text))
    return int(text) if sound and int(text) <= MOST_VERSION else -1


def is_new(request: web.Request) -> bool:
    """Whether it is only for a record that is not there: `If-None-Match: *`. Raises: Refused where that says anything
    else, or `If-Match` besides."""
    text = request.headers.get("If-None-Match")
    if text is None:
        return False
    if text.strip() != "*":
        raise Refused(problem(400, "If-None-Match must be *: for a record that is not there yet", type="malformed"))
    if "If-Match" in request.headers:
        raise Refused(problem(400, "If-Match and If-None-Match exclude each other", type="malformed"))
    return True


async def fields_of(request: web.Request, model: ModelRules, *, named: bool = True) -> dict[str, Any]:
    """The fields in its body. *named*: its path names the record. Raises: Refused."""
    body = await body_of(request, 2 * MOST_BYTES)
    given = read(RecordIn, parse_object, body).model_dump(exclude_unset=True)
    data = given.get("data")
    if "data" in model.fields or not isinstance(data, dict):
        return given
    if unknown := sorted(given.keys() - _DOCUMENT):
        raise Refused(
            rejection("field", f"beside `data` nothing may stand that a GET does not give: {unknown[0][:60]!r}")
        )
    if given.get("model", model.name) != model.name:
        raise Refused(rejection("field", "the document is of another model than its path"))
    id = given.get("id")
    if named and id not in (None, request.match_info["id"]):
        raise Refused(rejection("field", "the document has another id than its path"))
    return data if named or id is None else {"id": id} | data


def operation(
    request: web.Request,
    verb: Verb,
    model: ModelRules,
    data: Mapping[str, Any],
    *,
    id: str | None = None,
    only_at: frozenset[int] = frozenset(),
) -> Operation:
    """What is asked for. *id*: of the record; None: one is made for it, the same for the same key. Raises: Refused."""
    if id is not None and not is_id(id):
        detail = f"id must be a text of 1 to {LONGEST_ID} printable characters"
        raise Refused(rejection("type", detail) if verb == "CREATE" else not_there())
    principal, op_id = principal_of(request), _op_id(request)
    record_id = str(uuid5(op_id, principal.key)) if id is None else id
    raw = {"op_id": str(op_id), "operation": verb, "model": model.name, "record_id": record_id, "data": dict(data)}
    made = read_operation(raw)
    if isinstance(made, Unread):
        raise Refused(rejection(made.reason, made.detail))
    return replace(made, only_at=only_at)


def _op_id(request: web.Request) -> UUID:
    """Of a request that is sent again, the same: by its key, which is its user's alone."""
    key = key_of(request)
    if key is None:
        return uuid4()
    try:
        given = UUID(key)
    except ValueError:
        given = None
    return given if given is not None and str(given) == key.lower() else _named(principal_of(request), key)


def _named(principal: Principal, key: str) -> UUID:
    return uuid5(_NAMESPACE, f"{principal.key}\n{key}")

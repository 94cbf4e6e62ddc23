"""`/api/v1/records`: records for apps that are online, one at a time and in pages.

A write is an operation as a replica pushes it, but at the version that its author has seen, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

import orjson
from aiohttp import web
from pydantic import ValidationError

from adapters.postgres.pool import Pool
from adapters.postgres.records import listing
from adapters.postgres.records.listing import Listed
from daemon.api.access import Access, Refused, principal_of
from daemon.api.description import described
from daemon.api.record_requests import (
    etag,
    fields_of,
    is_id,
    is_new,
    not_there,
    operation,
    refusal,
    rejection,
    versions_of,
)
from daemon.api.requests import Handler, guarded, json_answer
from daemon.bus.worker import Outside
from daemon.records.filters import NoFilter, filters_of, readers_of
from daemon.records.models.rules import MODELS, ModelRules, ModelsPart
from daemon.records.pushing import pushes
from daemon.records.pushing.service import Records
from daemon.web.problems import problem
from schemas.api.records import RecordIn, RecordOut, RecordPage, RecordQuery
from schemas.api.wrong import told
from schemas.records.answers import Answer
from schemas.records.operation import Operation

PATH: Final = "/api/v1/records/{model}"
ONE: Final = PATH + "/{id}"

_ID: Final = "the record's id"
_MATCH: Final = ("If-Match",)
_NEW: Final = ("If-None-Match",)


class RecordsApi:
    """The routes of records."""

    def __init__(self, pool: Pool, access: Access, records: Records, outside: Outside) -> None:
        self._pool = pool
        self._access = access
        self._records = records
        self._outside = outside

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        return [
            web.post(PATH, self._guarded(self._post, write=True)),
            web.get(PATH, self._guarded(self._list, write=False)),
            web.get(ONE, self._guarded(self._get, write=False)),
            web.post(ONE, self._guarded(self._post_named, write=True)),
            web.put(ONE, self._guarded(self._put, write=True)),
            web.patch(ONE, self._guarded(self._patch, write=True)),
            web.delete(ONE, self._guarded(self._delete, write=True)),
        ]

    def _guarded(self, handler: Handler, *, write: bool) -> Handler:
        return guarded(self._access, handler, write=write, records=True)

    @cached_property
    def _part(self) -> ModelsPart:
        return self._outside.rules(MODELS)

    def _model(self, request: web.Request) -> ModelRules:
        """The model in its path. Raises: Refused."""
        found = self._records.models.get(request.match_info["model"])
        if found is None:
            raise Refused(
                rejection("model", f"there is no such model: {', '.join(sorted(self._records.models))} are known")
            )
        return found

    @described("Make a record, which gets an id", takes=RecordIn, gives=RecordOut, status=201, keyed=True, named=_ID)
    async def _post(self, request: web.Request) -> web.Response:
        """Its owner is who makes it, where the field of the owner is left out. `id` in the body: the id that it gets.
        409: there is such a record, in the member `record`."""
        model = self._model(request)
        data = await fields_of(request, model, named=False)
        id = data.pop("id", None)
        if id is not None and not isinstance(id, str):
            raise Refused(rejection("type", "id must be a text"))
        return await self._write(request, operation(request, "CREATE", model, data, id=id))

    @described(
        "Make a record with an id", takes=RecordIn, gives=RecordOut, status=201, keyed=True, named=_ID, headers=_NEW
    )
    async def _post_named(self, request: web.Request) -> web.Response:
        """As without an id. One that was deleted begins anew. 409, or with `If-None-Match: *` 412: there is such a
        record, in the member `record`; 403: it is another's."""
        model, id = self._model(request), request.match_info["id"]
        is_new(request)
        return await self._write(request, operation(request, "CREATE", model, await fields_of(request, model), id=id))

    @described("List records", query=RecordQuery, gives=RecordPage, problems=(422,), named=_ID)
    async def _list(self, request: web.Request) -> web.Response:
        """Those that the token reads, in the order of their last change; one that changes meanwhile comes again. Any
        field of the model may stand in the query, as `stage=new`: the record's is the same, of a set: has that
        member."""
        model, principal = self._model(request), principal_of(request)
        query, asked = _query(request)
        try:
            filters = filters_of(self._part.models[model.name], model, asked)
        except NoFilter as wrong:
            raise Refused(rejection("field", str(wrong))) from None
        readers = readers_of(principal, model, asked)
        after = int(query.after or 0)
        page = await listing.page(self._pool, model.name, readers, filters, after=after, limit=query.limit)
        next = None if page.after is None else str(page.after)
        return json_answer({"records": [_document(one) for one in page.records], "next": next})

    @described("Show a record", gives=RecordOut, also=(304,), named=_ID)
    async def _get(self, request: web.Request) -> web.Response:
        """With its version as ETag; 304 where `If-None-Match` names that. 404 also where it was deleted, or is not for
        the token."""
        found = await self._find(request, self._model(request).name, request.match_info["id"])
        if found is None:
            return not_there()
        tag = etag(found.version)
        seen = [part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(",")]
        if tag in seen or "*" in seen:
            return web.Response(status=304, headers={"ETag": tag})
        return _shown(_document(found))

    @described(
        "Write a whole record",
        takes=RecordIn,
        gives=RecordOut,
        also=(201, 204),
        keyed=True,
        named=_ID,
        headers=_MATCH + _NEW,
    )
    async def _put(self, request: web.Request) -> web.Response:
        """Fields that are left out have no value then, but for those of the owner and the branch, which stay. With
        `If-None-Match: *` it makes the record (201). 412: it has another version than `If-Match` names, and stands in
        the member `record`; 428: `If-Match` is missing. 204: it is not the token's any more, which has given it
        away."""
        model, id = self._model(request), request.match_info["id"]
        if is_new(request):
            data = await fields_of(request, model)
            return await self._write(request, operation(request, "CREATE", model, data, id=id))
        only_at = versions_of(request)
        kept = (model.owner, model.branch)
        whole = {name: None for name in model.fields if name not in kept} | await fields_of(request, model)
        return await self._write(request, operation(request, "UPDATE", model, whole, id=id, only_at=only_at))

    @described(
        "Write some fields of a record",
        takes=RecordIn,
        gives=RecordOut,
        also=(204,),
        keyed=True,
        named=_ID,
        headers=_MATCH,
    )
    async def _patch(self, request: web.Request) -> web.Response:
        """Those that are left out stay; null: the field has no value then. The rest as when a whole one is written."""
        model, only_at = self._model(request), versions_of(request)
        data = await fields_of(request, model)
        asked = operation(request, "UPDATE", model, data, id=request.match_info["id"], only_at=only_at)
        return await self._write(request, asked)

    @described("Delete a record", status=204, keyed=True, named=_ID, headers=_MATCH)
    async def _delete(self, request: web.Request) -> web.Response:
        model, only_at = self._model(request), versions_of(request)
        asked = operation(request, "DELETE", model, {}, id=request.match_info["id"], only_at=only_at)
        return await self._write(request, asked)

    async def _write(self, request: web.Request, asked: Operation) -> web.Response:
        """The answer to *asked*, once it is applied, or why it is not."""
        try:
            answer = await self._records.write(principal_of(request), asked)
        except pushes.Refused as refused:
            return refusal(refused)
        if answer.result == "rejected":
            return _rejected(request, asked, answer)
        if answer.result == "conflict" or answer.first == "conflict":
            return not_there() if answer.decision == "gone" else _rejected(request, asked, answer)
        if asked.operation == "DELETE":
            return web.Response(status=204)
        return await self._written(request, asked, answer)

    async def _written(self, request: web.Request, asked: Operation, answer: Answer) -> web.Response:
        document: Any = answer.record
        if document is None or document["version"] != answer.version:
            found = await self._find(request, asked.model, asked.record_id)
            if found is None:  # given away, or gone since
                return web.Response(status=204)
            document = _document(found)
        made = asked.operation == "CREATE"
        place = f"/api/v1/records/{asked.model}/{quote(asked.record_id, safe='')}"
        return _shown(document, status=201 if made else 200, headers={"Location": place} if made else {})

    async def _find(self, request: web.Request, model: str, id: str) -> Listed | None:
        """The record, where it is there and the asker reads it."""
        if not is_id(id):
            return None
        found = await listing.one(self._pool, model, id)
        if (
            found is None
            or found.deleted
            or not principal_of(request).reads(found.record.owner_id, found.record.branch)
        ):
            return None
        return found.record


def _query(request: web.Request) -> tuple[RecordQuery, dict[str, str]]:
    """The page, and the fields with what they must be. Raises: Refused."""
    given = dict(request.query)
    if len(given) < len(request.query):
        raise Refused(problem(400, "a name stands twice in the query: give each once"))
    page = {name: given.pop(name) for name in RecordQuery.model_fields if name in given}
    try:
        return RecordQuery.model_validate(page), given
    except ValidationError as exc:
        raise Refused(problem(400, told(exc))) from None


def _rejected(request: web.Request, asked: Operation, answer: Answer) -> web.Response:
    """*answer* says why it was not applied. A record of another version goes with it, for who reads it."""
    record = None if answer.record is None else dict(answer.record)
    if answer.reason != "version" and answer.result == "rejected":
        return rejection(answer.reason or "internal", answer.detail or "it was not applied")
    status = 409 if asked.operation == "CREATE" and "If-None-Match" not in request.headers else 412
    headers = {"ETag": etag(answer.version or 0)}
    detail = answer.detail or "it met another change: look at the record"
    return problem(status, detail, type="version", headers=headers, members={"reason": "version", "record": record})


def _document(one: Listed) -> dict[str, Any]:
    return {
        "model": one.model,
        "id": one.record_id,
        "version": one.version,
        "owner_id": one.owner_id,
        "branch": one.branch,
        "deleted": False,
        "data": orjson.Fragment(one.data),
        "changed_at": one.changed_at,
    }


def _shown(document: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    answer = json_answer(document, status=status)
    answer.headers.update({"ETag": etag(document["version"]), **(headers or {})})
    return answer

"""A server of records in this process, on loopback: it follows the protocol strictly, and misbehaves on demand.

It decides as simply as can be: who writes a field that another replica has changed since the base loses, and is told
so. It counts what it is sent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN: Final = "fmt_" + "t" * 43


@dataclass
class Row:
    """A record of the server. *fields*: name -> (version, replica) of its last change."""

    version: int
    seq: int
    data: dict[str, Any]
    deleted: bool = False
    fields: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass
class State:
    """All that the server knows: a copy of it is a backup."""

    seq: int = 0
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    ledger: dict[str, dict[str, Any]] = field(default_factory=dict)
    exits: dict[tuple[str, str], int] = field(default_factory=dict)
    acks: dict[str, tuple[str, str | None]] = field(default_factory=dict)


class RecordsServer:
    """The server. *next_answers*: stand in for its own, one request each; *fails*: a test of each operation, which
    makes the whole push answer 500, *garbles* one that makes it unreadable; *rejects*: op -> the rejection that it
    gets; *after*: may change the answers; *expired*: what it says of cursors from before a compaction."""

    def __init__(self) -> None:
        self.state = State()
        self.feed = str(uuid4())
        self.epoch = 1
        self.compacted = 0
        self.expired = "compacted"
        self.next_answers: list[Handler] = []
        self.always: Handler | None = None
        self.fails: Callable[[dict[str, Any]], bool] = lambda one: False
        self.garbles: Callable[[dict[str, Any]], bool] = lambda one: False
        self.rejects: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda one: None
        self.after: Callable[[list[dict[str, Any]]], None] = lambda answers: None
        self.page = 1000
        self.most_bytes = 4_000_000
        self.token = TOKEN
        self.people: dict[str, str] = {}
        """Token -> the person it is of, where that is not alice."""

        self._asker = ""
        self.applied: Counter[str] = Counter()
        self.pushes: list[list[dict[str, Any]]] = []
        self.bodies: list[dict[str, Any]] = []
        self.pulls = 0
        self.waiting = 0
        self._rung = asyncio.Event()
        self.url = ""

    def row(self, model: str, record_id: str) -> Row:
        """A record."""
        return self.state.rows[model, record_id]

    def write(self, model: str, record_id: str, **data: Any) -> None:
        """Somebody else writes."""
        row = self.state.rows.get((model, record_id)) or Row(0, 0, {})
        self._store(model, record_id, row, data, "other", deleted=False)

    def delete(self, model: str, record_id: str) -> None:
        """Somebody else deletes."""
        self._store(model, record_id, self.row(model, record_id), {}, "other", deleted=True)

    def take_away(self, model: str, record_id: str) -> None:
        """The record is another's now."""
        del self.state.rows[model, record_id]
        self.state.seq += 1
        self.state.exits[model, record_id] = self.state.seq
        self._ring()

    def compact(self) -> None:
        """Forget tombstones; cursors of before are too old."""
        self.state.rows = {key: row for key, row in self.state.rows.items() if not row.deleted}
        self.compacted = self.state.seq

    def _ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    def _store(self, model: str, name: str, row: Row, data: dict[str, Any], peer: str, *, deleted: bool) -> Row:
        self.state.seq += 1
        version = row.version + 1
        fields = row.fields | dict.fromkeys(data, (version, peer)) | ({"": (version, peer)} if deleted else {})
        new = Row(version, self.state.seq, row.data | data, deleted, fields)
        self.state.rows[model, name] = new
        self._ring()
        return new

    async def push(self, request: web.Request) -> web.StreamResponse:
        """`POST /api/v1/sync/push`."""
        body = await request.read()
        if len(body) > self.most_bytes:
            return _problem(413, "too-large")
        asked = orjson.loads(body)
        self.bodies.append(asked)
        operations = asked["operations"]
        if len(operations) > 50:
            return _problem(422, "too-many")
        known = self.state.acks.get(asked["replica"])
        if known is not None and "ack" in asked and asked["ack"] not in known:
            return _problem(409, "replica-forked")
        if "cursor" in asked and (gone := self._gone(asked["cursor"], push=True)):
            return _problem(410, "cursor-expired", reason=gone)
        self.pushes.append(operations)
        if any(self.fails(one) for one in operations):
            return web.Response(status=500, text="Internal Server Error")
        if any(self.garbles(one) for one in operations):
            return _problem(400, "malformed")
        ack = str(uuid4())
        self.state.acks[asked["replica"]] = (ack, asked.get("ack") or (known[0] if known else None))
        answers = [self._operation(one, asked["replica"]) for one in operations]
        self.after(answers)
        told = {"server_time": "2026-11-27T10:00:00.000Z", "feed": self.feed, "principal": self._asker}
        return _json({"ack": ack, **told, "results": answers})

    def _operation(self, one: dict[str, Any], replica: str) -> dict[str, Any]:
        name = one["op_id"]
        if (first := self.state.ledger.get(name)) is not None:
            return {"op_id": name, "result": "duplicate", "first": first["result"], "version": first.get("version")}
        if (wrong := self.rejects(one)) is not None:
            return {"op_id": name, "result": "rejected", "retry": False} | wrong
        answer = {"op_id": name} | self._decided(one, replica)
        if answer["result"] != "rejected":
            self.applied[name] += 1
            self.state.ledger[name] = answer
        return answer

    def _decided(self, one: dict[str, Any], replica: str) -> dict[str, Any]:
        model, name, verb, base = one["model"], one["record_id"], one["operation"], one["base_version"]
        row = self.state.rows.get((model, name))
        if row is None:
            if verb == "CREATE":
                return {"result": "applied", "version": self._store(*_new(one), replica, deleted=False).version}
            if verb == "DELETE":
                return {"result": "applied", "version": 0}
            if base == 0:
                return {"result": "rejected", "reason": "unknown-record", "retry": False}
            return {"result": "conflict", "decision": "gone", "conflict_id": 1, "version": 0}
        if base > row.version:
            return {"result": "rejected", "reason": "base-ahead", "retry": False}
        foreign = [f for f, (at, who) in row.fields.items() if at > base and who != replica]
        met = [f for f in foreign if verb == "DELETE" or f in one["data"]]
        data = {f: value for f, value in one["data"].items() if f not in met}
        if verb == "DELETE" and not met:
            return {"result": "applied", "version": self._store(model, name, row, {}, replica, deleted=True).version}
        version = self._store(model, name, row, data, replica, deleted=False).version if data else row.version
        if met:
            return {"result": "conflict", "decision": "ours", "conflict_id": 7, "version": version}
        return {"result": "applied", "version": version}

    async def pull(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/sync/pull`."""
        self.pulls += 1
        since = request.query.get("since")
        if since is not None and (gone := self._gone(since)):
            return _problem(410, "cursor-expired", reason=gone)
        wait = float(request.query.get("wait", "0"))
        seq, snap = (0, self.state.seq) if since is None else map(int, since.split(":")[2:])
        if wait and seq == self.state.seq:
            self.waiting += 1
            try:
                await asyncio.wait_for(self._rung.wait(), wait)
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
        return _json(self._page(seq, snap))

    def _gone(self, cursor: str, *, push: bool = False) -> str | None:
        feed, epoch, seq, snap = cursor.split(":")
        if feed != self.feed:
            return "feed"
        if int(epoch) != self.epoch or int(seq) > self.state.seq:
            return "epoch"
        return self.expired if max(int(seq), int(snap)) < self.compacted and not push else None

    def _page(self, seq: int, snap: int) -> dict[str, Any]:
        """The page after *seq*. *snap*: the head when a first copy began, which needs no tombstones from before."""
        found: list[tuple[int, dict[str, Any]]] = []
        for (model, name), row in self.state.rows.items():
            if row.seq <= seq or (row.deleted and row.seq <= snap):
                continue
            key = {"model": model, "id": name, "version": row.version}
            found.append((row.seq, {"op": "delete"} | key if row.deleted else {"op": "upsert", "data": row.data} | key))
        for (model, name), at in self.state.exits.items():
            if at > seq and (model, name) not in self.state.rows:
                found.append((at, {"op": "remove", "model": model, "id": name}))
        found.sort(key=lambda one: one[0])
        more = len(found) > self.page
        page = found[: self.page]
        at = page[-1][0] if more else self.state.seq
        cursor = f"{self.feed}:{self.epoch}:{at}:{snap}"
        return self._document([change for _, change in page], cursor, more=more)

    def cursor(self) -> str:
        """Up to now."""
        return f"{self.feed}:{self.epoch}:{self.state.seq}:{self.state.seq}"

    def page_of(self, changes: list[dict[str, Any]], cursor: str) -> web.Response:
        """A page that holds *changes*."""
        return _json(self._document(changes, cursor, more=False))

    def _document(self, changes: list[dict[str, Any]], cursor: str, *, more: bool) -> dict[str, Any]:
        return {
            "changes": changes,
            "cursor": cursor,
            "more": more,
            "server_time": "2026-11-27T10:00:00.000Z",
            "schema": "s",
            "feed": self.feed,
            "principal": self._asker,
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request, by what was planned, else by its route."""
        if self.next_answers:
            return await self.next_answers.pop(0)(request)
        if self.always is not None:
            return await self.always(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self._asker = f"user:{self.people.get(token, 'alice')}"
        if token != self.token and token not in self.people:
            return _problem(401, "unauthenticated")
        return await (self.push if request.path.endswith("push") else self.pull)(request)


def _new(one: dict[str, Any]) -> tuple[str, str, Row, dict[str, Any]]:
    return one["model"], one["record_id"], Row(0, 0, {}), one["data"]


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


def _problem(status: int, kind: str, **members: Any) -> web.Response:
    document = {"type": kind, "title": kind, "status": status, "detail": "as the test wants it"} | members
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/problem+json")


async def lost_answer(request: Any) -> Any:
    """The line breaks before an answer has come."""
    request.transport.close()
    raise asyncio.CancelledError


@asynccontextmanager
async def records_server() -> AsyncIterator[RecordsServer]:
    """The server, served."""
    here = RecordsServer()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", here.answer)
    async with TestServer(app) as served:
        here.url = str(served.make_url("")).rstrip("/")
        yield here

"""An upstream of records on a real port that answers as the protocol says, and misbehaves when a test wants it.

What it decides is simple: the last push wins. How values meet is the real hub's matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers in the place of the hub; None: the hub answers. It may raise."""


@dataclass
class Hub:
    """*refused*: record id -> the reason for which its operations are rejected; *crashing*: records at which a whole
    push fails; *faults*: for the next requests, one each; *away*: every request is answered 503 with that text as
    Retry-After, "" for none; *lose_answers*: pushes are applied and not answered."""

    token: str = "hub-token"
    feed: str = field(default_factory=lambda: str(uuid4()))
    epoch: int = 1
    seq: int = 0
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    ledger: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    crashing: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    away: str | None = None
    lose_answers: int = 0
    pushes: list[list[dict[str, Any]]] = field(default_factory=list)
    pulls: list[dict[str, str]] = field(default_factory=list)
    requests: int = 0
    url: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, model: str, record_id: str, data: dict[str, Any], origin: str = "web") -> None:
        """Somebody at the hub writes."""
        row = self.rows.get((model, record_id), {"version": 0, "data": {}})
        self.seq += 1
        self.rows[(model, record_id)] = {
            "op": "upsert",
            "version": row["version"] + 1,
            "seq": self.seq,
            "data": {**row["data"], **data},
            "origin": origin,
        }
        self.changed.set()

    def take(self, model: str, record_id: str, op: str) -> None:
        """`delete` or `remove` for the edge."""
        row = self.rows[(model, record_id)]
        self.seq += 1
        row |= {"op": op, "version": row["version"] + 1, "seq": self.seq}
        self.changed.set()

    def data(self) -> dict[str, dict[str, Any]]:
        """Record id -> its fields, of those that are there."""
        return {key[1]: row["data"] for key, row in self.rows.items() if row["op"] == "upsert"}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self.faults and (found := await self.faults.pop(0)(request)) is not None:
            return found
        if self.away is not None:
            headers = {"Retry-After": self.away} if self.away else {}
            return web.json_response({"status": 503, "type": "busy"}, status=503, headers=headers)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"status": 401, "title": "no"}, status=401)
        return await (self._push(request) if request.method == "POST" else self._pull(request))

    async def _push(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.pushes.append(body["operations"])
        if reason := self._stale(body.get("cursor", "")):
            return self._expired(reason)
        if any(one["record_id"] in self.crashing for one in body["operations"]):
            return web.Response(status=500, text="oh")
        results = [self._apply(one) for one in body["operations"]]
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"ack": str(uuid4()), "server_time": "", "feed": self.feed, "results": results})

    def _apply(self, op: dict[str, Any]) -> dict[str, Any]:
        op_id, key = op["op_id"], (op["model"], op["record_id"])
        if known := self.ledger.get(op_id):
            return known | {"result": "duplicate", "first": known["result"]}
        if reason := self.refused.get(op["record_id"]):
            return {"op_id": op_id, "result": "rejected", "reason": reason, "retry": reason == "internal"}
        if op["operation"] == "DELETE":
            if key in self.rows:
                self.take(*key, "delete")
        elif op["operation"] == "UPDATE" and key not in self.rows:
            return {"op_id": op_id, "result": "conflict", "decision": "gone", "version": 0}
        else:
            self.put(*key, op.get("data", {}), op["origin"])
        version = self.rows.get(key, {"version": 0})["version"]
        self.ledger[op_id] = {"op_id": op_id, "result": "applied", "version": version}
        return self.ledger[op_id]

    def _stale(self, cursor: str) -> str | None:
        """Why *cursor* is of no use."""
        if not cursor:
            return None
        feed, epoch, seq = cursor.split("|")
        if feed != self.feed:
            return "feed"
        return "epoch" if int(epoch) != self.epoch or int(seq) > self.seq else None

    def _expired(self, reason: str) -> web.Response:
        return web.json_response({"status": 410, "type": "cursor-expired", "reason": reason}, status=410)

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        self.pulls.append(dict(request.query))
        since = request.query.get("since", "")
        if reason := self._stale(since):
            return self._expired(reason)
        seen = int(since.split("|")[2]) if since else 0
        wait_s = float(request.query.get("wait", 0))
        if wait_s and self.seq <= seen:
            self.changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self.changed.wait()
            except TimeoutError:
                pass
            if reason := self._stale(since):
                return self._expired(reason)
        limit = int(request.query.get("limit", 1000))
        news = sorted((row["seq"], key, row) for key, row in self.rows.items() if row["seq"] > seen)
        page = news[:limit]
        last = page[-1][0] if len(news) > limit else self.seq
        changes = [_change(key, row) for _, key, row in page]
        cursor = f"{self.feed}|{self.epoch}|{last}"
        return web.json_response(
            {"changes": changes, "cursor": cursor, "more": len(news) > limit, "feed": self.feed, "schema": "s"}
        )


def _change(key: tuple[str, str], row: dict[str, Any]) -> dict[str, Any]:
    told = {"op": row["op"], "model": key[0], "id": key[1], "version": row["version"]}
    if row["op"] != "upsert":
        return told
    stamps = {name: [row["seq"], 0, row["origin"]] for name in row["data"]}
    return told | {"data": row["data"], "owner_id": row["data"].get("owner_id"), "stamps": stamps}


@asynccontextmanager
async def serving(hub: Hub) -> AsyncIterator[Hub]:
    """*hub* on a port of its own."""
    application = web.Application(client_max_size=8_000_000)
    application.router.add_route("*", "/api/v1/sync/{what}", hub._answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield hub
    finally:
        await runner.cleanup()

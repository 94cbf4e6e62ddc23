"""People who write into the same records at several places, and the account of what they wrote: no value is lost
without a word.

A value that somebody has written, and that was accepted, is in the end the current one, or it stands in a conflict, or
it was refused and is kept, or somebody who saw it wrote another one over it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientError

from adapters.postgres.pool import Pool
from adapters.records_client import NoRecord, RecordExists, RecordsClient
from tests.support.records_rig import Site

MODEL: Final = "Item"
FIELDS: Final = ("value", "other")
DELETES: Final = 0.08
"""The part of the writes that delete."""


@dataclass
class Account:
    """What was written. *written*: (record, field, value) of every write that was accepted; *replaced*: of every one
    that its successor has seen."""

    written: set[tuple[str, str, str]] = field(default_factory=set)
    replaced: set[tuple[str, str, str]] = field(default_factory=set)
    deletes: int = 0
    numbers: int = 0

    def value(self) -> str:
        """One that nobody has written before."""
        self.numbers += 1
        return f"w{self.numbers}"

    def wrote(self, record: str, seen: Mapping[str, Any] | None, data: Mapping[str, Any] | None) -> None:
        """Note a write of *data* (None: a DELETE) by somebody who saw *seen* (None: no record)."""
        for name in FIELDS if data is None else data:
            if name in FIELDS and seen is not None and seen.get(name) is not None:
                self.replaced.add((record, name, seen[name]))
        self.written |= {(record, name, value) for name, value in (data or {}).items() if name in FIELDS}
        self.deletes += data is None

    def may_have_written(self, record: str, seen: Mapping[str, Any] | None) -> None:
        """Note a write whose answer got lost, by somebody who saw *seen*."""
        self.replaced |= {(record, name, seen[name]) for name in FIELDS if seen is not None and seen.get(name)}

    def lost(self, current: Mapping[str, Mapping[str, Any]], told: str) -> list[tuple[str, str, str]]:
        """The writes that nothing tells of. *current*: record -> its data; *told*: all conflicts and refusals, as
        text."""
        kept = {(record, name, data.get(name)) for record, data in current.items() for name in FIELDS}
        left = self.written - self.replaced - kept
        return sorted(one for one in left if f'"{one[2]}"' not in told)


@dataclass(frozen=True)
class PhoneWriter:
    """Somebody with a phone."""

    phone: RecordsClient

    async def act(self, rng: random.Random, record: str, account: Account) -> None:
        """Do something to *record*, and see it at once. Where news of it has just come, nothing is done."""
        phone = self.phone
        if await phone.get(MODEL, record) is not None and rng.random() < DELETES:
            seen, done = await asyncio.gather(phone.get(MODEL, record), phone.delete(MODEL, record))
            if done:
                account.wrote(record, seen, None)
            return
        data = _data(rng, account)
        write = phone.update if await phone.get(MODEL, record) else phone.create
        try:  # what is seen is what the write replaces: the file has one thread, and nothing comes between
            seen, _ = await asyncio.gather(phone.get(MODEL, record), write(MODEL, record, data))
        except (NoRecord, RecordExists):
            return
        account.wrote(record, seen, data)
        mine = await phone.get(MODEL, record)
        assert mine is not None, record
        assert {name: mine.get(name) for name in data} == data


@dataclass(frozen=True)
class OfficeWriter:
    """Somebody at a daemon, who asks its API."""

    site: Site
    token: str

    async def act(self, rng: random.Random, record: str, account: Account) -> None:
        """Do something to *record*. Where somebody else was faster, or the daemon is away, nothing is done."""
        seen: Mapping[str, Any] | None = None
        try:
            there = await self.site.ask("GET", f"/api/v1/records/{MODEL}/{record}", token=self.token)
            seen = there.body["data"] if there.status == 200 else None
            if seen is None:
                await self._make(rng, record, account)
            else:
                await self._change(rng, record, account, there.body["version"], seen)
        except (ClientError, OSError):
            account.may_have_written(record, seen)

    async def _make(self, rng: random.Random, record: str, account: Account) -> None:
        data = _data(rng, account)
        path, body = f"/api/v1/records/{MODEL}/{record}", {**data, "owner_id": "noa"}
        told = await self.site.ask("PUT", path, body, token=self.token, If_None_Match="*")
        assert told.status in (200, 201, 412), told
        if told.status != 412:
            account.wrote(record, None, data)

    async def _change(
        self, rng: random.Random, record: str, account: Account, version: int, seen: Mapping[str, Any]
    ) -> None:
        data = None if rng.random() < DELETES else _data(rng, account)
        method, path = "PATCH" if data else "DELETE", f"/api/v1/records/{MODEL}/{record}"
        told = await self.site.ask(method, path, data, token=self.token, If_Match=f'"{version}"')
        assert told.status in (200, 204, 404, 412), told
        if told.status in (200, 204):
            account.wrote(record, seen, data)


def _data(rng: random.Random, account: Account) -> dict[str, Any]:
    chosen = rng.choice((("value",), ("other",), FIELDS))
    return {name: account.value() for name in chosen}


async def current(pool: Pool) -> dict[str, Mapping[str, Any]]:
    """Record -> its data, of those that are not deleted."""
    rows = await pool.fetch("SELECT record_id, data::text FROM records WHERE NOT deleted ORDER BY record_id")
    return {row["record_id"]: json.loads(row["data"]) for row in rows}


async def told(pools: Sequence[Pool]) -> str:
    """All conflicts, and all operations that an upstream has refused, as text."""
    parts = []
    for pool in pools:
        for query in (
            "SELECT concat_ws(' ', ours::text, theirs::text) FROM sync_conflicts",
            "SELECT data::text FROM sync_queue WHERE state IN ('failed', 'conflict')",
        ):
            parts += [str(row[0]) for row in await pool.fetch(query)]
    return "\n".join(parts)

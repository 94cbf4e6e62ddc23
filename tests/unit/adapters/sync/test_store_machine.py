"""The file of a replica under any order of writes, answers, pulls, rebuilds, kills and copies: what is seen is always
the copied rows with the open operations on top, and nothing that was written is ever without a trace."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapters.records_client import NoRecord, RecordExists
from adapters.sync.sqlite import SqliteReplica
from adapters.sync.store import Change, Page, RebuildReason, Verdict
from schemas.records.overlay import Row, overlaid
from tests.support.open_operations import Kept, kept_in

MODEL: Final = "Lead"
NAMES: Final = ("a", "b")
names = st.sampled_from(NAMES)
values = st.dictionaries(st.sampled_from(("x", "y")), st.integers(0, 5), min_size=1)


class Replica(RuleBasedStateMachine):
    """A file, and the server's rows as the test invents them: they only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = Path(tempfile.mkdtemp())
        self.path = self.place / "phone"
        self.store = SqliteReplica()
        self.server: dict[str, Row] = {}
        self.gone: set[str] = set()
        self.pulled: dict[str, int] = {}
        self.written: set[UUID] = set()
        self.promised: dict[UUID, tuple[str, int]] = {}  # answered, and the row that holds it has still to come
        self.head = 0
        self.building: list[Change] | None = None

    def kept(self) -> Kept:
        with closing(sqlite3.connect(self.path)) as connection:
            return kept_in(connection)

    def do(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @initialize()
    def opened(self) -> None:
        self.do(self.store.open(self.path))

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()
        shutil.rmtree(self.place)

    @rule(name=names, data=values, verb=st.sampled_from(("CREATE", "UPDATE", "DELETE")))
    def write(self, name: str, data: dict[str, int], verb: Any) -> None:
        before = self.do(self.store.get(MODEL, name))
        try:
            op_id = self.do(self.store.write(verb, MODEL, name, {} if verb == "DELETE" else data))
        except (NoRecord, RecordExists):
            assert (before is None) == (verb == "UPDATE")
            return
        if op_id is not None:
            self.written.add(op_id)
        after = self.do(self.store.get(MODEL, name))
        expected = None if verb == "DELETE" else {**(before or {}), **data}
        assert (None if after is None else dict(after)) == expected

    @rule(name=names, data=values, deleted=st.booleans())
    def somebody_writes(self, name: str, data: dict[str, int], deleted: bool) -> None:
        row = self.server.get(name, Row(version=0, data={}))
        self.server[name] = Row(version=row.version + 1, data={**row.data, **data}, deleted=deleted)
        self.gone.discard(name)

    @rule(answers=st.lists(st.sampled_from(("applied", "lost", "open", "failed", "pending", "none")), max_size=6))
    def settle(self, answers: list[str]) -> None:
        verdicts: list[Verdict] = []
        waiting = self.do(self.store.due(10, 1_000_000))
        for queued, answer in zip(waiting, answers, strict=False):
            op = queued.operation
            row = self.server.get(op.record_id)
            if answer == "none":
                break
            if answer == "applied":
                row = overlaid(row, [op]) or Row(version=0, data={}, deleted=True)
                row = Row(version=row.version + 1, data=row.data, deleted=row.deleted)
                self.server[op.record_id] = row
            version = 0 if row is None else row.version
            match answer:
                case "applied":
                    verdicts.append(Verdict(op_id=op.op_id, state="synced", version=version))
                case "lost":
                    verdicts.append(Verdict(op_id=op.op_id, state="synced", version=version, decision="ours"))
                case "open":
                    verdicts.append(Verdict(op_id=op.op_id, state="conflict", version=version, decision="open"))
                case "failed":
                    verdicts.append(Verdict(op_id=op.op_id, state="failed", reason="field"))
                case _:
                    verdicts.append(Verdict(op_id=op.op_id, state="pending", reason="internal", retries=1))
        copied = {name: row.version for name, row in self.kept().rows.items()}
        self.do(self.store.settle("ack", verdicts))
        self.do(self.store.settle("ack", verdicts))  # the same again changes nothing
        for one in verdicts:
            name = next(q.operation.record_id for q in waiting if q.operation.op_id == one.op_id)
            if one.version is not None and one.version > copied.get(name, 0):
                self.promised[one.op_id] = (name, one.version)

    def page(self, changes: list[Change]) -> Page:
        self.head += 1
        return Page(changes=changes, cursor=str(self.head), more=False)

    def changes(self) -> list[Change]:
        found = [
            Change(op="delete", model=MODEL, record_id=name, version=row.version)
            if row.deleted
            else Change(op="upsert", model=MODEL, record_id=name, version=row.version, data=row.data)
            for name, row in self.server.items()
            if name not in self.gone
        ]
        return [*found, *(Change(op="remove", model=MODEL, record_id=name) for name in self.gone)]

    @precondition(lambda self: self.building is None)
    @rule(once_more=st.booleans())
    def pull(self, once_more: bool) -> None:
        changes = self.changes()
        for _ in range(2 if once_more else 1):
            self.do(self.store.take(self.page(changes)))
        self.has_come({name: row.version for name, row in self.server.items() if name not in self.gone})

    def has_come(self, versions: dict[str, int]) -> None:
        self.pulled = versions
        self.promised = {
            op_id: (name, version)
            for op_id, (name, version) in self.promised.items()
            if name in versions and versions[name] < version
        }

    @precondition(lambda self: self.building is None)
    @rule(name=names, data=values)
    def an_old_row_comes_again(self, name: str, data: dict[str, int]) -> None:
        if (version := self.pulled.get(name, 0)) > 0:
            change = Change(op="upsert", model=MODEL, record_id=name, version=version - 1, data=data)
            assert self.do(self.store.take(self.page([change]))) == 0

    @rule(name=names)
    def another_owner(self, name: str) -> None:
        if name in self.server:
            self.gone.add(name)

    @rule(reason=st.sampled_from(("compacted", "epoch", "scope")))
    def begin_rebuild(self, reason: RebuildReason) -> None:
        self.do(self.store.begin_rebuild(reason))
        self.building = []

    @precondition(lambda self: self.building is not None)
    @rule()
    def end_rebuild(self) -> None:
        changes = [one for one in self.changes() if one.op == "upsert"]
        self.do(self.store.take(self.page(changes)))
        self.do(self.store.end_rebuild())
        self.building = None
        self.has_come({one.record_id: one.version for one in changes})
        # a first copy has no tombstones from before it: the server forgets those here too
        self.server = {name: row for name, row in self.server.items() if not row.deleted and name not in self.gone}
        self.gone = set()

    @rule()
    def killed(self) -> None:
        shutil.copy(self.path, self.place / "copy")
        if (wal := Path(f"{self.path}-wal")).exists():
            shutil.copy(wal, self.place / "copy-wal")
        self.do(self.store.close())
        self.path, self.place = self.place / "copy", self.place / "next"
        self.place.mkdir()
        self.store = SqliteReplica()
        self.do(self.store.open(self.path))

    @rule()
    def retry(self) -> None:
        self.do(self.store.retry_failed(None))

    @invariant()
    def the_view_is_the_rows_with_the_open_operations(self) -> None:
        kept = self.kept()
        for name in NAMES:
            found = self.do(self.store.get(MODEL, name))
            expected = overlaid(kept.rows.get(name), kept.open.get(name, []))
            seen = None if expected is None or expected.deleted else dict(expected.data)
            assert (None if found is None else dict(found)) == seen

    @invariant()
    def nothing_that_was_written_is_without_a_trace(self) -> None:
        assert self.kept().states.keys() == self.written

    @invariant()
    def what_was_answered_stays_on_top_until_its_row_has_come(self) -> None:
        assert self.promised.keys() <= self.kept().on_top

    @invariant()
    def versions_never_go_back(self) -> None:
        if self.building is None:
            rows = self.kept().rows
            assert all(rows[name].version >= version for name, version in self.pulled.items() if name in rows)


def test_the_view_is_always_the_rows_with_the_open_operations() -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Replica, settings=settings(max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )

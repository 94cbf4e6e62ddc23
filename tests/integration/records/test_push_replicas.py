"""Who pushes: a replica and its copies, its principal, what it comes through, and the history that it has seen."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.postgres.pool import Pool
from adapters.postgres.records import marks
from daemon.records.pulling.cursor import Cursor
from daemon.records.pushing.pushes import PushIn, Refused
from daemon.records.pushing.service import Records
from schemas.principals import Principal
from tests.support.records import ADMIN, create, edge, operation, person, pushed, records_of, said

ALICE, BEN = person("alice"), person("ben", token=3)


async def refused(records: Records, who: Principal, **more: Any) -> Refused:
    with pytest.raises(Refused) as found:
        await records.push(who, PushIn(**more))
    return found.value


async def test_a_replica_belongs_to_one_principal(db: Pool) -> None:
    records = records_of(db)
    await pushed(records, ALICE, replica="phone-1")
    assert (await refused(records, BEN, replica="phone-1")).kind == "replica-of-another"


async def test_an_acknowledgement_that_neither_of_the_last_two_answers_gave_is_a_copy(db: Pool) -> None:
    records = records_of(db)

    async def push(ack: str | None) -> str:
        done = await records.push(ALICE, PushIn(replica="phone-1", ack=ack))
        assert done.ack is not None
        return done.ack

    first = await push(None)
    for _ in range(3):  # the answers are lost, as often as it likes
        second = await push(first)
    third = await push(second)
    assert (await refused(records, ALICE, replica="phone-1", ack=first)).kind == "replica-forked"
    assert (await refused(records, ALICE, replica="phone-1", ack="what?")).kind == "replica-forked"
    await push(None)
    await push(third)


async def test_a_copy_is_found_at_its_first_push_and_a_lost_answer_is_no_copy(db: Pool) -> None:
    records = records_of(db)
    begun = await records.push(ALICE, PushIn(replica="phone-1"))
    made = [operation("CREATE", f"a{n}", name="Ann") for n in range(3)]

    async def push(ack: str | None, *operations: object) -> tuple[str | None, list[str]]:
        done = await records.push(ALICE, PushIn(replica="phone-1", ack=ack, operations=operations))
        return done.ack, [answer.result for answer in done.results]

    await push(begun.ack, *made[:2])
    other = operation("CREATE", "of the copy", name="Ben")
    copied = await refused(records, ALICE, replica="phone-1", ack=begun.ack, operations=[other])
    assert copied.kind == "replica-forked"
    assert await db.fetchval("SELECT count(*) FROM records") == 2, "nothing of the copy was applied"

    _, again = await push(begun.ack, *made)
    assert again == ["duplicate", "duplicate", "applied"], "the answer was lost, and more was written meanwhile"
    ack, again = await push(begun.ack, made[2])
    assert again == ["duplicate"]
    assert (await push(ack, other))[1] == ["applied"]


async def test_what_comes_from_this_server_is_refused(db: Pool) -> None:
    feed = str(await db.fetchval("SELECT feed FROM sync_clock"))
    assert (await refused(records_of(db), ALICE, via=("other", feed), operations=())).kind == "loop"


async def test_a_cursor_of_another_history_is_refused_before_anything_is_applied(db: Pool) -> None:
    records = records_of(db)
    await create(records, ALICE, "a")
    ((feed, epoch),) = await db.fetch("SELECT feed, epoch FROM sync_clock")
    mark = await marks.made(db, 1)

    def cursor(feed: UUID, mark: UUID, seq: int = 1) -> str:
        one = Cursor(feed=UUID(str(feed)), epoch=epoch, seq=seq, snap=0, end=0, scope="", mseq=1, mark=UUID(str(mark)))
        return str(one)

    asked: Any = {"operations": (operation("CREATE", "b", name="B"),)}
    for other, reason in ((cursor(uuid4(), mark), "feed"), (cursor(feed, uuid4()), "epoch")):
        gone = await refused(records, ALICE, cursor=other, **asked)
        assert (gone.kind, gone.members) == ("cursor-expired", {"reason": reason})
    assert (await refused(records, ALICE, cursor="AAAA", **asked)).kind == "malformed"
    assert await db.fetchval("SELECT count(*) FROM records") == 1
    await records.push(ALICE, PushIn(cursor=cursor(feed, mark), **asked))
    assert await db.fetchval("SELECT count(*) FROM records") == 2


async def test_strangers_are_answered_as_for_what_is_not_there_and_former_owners_are_told(db: Pool) -> None:
    records = records_of(db)
    await create(records, ALICE, "a")

    def asked(id: str) -> list[dict[str, Any]]:
        return [operation("UPDATE", id, name="X", _base_version=1), operation("DELETE", id, _base_version=1)]

    of_hers = await pushed(records, BEN, *asked("a"), replica="phone-2")
    of_none = await pushed(records, BEN, *asked("z"), replica="phone-2")
    for one in (*of_hers, *of_none):
        del one["op_id"]
        one.pop("conflict_id", None)
    assert of_hers == of_none
    (given,) = await pushed(records, ADMIN, operation("UPDATE", "a", owner_id="ben", _base_version=1), replica="desk")
    assert said(given, "version") == ("applied", 2)
    (formerly,) = await pushed(records, ALICE, operation("UPDATE", "a", name="X", _base_version=1))
    assert said(formerly, "reason", "record") == ("rejected", "owner", None)
    assert [tuple(row) for row in await db.fetch("SELECT audience, record_id, seq FROM sync_exits")] == [
        ("o:alice", "a", 2)
    ]


async def test_a_former_owner_in_the_same_batch_is_told_too(db: Pool) -> None:
    records = records_of(db)
    await create(records, ALICE, "a")
    given = pushed(records, ADMIN, operation("UPDATE", "a", owner_id="ben", _base_version=1), replica="desk")
    late = pushed(records, ALICE, operation("UPDATE", "a", name="X", _base_version=1))
    both: list[list[dict[str, Any]]] = list(await asyncio.gather(given, late))
    assert said(both[1][0], "reason") == ("rejected", "owner")


async def test_an_edge_names_whom_it_is_for_and_nobody_else(db: Pool) -> None:
    records, carrier = records_of(db), edge("haifa", "alice", "ben")
    made = [operation("CREATE", user, name="N", _user_id=user, _origin="phone-9") for user in ("alice", "ben", "eve")]
    answers = await pushed(records, carrier, *made, replica="edge-1")
    assert [said(one, "reason") for one in answers] == [("applied", None), ("applied", None), ("rejected", "owner")]
    owners = await db.fetch("SELECT record_id, owner_id FROM records ORDER BY 1")
    assert [tuple(row) for row in owners] == [("alice", "alice"), ("ben", "ben")]
    same = operation("CREATE", "x", name="N")
    await pushed(records, carrier, same | {"user_id": "alice"}, replica="edge-1")
    (again,) = await pushed(records, ALICE, same)
    assert said(again, "first") == ("duplicate", "applied"), (
        "what an edge has brought is not applied again from a phone"
    )

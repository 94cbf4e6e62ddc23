"""Who pushes: a replica and its copies, its principal, what it comes through, and the history that it has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


Sent = Callable[..., Awaitable[tuple[str | None, list[str]]]]


@pytest.fixture
def phone(db: Pool) -> Sent:
    """Pushes operations by an acknowledgement; the next one, and the answers, `forked` where there are none."""
    records = records_of(db)

    async def push(ack: str | None, *operations: object) -> tuple[str | None, list[str]]:
        try:
            done = await records.push(ALICE, PushIn(replica="phone-1", ack=ack, operations=operations))
        except Refused as refused:
            return None, [refused.kind]
        return done.ack, [answer.result for answer in done.results]

    return push


FORKED: tuple[None, list[str]] = (None, ["replica-forked"])


async def test_an_acknowledgement_that_neither_of_the_last_two_answers_gave_is_a_copy(phone: Sent) -> None:
    one = operation("CREATE", "a", name="Ann")
    first, _ = await phone(None, one)
    second, _ = await phone(first, operation("CREATE", "b", name="Ben"))
    third, _ = await phone(second, last := operation("CREATE", "c", name="Cid"))
    for stale in (first, "what?", None):
        assert await phone(stale, last) == FORKED
    assert await phone(second, operation("CREATE", "d", name="Dan")) == FORKED
    for _ in range(3):  # the answers are lost, as often as it likes
        assert await phone(second, last) == (third, ["duplicate"])


async def test_a_lost_answer_is_no_copy_however_the_push_comes_again(phone: Sent) -> None:
    ack: str | None = None
    for n in range(2):  # also the first answer of all
        made = [operation("CREATE", f"{n}-{k}", name="Ann") for k in range(5)]
        await phone(ack, *made[:4])
        half, again = await phone(ack, *made[:2])
        assert again == ["duplicate"] * 2
        empty, _ = await phone(half)
        ack, again = await phone(empty, *made[2:])
        assert again == ["duplicate", "duplicate", "applied"]


async def test_a_copy_is_found_whatever_it_shares_with_the_other(phone: Sent, db: Pool) -> None:
    ack: str | None = None
    for n in range(2):  # also before the first answer of all
        shared, own, other = (operation("CREATE", f"{n}-{k}", name="Ann") for k in range(3))
        later, _ = await phone(ack, shared, own)
        assert await phone(ack, other) == FORKED
        assert await phone(ack, shared, other) == FORKED
        part, _ = await phone(ack, shared)
        empty, _ = await phone(ack)
        for told in (part, empty):
            assert await phone(told, other) == FORKED
            assert await phone(told, shared, other) == FORKED
        assert await db.fetchval("SELECT count(*) FROM records WHERE record_id = $1", f"{n}-2") == 0
        ack, _ = await phone(later, operation("CREATE", f"{n}-more", name="Ann"))
        assert ack is not None, "the first one goes on"


async def test_of_two_copies_that_push_at_once_one_is_taken(phone: Sent) -> None:
    one, other = operation("CREATE", "a", name="Ann"), operation("CREATE", "b", name="Ben")
    third = operation("CREATE", "c", name="Cid")
    found = await asyncio.gather(*(phone(None, each) for each in (third, one, other)))
    assert sorted(answers[0] for _, answers in found) == ["applied", "replica-forked", "replica-forked"]


async def test_a_replica_that_leaves_its_acknowledgement_out_is_told_that_it_is_missing(db: Pool) -> None:
    records = records_of(db)
    await records.push(ALICE, PushIn(replica="phone-1", operations=[operation("CREATE", "a", name="Ann")]))
    more = [operation("CREATE", "b", name="Ben")]
    for ack, words in ((None, "`ack` is missing"), (str(uuid4()), "another copy of it has pushed")):
        found = await refused(records, ALICE, replica="phone-1", ack=ack, operations=more)
        assert (found.kind, words in found.detail) == ("replica-forked", True)
    assert await db.fetchval("SELECT count(*) FROM records") == 1


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

"""Values of records that met: who sees them, and how a person decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.operator.faults import Unusable
from daemon.operator.records_conflicts import Changed, Decided, NoSuchConflict, NotAllowed
from schemas.principals import Principal
from tests.support.records_desk import Desk, desk_on, op, person

UPSTREAM: Final = "https://hub.example"


@pytest.fixture
async def desk(db: Pool, redis: Redis) -> AsyncIterator[Desk]:
    async with desk_on(db, redis) as made:
        yield made


@pytest.mark.parametrize(
    ("take", "fields", "amount", "decision"),
    [("theirs", None, "3", "theirs"), ("ours", None, "2", "ours"), ("merge", {"amount": "2.50"}, "2.50", "merged")],
)
async def test_what_a_person_decides_stands_and_is_told_to_all_replicas(
    desk: Desk, db: Pool, take: Any, fields: Any, amount: str, decision: str
) -> None:
    id = await desk.amounts()
    version, _, data = await desk.record()
    assert data["amount"] == "2", "until somebody decides"
    seq = await db.fetchval("SELECT seq FROM sync_clock")
    answer = await desk.resolve(id, take, fields)
    now, _, data = await desk.record()
    assert (data["amount"], data["stage"]) == (amount, "new")
    written = amount != "2"
    assert (now - version, await db.fetchval("SELECT seq FROM sync_clock") - seq) == (written, written)
    assert (answer is not None and answer.version == now) == written
    shown = await desk.shown(id)
    assert (shown["decision"], shown["decided_by"], shown["record"]["data"]["amount"]) == (decision, "dana", amount)
    assert await desk.listed(open=True) == []
    log = await db.fetchrow("SELECT actor, subject, detail::text FROM audit_log WHERE action = 'conflict.resolved'")
    assert log is not None
    assert tuple(log)[:2] == ("dana", f"conflict:{id}")
    assert "2.5" not in log[2]
    assert json.loads(log[2])["record_id"] == "l1"


async def test_the_devices_agree_after_a_decision_and_what_they_say_then_meets_nothing(desk: Desk) -> None:
    id = await desk.amounts()
    await desk.resolve(id, "theirs")
    version, _, _ = await desk.record()
    await desk.must("ann", "laptop", op("UPDATE", "l1", version, amount="7"))
    await desk.must("ann", "phone", op("UPDATE", "l1", version + 1, amount="8"))
    assert (await desk.record())[2]["amount"] == "8"
    assert await desk.listed() == [id]


async def test_what_a_rule_has_decided_can_be_decided_anew_and_what_a_person_has_cannot(desk: Desk) -> None:
    await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody", stage="new"))
    await desk.must("ann", "laptop", op("UPDATE", "l1", 1, stage="won"))
    id = await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, stage="lost"))
    shown = await desk.shown(id)
    assert (shown["decision"], shown["decided_by"], shown["strategy"]) == ("theirs", "rule", "newest")
    assert (await desk.record())[2]["stage"] == "lost"
    await desk.resolve(id, "ours")
    assert (await desk.record())[2]["stage"] == "won"
    with pytest.raises(Decided, match=f"conflict {id} is decided already: ours, by dana"):
        await desk.resolve(id, "theirs")
    assert (await desk.record())[2]["stage"] == "won"


async def test_to_confirm_what_a_rule_has_decided_writes_nothing(desk: Desk) -> None:
    await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody", stage="new"))
    await desk.must("ann", "laptop", op("UPDATE", "l1", 1, stage="won"))
    id = await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, stage="lost"))
    before = await desk.record()
    assert await desk.resolve(id, "theirs") is None
    assert await desk.record() == before
    assert (await desk.shown(id))["decided_by"] == "dana"


@pytest.mark.parametrize("take", ["theirs", "ours"])
async def test_a_deletion_that_met_a_change_is_decided(desk: Desk, take: Any) -> None:
    await desk.must("ann", "phone", op("CREATE", "p1", model="Payment", amount="10", status="pending"))
    await desk.must("ann", "laptop", op("UPDATE", "p1", 1, model="Payment", status="paid"))
    id = await desk.conflict("ann", "phone", op("DELETE", "p1", 1, model="Payment"))
    assert (await desk.record("p1", "Payment"))[1] is False
    await desk.resolve(id, take)
    assert (await desk.record("p1", "Payment"))[1] is (take == "theirs")


@pytest.mark.parametrize("take", ["theirs", "ours"])
async def test_a_change_that_met_a_deletion_is_decided(desk: Desk, take: Any) -> None:
    await desk.must("ann", "phone", op("CREATE", "p1", model="Payment", amount="10", status="pending"))
    await desk.must("ann", "laptop", op("DELETE", "p1", 1, model="Payment"))
    id = await desk.conflict("ann", "phone", op("UPDATE", "p1", 1, model="Payment", status="paid"))
    await desk.resolve(id, take)
    _, deleted, data = await desk.record("p1", "Payment")
    assert deleted is (take == "ours")
    if take == "theirs":
        assert (data["status"], data["amount"]) == ("paid", "10")


async def test_an_edit_of_a_record_that_is_gone_is_kept_and_can_be_made_a_record(desk: Desk, db: Pool) -> None:
    await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody"))
    await db.execute("DELETE FROM records")
    part = await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, stage="won"))
    assert (await desk.shown(part))["decision"] == "gone"
    with pytest.raises(Unusable, match="name"):
        await desk.resolve(part, "theirs")
    assert await desk.record() is None
    await desk.resolve(part, "merge", {"name": "Somebody", "stage": "won"})
    assert (await desk.record())[2]["stage"] == "won"
    whole = await desk.conflict("ann", "phone", op("UPDATE", "l2", 3, name="Another"))
    await desk.resolve(whole, "ours")
    assert await desk.record("l2") is None


async def test_a_record_that_changed_since_is_shown_and_nothing_is_done_unless_that_is_known(desk: Desk) -> None:
    id = await desk.amounts()
    version, _, _ = await desk.record()
    await desk.must("ann", "laptop", op("UPDATE", "l1", version, amount="5", stage="won"))
    with pytest.raises(Changed, match="amount") as told:
        await desk.resolve(id, "theirs")
    assert told.value.record is not None
    assert (told.value.record["data"]["amount"], told.value.record["version"]) == ("5", version + 1)
    with pytest.raises(Changed):
        await desk.resolve(id, "theirs", version=version)
    assert (await desk.record())[2]["amount"] == "5"
    await desk.resolve(id, "theirs", version=version + 1)
    assert (await desk.record())[2]["amount"] == "3"


async def test_another_field_that_changed_since_is_in_nobodys_way(desk: Desk) -> None:
    id = await desk.amounts()
    version, _, _ = await desk.record()
    await desk.must("ann", "laptop", op("UPDATE", "l1", version, stage="won"))
    await desk.resolve(id, "theirs")
    _, _, data = await desk.record()
    assert (data["amount"], data["stage"]) == ("3", "won")


async def test_what_a_rule_has_let_in_beside_what_waits_is_no_change_since(desk: Desk) -> None:
    await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody", amount="1", stage="new"))
    await desk.must("ann", "laptop", op("UPDATE", "l1", 1, amount="2", stage="won"))
    id = await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, amount="3", stage="lost"))
    _, _, data = await desk.record()
    assert (data["amount"], data["stage"], (await desk.shown(id))["decision"]) == ("2", "lost", "open")
    await desk.resolve(id, "merge", {"amount": "2.50"})
    _, _, data = await desk.record()
    assert (data["amount"], data["stage"]) == ("2.50", "lost")


async def test_of_two_who_decide_at_once_one_is_told(desk: Desk) -> None:
    for round in range(8):
        name = f"l{round}"
        id = await desk.amounts(name)
        both = await asyncio.gather(
            desk.resolve(id, "theirs"), desk.resolve(id, "merge", {"amount": "9"}), return_exceptions=True
        )
        failed = [one for one in both if isinstance(one, BaseException)]
        assert len(failed) == 1, both
        assert isinstance(failed[0], Decided | Changed)
        decision = (await desk.shown(id))["decision"]
        assert (await desk.record(name))[2]["amount"] == {"theirs": "3", "merged": "9"}[decision]


async def test_a_later_value_of_its_author_is_what_waits(desk: Desk) -> None:
    id = await desk.amounts()
    assert await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, amount="4")) == id
    assert (await desk.shown(id))["theirs"] == {"amount": "4"}
    await desk.resolve(id, "theirs")
    assert (await desk.record())[2]["amount"] == "4"


async def test_values_of_two_devices_of_one_person_both_wait(desk: Desk) -> None:
    """Neither knew of the other: the second must not take the place of the first, with all that a rule has decided."""
    await desk.must("ann", "laptop", op("CREATE", "l1", name="Somebody", amount="1", stage="new"))
    await desk.must("ann", "laptop", op("UPDATE", "l1", 1, amount="2", stage="won"))
    one = await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, amount="3", stage="lost"))
    other = await desk.conflict("ann", "tablet", op("UPDATE", "l1", 1, amount="4", stage="offer"))
    assert await desk.conflict("ann", "phone", op("UPDATE", "l1", 1, amount="5")) == one
    assert [(await desk.shown(id))["theirs"]["amount"] for id in (one, other)] == ["5", "4"]


@pytest.mark.parametrize("pushed_at_once", [1, 2])
async def test_what_a_rule_overwrites_beside_a_waiting_value_is_told(desk: Desk, pushed_at_once: int) -> None:
    """The stages of the laptop lose to later ones of the phone, in operations whose amounts wait for a person."""
    await desk.must("ann", "laptop", op("CREATE", "l1", name="Somebody", amount="1", stage="new"))
    for n in range(2):
        version, _, _ = await desk.record()
        await desk.must("ann", "laptop", op("UPDATE", "l1", version, amount=f"1{n}", stage=f"laptop {n}"))
        said = [op("UPDATE", "l1", 1, amount=f"{m}0{n}", stage=f"phone {m} {n}") for m in range(pushed_at_once)]
        answers = await desk.push("ann", "phone", *said)
        assert {one.result for one in answers} == {"conflict"}
        assert (await desk.record())[2]["stage"] == said[-1]["data"]["stage"]
    told = {(await desk.shown(id))["ours"].get("stage") for id in await desk.listed()}
    assert {"laptop 0", "laptop 1"} <= told
    await desk.resolve((await desk.listed())[0], "theirs")  # what the rule has left there is no change that nobody saw


async def test_what_the_record_does_not_take_is_refused_and_the_conflict_stays_open(desk: Desk) -> None:
    id = await desk.amounts()
    for fields in ({"amount": "much"}, {"nothing": 1}, {"name": None}):
        with pytest.raises(Unusable):
            await desk.resolve(id, "merge", fields)
    with pytest.raises(Unusable, match="JSON object"):
        await desk.resolve(id, "merge", {})
    with pytest.raises(Unusable, match="for merge"):
        await desk.resolve(id, "theirs", {"amount": "9"})
    assert await desk.listed(open=True) == [id]


async def test_people_see_and_decide_what_is_theirs(desk: Desk) -> None:
    id = await desk.amounts()
    await desk.must("bob", "tablet", op("CREATE", "l2", name="Other"))
    gone = await desk.conflict("bob", "tablet", op("UPDATE", "l1", 3, stage="won"))
    assert (await desk.shown(gone))["ours"] is None, "bob has never seen it"
    assert (await desk.listed("ann"), await desk.listed("bob")) == ([id], [gone])
    assert await desk.listed() == [gone, id]
    assert await desk.listed(person("eve", role="admin")) == [gone, id]
    edge = Principal(kind="edge", name="north", role="operate", owners=frozenset({"ann"}))
    assert await desk.listed(edge) == [id]
    with pytest.raises(NoSuchConflict):
        await desk.resolve(id, "theirs", who=person("bob"))
    for who in (edge, person("ann", role="read"), Principal(kind="installation", name="readonly", role="read")):
        with pytest.raises(NotAllowed):
            await desk.resolve(id, "theirs", who=who)
    await desk.resolve(id, "theirs", who=person("ann"))
    assert (await desk.shown(id))["decided_by"] == "ann"


@pytest.mark.parametrize("take", ["ours", "theirs"])
async def test_who_guesses_the_id_of_a_record_learns_nothing_of_it_by_a_conflict(desk: Desk, take: Any) -> None:
    await desk.must("ann", "phone", op("CREATE", "l1", name="Somebody"))
    there = await desk.conflict("bob", "tablet", op("UPDATE", "l1", 1, stage="won"))
    nowhere = await desk.conflict("bob", "tablet", op("UPDATE", "l2", 1, stage="won"))
    one, other = [await desk.shown(id, person("bob")) for id in (there, nowhere)]
    told = {"id", "op_id", "record_id", "created_at", "decided_at"}
    assert {name: one[name] for name in one.keys() - told} == {name: other[name] for name in other.keys() - told}
    assert (one["record"], one["owner_id"]) == (None, None)
    assert (await desk.shown(there))["record"]["owner_id"] == "ann", "an admin has to decide it"
    with suppress(Unusable):
        await desk.resolve(there, take, who=person("bob"))
    assert (await desk.listed("ann"), await desk.listed("bob")) == ([], [nowhere, there])
    assert (await desk.shown(there, person("bob")))["record"] is None


async def test_a_record_that_becomes_anothers_takes_its_conflicts_along(desk: Desk) -> None:
    id = await desk.amounts()
    version, _, _ = await desk.record()
    answers = await desk.push(person("eve", role="admin"), "desk", op("UPDATE", "l1", version, owner_id="bob"))
    assert [one.result for one in answers] == ["applied"]
    assert (await desk.listed("ann"), await desk.listed("bob")) == ([], [id])
    await desk.resolve(id, "ours", who=person("bob"))


async def test_conflicts_are_found_by_what_is_asked_for(desk: Desk) -> None:
    one, other = await desk.amounts("l1"), await desk.amounts("l2")
    await desk.resolve(one, "ours")
    assert await desk.listed(open=True) == [other]
    assert await desk.listed(model="Payment") == []
    assert await desk.listed(model="Lead", limit=1) == [other]
    assert await desk.listed(after=other) == [one]


async def test_an_edge_decides_its_own_and_says_where_others_are_decided(db: Pool, redis: Redis) -> None:
    async with desk_on(db, redis, sync_upstream_url=UPSTREAM, sync_upstream_token="fmt_" + "x" * 43) as desk:
        id = await desk.amounts()
        await desk.resolve(id, "theirs")
        last = await db.fetchrow("SELECT operation, data::text, user_id FROM sync_queue ORDER BY id DESC LIMIT 1")
        assert last is not None
        assert (last[0], json.loads(last[1]), last[2]) == ("UPDATE", {"amount": "3"}, "ann")
        with pytest.raises(NoSuchConflict, match=f"one that its upstream {UPSTREAM} holds is resolved there"):
            await desk.resolve(id + 100, "theirs")

"""The plan of the leases: from one table every process makes the same plan, and the plans come to rest evenly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from math import ceil
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.redis.lease_table import Pair
from daemon.bus.assign import Plan, plan, score

WORKERS: Final = ("a", "b", "c")
NAMES: Final = st.text("abcdef0123456789", min_size=1, max_size=8)

Members = dict[str, frozenset[str]]
Owners = dict[Pair, str]
World = tuple[Members, Owners, list[Pair]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Members, of which some run some workers only, and pairs that are free, held, or held by a member that is gone."""
    members = draw(st.dictionaries(NAMES, st.frozensets(st.sampled_from(WORKERS)), min_size=1, max_size=6))
    pairs = [(worker, p) for worker in WORKERS for p in range(draw(st.integers(0, 12)))]
    holders = st.none() | st.sampled_from([*sorted(members), "gone"])
    owners = {pair: owner for pair in pairs if (owner := draw(holders)) is not None}
    return members, owners, pairs


def plans(members: Members, owners: Owners, pairs: list[Pair]) -> dict[str, Plan]:
    return {member: plan(member, members, owners, pairs) for member in members}


def step(members: Members, owners: Owners, pairs: list[Pair]) -> Owners:
    """The table when every member has done what its plan says."""
    after = dict(owners)
    for member, wanted in plans(members, owners, pairs).items():
        for pair in wanted.give:
            del after[pair]
        after |= dict.fromkeys(wanted.take, member)
    return after


def at_rest(members: Members, owners: Owners, pairs: list[Pair]) -> Owners:
    """The table that changes no more."""
    for _ in range(6):
        before, owners = owners, step(members, owners, pairs)
        if owners == before:
            return owners
    raise AssertionError("the plans do not come to rest")


def groups(members: Mapping[str, frozenset[str]], pairs: list[Pair]) -> dict[tuple[str, ...], list[Pair]]:
    """The members that run a worker -> the pairs of all such workers."""
    found: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[tuple(sorted(m for m, workers in members.items() if pair[0] in workers))].append(pair)
    return found


@given(worlds())
def test_from_one_table_the_plans_take_every_free_pair_once_and_nothing_else(world: World) -> None:
    members, owners, pairs = world
    taken = Counter(pair for wanted in plans(*world).values() for pair in wanted.take)
    served = {pair for pair in pairs if any(pair[0] in workers for workers in members.values())}
    assert taken == Counter(pair for pair in served if pair not in owners)


@given(worlds())
def test_no_member_gives_what_it_does_not_hold_or_both_gives_and_takes_of_one_worker(world: World) -> None:
    _, owners, pairs = world
    for member, wanted in plans(*world).items():
        assert all(owners.get(pair) == member for pair in wanted.give)
        for worker in WORKERS:
            group = {pair for pair in pairs if pair[0] == worker}
            assert not (wanted.take & group and wanted.give & group)


@given(worlds())
def test_a_member_that_does_not_run_a_worker_gets_none_of_its_pairs(world: World) -> None:
    members, _, _ = world
    for member, wanted in plans(*world).items():
        assert all(pair[0] in members[member] for pair in wanted.take)


@given(worlds())
def test_at_rest_the_shares_are_within_one_pair_of_each_other(world: World) -> None:
    members, owners, pairs = world
    owners = {pair: owner for pair, owner in owners.items() if owner in members and pair[0] in members[owner]}
    resting = at_rest(members, owners, pairs)
    for eligible, group in groups(members, pairs).items():
        held = Counter(resting[pair] for pair in group if pair in resting)
        assert sum(held.values()) == (len(group) if eligible else 0)
        shares = [held[member] for member in eligible]
        assert max(shares, default=0) - min(shares, default=0) <= 1
        for worker in {pair[0] for pair in group}:
            of_worker = Counter(resting[pair] for pair in group if pair in resting and pair[0] == worker)
            shares = [of_worker[member] for member in eligible]
            assert max(shares, default=0) - min(shares, default=0) <= 1


@given(worlds(), st.randoms(use_true_random=False))
def test_the_plan_follows_from_the_table_and_not_from_the_order_of_its_rows(world: World, rng: object) -> None:
    members, owners, pairs = world
    shuffled = list(pairs)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    turned = (dict(reversed(members.items())), dict(reversed(owners.items())), shuffled)
    assert plans(*world) == plans(*turned)


fleets = st.integers(1, 6).map(lambda n: [f"m{i}" for i in range(n)])


@given(fleets, st.integers(0, 64), NAMES)
@settings(deadline=None)
def test_a_member_that_joins_moves_no_more_than_its_share(fleet: list[str], count: int, newcomer: str) -> None:
    pairs = [("a", p) for p in range(count)]
    members = dict.fromkeys(fleet, frozenset("a"))
    before = at_rest(members, {}, pairs)
    members[f"new-{newcomer}"] = frozenset("a")
    after = at_rest(members, before, pairs)
    moved = [pair for pair in pairs if before[pair] != after[pair]]
    assert all(after[pair] == f"new-{newcomer}" for pair in moved)
    assert count // len(members) <= len(moved) <= ceil(count / len(members))


@given(fleets.filter(lambda fleet: len(fleet) > 1), st.integers(0, 64), st.integers(0, 5))
@settings(deadline=None)
def test_a_member_that_leaves_moves_only_what_it_held(fleet: list[str], count: int, which: int) -> None:
    pairs = [("a", p) for p in range(count)]
    members = dict.fromkeys(fleet, frozenset("a"))
    before = at_rest(members, {}, pairs)
    leaver = fleet[which % len(fleet)]
    del members[leaver]
    left = {pair: owner for pair, owner in before.items() if owner != leaver}
    after = at_rest(members, left, pairs)
    assert {pair: owner for pair, owner in after.items() if before[pair] != leaver} == left


@given(worlds())
def test_a_table_at_rest_stays_as_it_is(world: World) -> None:
    members, owners, pairs = world
    resting = at_rest(members, {p: o for p, o in owners.items() if o in members and p[0] in members[o]}, pairs)
    for wanted in plans(members, resting, pairs).values():
        assert wanted == Plan(frozenset(), frozenset())


def test_the_preference_of_a_member_for_a_pair_never_changes() -> None:
    assert score("m1", ("contact-sync", 3)) == 12237733646472927159

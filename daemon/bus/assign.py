"""Which member should hold which pairs: a plain decision that every process makes alike from the same table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

from adapters.redis.lease_table import Pair


@dataclass(frozen=True, slots=True)
class Plan:
    """What one member should do: *take* what is free, *give* what is over its share."""

    take: frozenset[Pair]
    give: frozenset[Pair]


def score(member: str, pair: Pair) -> int:
    """Rendezvous hashing: the score of *member* for *pair*. The member with the highest score has the first claim."""
    return int.from_bytes(blake2b(f"{member}/{pair[0]}/{pair[1]}".encode(), digest_size=8).digest())


def plan(
    me: str,
    members: Mapping[str, frozenset[str]],
    owners: Mapping[Pair, str],
    pairs: Collection[Pair],
) -> Plan:
    """The share of *me* in *pairs*.

    Members that run the same workers end within one pair of each other, of every worker and in all: a member with most
    pairs of a busy worker would be the slowest. A member keeps what it holds up to its share, so a member that joins or
    leaves moves the fewest pairs. A free pair goes to the member with the highest score that is below its share.
    """
    take: set[Pair] = set()
    give: set[Pair] = set()
    for eligible, group in _groups(members, pairs).items():
        extras = dict.fromkeys(eligible, 0)
        for _, of_worker in groupby(group if me in eligible else (), key=lambda pair: pair[0]):
            owned = {pair: owners.get(pair) for pair in of_worker}
            taken, given = _part(me, _shares(owned, extras), owned)
            take |= taken
            give |= given
    return Plan(frozenset(take), frozenset(give))


def _groups(members: Mapping[str, frozenset[str]], pairs: Collection[Pair]) -> dict[tuple[str, ...], list[Pair]]:
    """Pairs by the members that run their worker: any of these members can hold any pair of such a group."""
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in sorted(pairs):
        groups[tuple(sorted(m for m, workers in members.items() if pair[0] in workers))].append(pair)
    return groups


def _shares(owned: Mapping[Pair, str | None], extras: dict[str, int]) -> dict[str, int]:
    """How many of one worker's pairs each member should hold. Where they do not divide evenly, some members get one
    more: those with the fewest *extras* of other workers, and among these the ones that hold most. Updates *extras*."""
    least, over = divmod(len(owned), len(extras))
    held = Counter(owned.values())
    more = sorted(extras, key=lambda member: (extras[member], -held[member], member))[:over]
    for member in more:
        extras[member] += 1
    return {member: least + (member in more) for member in extras}


def _part(me: str, share: Mapping[str, int], owned: Mapping[Pair, str | None]) -> tuple[set[Pair], set[Pair]]:
    """What *me* takes and gives of one worker's pairs."""
    held = Counter(owned.values())
    mine = sorted((pair for pair, owner in owned.items() if owner == me), key=lambda pair: score(me, pair))
    given = set(mine[: max(len(mine) - share[me], 0)])
    room = {member: share[member] - held[member] for member in share}
    taken: set[Pair] = set()
    for pair in (pair for pair, owner in owned.items() if owner is None):
        willing = [member for member in share if room[member] > 0]
        if not willing:
            break
        best = max(willing, key=lambda member: score(member, pair))
        room[best] -= 1
        if best == me:
            taken.add(pair)
    return taken, given

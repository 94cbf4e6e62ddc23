"""Who should hold what: a plain decision that every process makes alike from the same table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from adapters.lease_table import Pair


@dataclass(frozen=True, slots=True)
class Plan:
    """What one member should do: *take* what is free, *give* what is over its share."""

    take: frozenset[Pair]
    give: frozenset[Pair]


def score(member: str, pair: Pair) -> int:
    """Rendezvous hashing: the liking of *member* for *pair*. The highest among the members has the first claim."""
    return int.from_bytes(blake2b(f"{member}/{pair[0]}/{pair[1]}".encode(), digest_size=8).digest())


def plan(
    me: str,
    members: Mapping[str, frozenset[str]],
    owners: Mapping[Pair, str],
    pairs: Collection[Pair],
) -> Plan:
    """The share of *me* in *pairs*.

    Members that run the same workers end within one pair of each other. Who holds something keeps it up to its share,
    so a member that joins or leaves moves the fewest pairs; what is free goes to whom it likes most and has room.
    """
    take: set[Pair] = set()
    give: set[Pair] = set()
    for eligible, group in _groups(members, pairs).items():
        if me in eligible:
            taken, given = _share(me, eligible, {pair: owners.get(pair) for pair in group})
            take |= taken
            give |= given
    return Plan(frozenset(take), frozenset(give))


def _groups(members: Mapping[str, frozenset[str]], pairs: Collection[Pair]) -> dict[tuple[str, ...], list[Pair]]:
    """Pairs by the members that run their worker: within such a group everybody can hold everything."""
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in sorted(pairs):
        groups[tuple(sorted(m for m, workers in members.items() if pair[0] in workers))].append(pair)
    return groups


def _share(me: str, eligible: tuple[str, ...], owners: Mapping[Pair, str | None]) -> tuple[set[Pair], set[Pair]]:
    held: dict[str, list[Pair]] = {member: [] for member in eligible}
    free: list[Pair] = []
    for pair, owner in owners.items():
        if owner is not None and owner in held:
            held[owner].append(pair)
        elif owner is None:
            free.append(pair)
    least, extra = divmod(len(owners), len(eligible))
    by_load = sorted(eligible, key=lambda m: (-len(held[m]), m))
    share = {member: least + (place < extra) for place, member in enumerate(by_load)}
    over = len(held[me]) - share[me]
    given = set(sorted(held[me], key=lambda pair: score(me, pair))[: max(over, 0)])
    room = {member: share[member] - len(held[member]) for member in eligible}
    taken: set[Pair] = set()
    for pair in free:
        willing = [member for member in eligible if room[member] > 0]
        if not willing:
            break
        best = max(willing, key=lambda m: score(m, pair))
        room[best] -= 1
        if best == me:
            taken.add(pair)
    return taken, given

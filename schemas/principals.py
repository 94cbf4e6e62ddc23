"""Who asks: a person, an edge, or the installation itself, by the token that was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["read", "operate", "admin"]
"""What a token allows: to read; to read and write; all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """*kind*: "user": a person, *name* is theirs; "edge": a branch office's daemon, which carries the records of its
    *owners* or of its *branch*; "installation": the tokens of the settings, which see everything. *branch*, of a
    person: where they work, and what records of theirs begin with. *token*: the stored token's id; None: of the
    settings."""

    kind: Literal["user", "edge", "installation"]
    name: str
    role: Role
    owners: frozenset[str] = frozenset()
    branch: str | None = None
    token: int | None = None

    @property
    def key(self) -> str:
        """What a replica is bound to, as `user:alice`."""
        return f"{self.kind}:{self.name}"

    @property
    def sees_all(self) -> bool:
        """Whether it reads every record."""
        return self.kind == "installation" or (self.kind == "user" and self.role == "admin")

    @property
    def audiences(self) -> frozenset[str]:
        """What it reads, where that is not everything: `o:OWNER` and `b:BRANCH`, as `sync_exits` names them."""
        if self.kind == "user":
            return frozenset({f"o:{self.name}"})
        of_owners = frozenset(f"o:{owner}" for owner in self.owners)
        return of_owners if self.branch is None else of_owners | {f"b:{self.branch}"}

    def reads(self, owner_id: str | None, branch: str | None) -> bool:
        """Whether it reads a record of *owner_id* and *branch*."""
        if self.kind == "user" and self.role != "admin":  # as their audience says it, at once
            return owner_id == self.name
        return self.sees_all or not self.audiences.isdisjoint(audiences_of(owner_id, branch))


def audiences_of(owner_id: str | None, branch: str | None) -> frozenset[str]:
    """Whom a record of *owner_id* and *branch* is for."""
    owner = frozenset() if owner_id is None else frozenset({f"o:{owner_id}"})
    return owner if branch is None else owner | {f"b:{branch}"}

"""stub"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.postgres.told_fields import Owner


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """Which side owns a field."""

    newest: frozenset[str] = frozenset()
    cgb: frozenset[str] = frozenset()

    def owner_of(self, name: str) -> Owner:
        return "newest" if name in self.newest else "cgb" if name in self.cgb else "orders"

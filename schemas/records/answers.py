"""What a server answers to operations, and the changes that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Result: TypeAlias = Literal["applied", "duplicate", "conflict", "rejected"]

REASONS: Final = (
    "model",
    "field",
    "unknown-record",
    "type",
    "required",
    "owner",
    "base-missing",
    "base-ahead",
    "clock-ahead",
    "too-large",
    "op-reused",
    "erased",
    "unstorable",
    "read-only",
    "version",
    "internal",
    "predecessor",
)
"""Why an operation is rejected; `version`: it was to apply at other versions alone. `clock-ahead`, `internal` and
`predecessor` may be sent again as they are or stamped anew; the others will never be accepted as they are."""

Decision: TypeAlias = Literal["ours", "theirs", "merged", "gone", "open"]
"""Whose value stands after a conflict: the server's, the operation's, one made of both; the record is not there any
more; or a person decides."""


@dataclass(slots=True, kw_only=True)  # not frozen, which takes nearly three times as long to make; nobody changes it
class Answer:
    """To one operation. *first*: of a duplicate, what was answered the first time. *record*: the server's record as it
    stands, where that is not what the operation makes of its base; never one that the asker may not read."""

    op_id: str | None
    result: Result
    version: int | None = None
    first: Result | None = None
    decision: Decision | None = None
    conflict_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    retry: bool = False
    record: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The answer as JSON: what it does not say is left out."""
        if self.result == "applied" and self.record is None:
            return {"op_id": self.op_id, "result": "applied", "version": self.version}
        said = {name: getattr(self, name) for name in _NAMES}
        kept = {name: value for name, value in said.items() if value is not None}
        if self.result == "rejected":
            kept["retry"] = self.retry
        return kept


_NAMES: Final = ("op_id", "result", "version", "first", "decision", "conflict_id", "reason", "detail", "record")

"""What a webhook source is: two plain functions and a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.envelope import Event
from schemas.errors import Malformed


class NoIdentity(Malformed):
    """The body names nothing that could be told from another delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A webhook source.

    secrets: the settings (lower-case names) that hold its secrets; without any the source is not served.
    verify: whether any one proof in the headers shows that the raw *body* is authentic; never raises.
    parse: the events of a body, given the raw bytes (they become the event's data) and the object they are.
    """

    name: str
    path: str
    secrets: tuple[str, ...]
    verify: Callable[[Mapping[str, str], bytes, Mapping[str, Sequence[str]]], bool]
    parse: Callable[[bytes, Mapping[str, Any], datetime], list[Event]]
    advice: str
    """What to tell a sender that was not believed."""

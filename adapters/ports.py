"""What an outside system must offer. One Protocol or record per role; adapters translate, never decide.

Every method of a Protocol makes at most the calls its docstring names, each with a deadline, and raises only the errors
of `schemas.errors`: Transient, Uncertain, ChannelDown, NotSent, Permanent (Refused, Malformed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from adapters.json_guard import parse_object
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.phone import Phone

if TYPE_CHECKING:
    from adapters.gate import Gate


class ContactDirectory(Protocol):
    """Contacts by phone: CGB, in its live and its documented style."""

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*, or None when there is none (ghost answers count as none)."""
        ...

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one request; return its id.

        Raises: Refused when the directory says that it exists already or that the draft is wrong.
        """
        ...

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* of an existing contact, all in one request."""
        ...

    async def field_names(self) -> frozenset[str] | None:
        """Names of the account's custom fields (cached CGB_CACHE_TIMEOUT seconds); None: the style has no such call
        and takes any name."""
        ...

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        """Whether *phone* is on WhatsApp; None where the service has no way to tell (live style: always, without a
        call)."""
        ...


class DirectoryStyle(Protocol):
    """How a directory is made. *base_url*, *api_key*: of the account. *cache_s*: how long what seldom changes there is
    believed."""

    def __call__(self, gate: Gate, *, base_url: str, api_key: str, cache_s: float) -> ContactDirectory: ...


class NoIdentity(Malformed):
    """The body names nothing that could be told from another delivery."""


@dataclass(slots=True)
class Webhook:
    """A webhook request as its source sees it. *url*: how the sender knows our address, query included."""

    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source's sender gets to hear in place of the ordinary answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"


Secrets: TypeAlias = Mapping[str, Sequence[str]]
"""Setting (lower-case name) -> the secrets in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A webhook source: plain functions and names.

    secrets: the settings that hold its secrets; without any the source is not served.
    verify: whether any one proof in the request shows that it is authentic; never raises.
    decode: what the raw body says, as `parse` takes it; raises Malformed. The ordinary one takes one JSON object.
    parse: the events of a request, given what `decode` made of it and the time of its arrival. Raises Malformed.
    advice: what a sender that was not believed is told.
    answer: what the sender hears when its events (their ids) are kept; None: 202 and the ids as JSON.
    challenge: what a GET with this query is answered; None for a query that is not a challenge of the source's. A
        source without it serves no GET.
    """

    name: str
    path: str
    secrets: tuple[str, ...]
    verify: Callable[[Webhook, Secrets], bool]
    parse: Callable[[Webhook, Any, datetime], list[Event]]
    advice: str
    decode: Callable[[bytes], Any] = parse_object
    answer: Callable[[Sequence[str]], Answer] | None = None
    challenge: Callable[[Mapping[str, str], Secrets], Answer | None] | None = None

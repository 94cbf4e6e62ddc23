"""What an outside system must offer. One Protocol or record per role; adapters translate, never decide.

Every method of a Protocol makes at most the calls its docstring names, each with a deadline, and raises only the errors
of `schemas.errors`: Transient, Uncertain, ChannelDown, NotSent, Permanent (Refused, Malformed).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from multidict import MultiMapping

from adapters.json_guard import parse_object
from schemas.contacts import ContactDraft, DirectoryContact, FieldValue
from schemas.envelope import Event
from schemas.errors import FerrymanError, Malformed, Transient
from schemas.messages import Content, OutboundMessage, Taken
from schemas.phone import Phone
from schemas.templates import TemplateDefinition

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from adapters.gate import Gate


class ContactDirectory(Protocol):
    """Contacts by phone: CGB, in its live and its documented style."""

    async def find(self, phone: Phone) -> DirectoryContact | None:
        """The contact of *phone*, or None when there is none (ghost answers count as none).

        Raises: Foreign when the directory answers with another person.
        """
        ...

    async def create(self, draft: ContactDraft) -> str:
        """Make the contact with its fields in one request; return its id.

        Nothing is written to a contact that exists: `find` shows it, and the caller decides.
        Raises: Exists when the directory says that it exists already; another Refused when the draft is wrong.
        """
        ...

    async def update(self, contact_id: str, fields: Mapping[str, FieldValue]) -> None:
        """Write *fields* of an existing contact, all in one request."""
        ...

    async def field_names(self) -> frozenset[str] | None:
        """Names of the account's custom fields (cached CGB_CACHE_TIMEOUT seconds); None: the style has no such call
        and takes any name."""
        ...


class DirectoryStyle(Protocol):
    """Makes a directory. *base_url*: of the account. *api_key*: gives its key, and is asked at each call, as the key
    may change. *cache_s*: for how many seconds the directory may reuse what seldom changes. *wanted*: the names of the
    fields that we would write; an account that lacks some of them is told in the log."""

    def __call__(
        self, gate: Gate, *, base_url: str, api_key: Callable[[], str], cache_s: float, wanted: Iterable[str] = ()
    ) -> ContactDirectory: ...


class NumberChecker(Protocol):
    """Tells which numbers are on WhatsApp, and reaches none of the people: CGB in its documented style, Whapi."""

    most: int
    """How many numbers one call may ask for."""

    async def check(self, phones: Sequence[Phone]) -> list[bool | None]:
        """Whether each of *phones* (at most `most`, all different) is on WhatsApp; one call. None: it does not say.

        Never raises Uncertain, as a question changes nothing.
        """
        ...


class CheckerMaker(Protocol):
    """Makes a checker. *base_url*: of the account. *api_key*: gives its key, and is asked at each call."""

    def __call__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str]) -> NumberChecker: ...


Claim: TypeAlias = Callable[[], Awaitable[None]]
"""Marks the message as being sent, durably. Raises NotSent where it is not to be sent any more."""


@dataclass(frozen=True, slots=True, repr=False)
class FetchedFile:
    """A file that was fetched. *content_type*: what its bytes show, not what its server says. *name*: its last part of
    the path, or one made of its type; fit for a file name."""

    name: str
    content_type: str
    body: bytes


LONGEST_FILE_S: Final = 180.0
"""For so long at most a message waits for its file: for those before it, until it is fetched, for its place at the rate
limit, and until it is uploaded."""


class Files(Protocol):
    """Fetches files of other people's servers, safely: no address inside our own network, no endless body."""

    async def fetch(self, url: str, most_bytes: int) -> FetchedFile:
        """The file at *url*, of at most *most_bytes*. Nothing is changed by it, so it may be asked again.

        Raises: Transient (no whole answer, 5xx); Refused (not there, too large, empty, or its address is not one that
        may be fetched).
        """
        ...


class Sender(Protocol):
    """Sends messages by one account of a provider."""

    def refusal(self, content: Content) -> str | None:
        """Why the provider cannot carry *content*, as a sentence that says what to do; None: it can. No call."""
        ...

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """Send one message, in one call that is made at most once; further calls before it only look.

        *claim* is awaited right before the first byte of that call, when its place at the rate limit is taken: what is
        raised before it has cost nothing. Raises: Transient (nothing was sent), Uncertain (it may have been), Refused
        (never), ChannelDown, NotSent; what *claim* raises.
        """
        ...


class Several(Transient):
    """More than one message of the provider's list may be the one that was looked for: *candidates*."""

    def __init__(self, text: str, candidates: Sequence[Taken]) -> None:
        super().__init__(text)
        self.candidates = tuple(candidates)


@runtime_checkable
class Reconciler(Protocol):
    """What a sender offers besides whose provider lists the messages that it has taken."""

    async def look_for(self, message: OutboundMessage, since: datetime) -> Taken | None:
        """Whether the provider has taken *message*, whose call began at *since* and whose answer was lost; reads only.
        None: its list is complete for that time and does not have the message.

        Raises: Transient where that cannot be told now, Several where more than one may be it; ChannelDown, NotSent.
        """
        ...


@runtime_checkable
class ReadMarker(Protocol):
    """What a sender offers besides whose provider can show a person that their messages have been read."""

    async def mark_read(self, message_id: str) -> None:
        """Show the person that their message of this id (the provider's), and those before it, have been read. One
        call; made again it changes nothing. Raises as `Sender.send`, but never Uncertain."""
        ...


class SenderMaker(Protocol):
    """Makes a sender. *account*: gives the account's values by their names (each sender's docstring has them), and is
    asked at each call, as a secret may change. *public_url*: how the outside reaches us, for providers that are told
    where to report; None: they are told nothing. *files*: fetches what a provider is to have by upload."""

    def __call__(
        self, gate: Gate, *, account: Callable[[], Mapping[str, str]], public_url: str | None, files: Files
    ) -> Sender: ...

    def refusal(self, content: Content) -> str | None:
        """As `Sender.refusal`, of every account of the provider: a static method of the sender's class."""
        ...


class TemplateList(Protocol):
    """Reads the templates of one account of a provider, and changes nothing."""

    async def read(self) -> list[TemplateDefinition]:
        """All templates of the account; a call for each page of its list. Nothing is returned where one page fails.

        Never raises Uncertain.
        """
        ...


class TemplateListMaker(Protocol):
    """Makes a list of templates. *account*: as of a SenderMaker."""

    def __call__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> TemplateList: ...


@dataclass(frozen=True, slots=True)
class Sign:
    """What a look at an account shows, as one line, and what to *do* about it, "" for nothing."""

    level: Literal["ok", "warn", "error"]
    text: str
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A look at an account that changes nothing there: whether its settings work, for an operator.

    system: its name in texts.
    values: the values of an account, and the settings that hold them (lower-case names).
    needs: the values without which nothing can be looked at.
    places: setting -> where the system's own pages show its value.
    look: at most a few reads, each with a deadline. Raises FerrymanError where the first of them fails.
    blamed: the settings that may be wrong when a read has failed so; none: no setting is at fault.
    """

    system: str
    values: Mapping[str, str]
    needs: tuple[str, ...]
    places: Mapping[str, str]
    look: Callable[[ClientSession, Mapping[str, str]], Awaitable[Sequence[Sign]]]
    blamed: Callable[[FerrymanError], Sequence[str]]


class NoIdentity(Malformed):
    """The body has no identity, so a second delivery of it could not be recognised."""


@dataclass(slots=True)
class Webhook:
    """A webhook request as its source sees it. *headers*: one name may come with several values. *url*: our address as
    the sender knows it, with the query; "" where FERRYMAN_PUBLIC_URL is not set."""

    headers: MultiMapping[str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that a source gives instead of the ordinary 202."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"


Secrets: TypeAlias = Mapping[str, Sequence[str]]
"""Setting (lower-case name) -> the secrets in force."""

Doubt: TypeAlias = Literal["missing", "clock", "key", "signature"]
"""Why a request is not proven: no proof at all, a right signature of another time, a wrong key, a wrong signature."""


def _body_decides(headers: MultiMapping[str], secrets: Secrets) -> bool | None:
    return None


def _wrong_signature(request: Webhook, secrets: Secrets) -> Doubt:
    return "signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A webhook source: plain functions and names.

    secrets: the settings that hold its secrets; without any the source is not served.
    early: what the header alone tells, before the body is read: true: the request is authentic; false: no body can make
        it so; None: the body decides, and `verify` is asked. Never raises.
    verify: whether any one proof in the request shows that it is authentic; never raises.
    doubt: for the operator, why a request is not proven; never raises.
    scheme: what a 401 names in WWW-Authenticate.
    decode: turns the raw body into what `parse` takes; raises Malformed. The default reads one JSON object.
    parse: the events of a request, from the result of `decode` and the time of arrival; raises Malformed.
    advice: tells a sender whose proof failed what to do.
    keeps_body: whether the data of its events are the body as it came, so that `parse` reads them again.
    answer: the answer for events (their ids) that are durable. A source without it answers 202 and the ids as JSON.
    sample: a test webhook with a proof by the secrets in force, at a time: `ferryman send-test` posts it. It makes one
        event, which every worker but the journal skips.
    sign: puts the proof of a sample on it, where our address belongs to the proof: *url* is set before. Without it the
        sample has its proof.
    challenge: the answer to a GET with this query, None for a query that is not this source's challenge. A source
        without it serves no GET.
    challenge_secrets: further settings that the challenge goes by; they prove no POST.
    set_up: the command that gives it its secret as well; "" for none.
    addressed: those of its secrets that serve it only where FERRYMAN_PUBLIC_URL is set: they are given for another
        purpose too, and its proof is over our address.
    entered: where at the sender an operator enters our address, and what else belongs there.
    """

    name: str
    path: str
    secrets: tuple[str, ...]
    verify: Callable[[Webhook, Secrets], bool]
    parse: Callable[[Webhook, Any, datetime], list[Event]]
    advice: str
    early: Callable[[MultiMapping[str], Secrets], bool | None] = _body_decides
    doubt: Callable[[Webhook, Secrets], Doubt] = _wrong_signature
    scheme: str = "Signature"
    decode: Callable[[bytes], Any] = parse_object
    keeps_body: bool = True
    answer: Callable[[Sequence[str]], Answer] | None = None
    sample: Callable[[Secrets, datetime], Webhook] | None = None
    sign: Callable[[Webhook, Secrets], None] | None = None
    challenge: Callable[[Mapping[str, str], Secrets], Answer | None] | None = None
    challenge_secrets: tuple[str, ...] = ()
    entered: str = ""
    addressed: tuple[str, ...] = ()
    set_up: str = ""

    @property
    def wanted(self) -> str:
        """The names of the settings of which one lets it be served."""
        return " or ".join(name.upper() for name in self.secrets)

    def lacks(self, secrets: Mapping[str, object], *, address_known: bool) -> str:
        """What is to be set before it can be served, "" for nothing. *secrets*: by setting, empty or None where it is
        not given. *address_known*: FERRYMAN_PUBLIC_URL is set."""
        given = [name for name in self.secrets if secrets.get(name)]
        if not given:
            return f"set {self.wanted}" + (f", or run `{self.set_up}`" if self.set_up else "")
        if not address_known and all(name in self.addressed for name in given):
            return "set FERRYMAN_PUBLIC_URL: its senders sign our address"
        return ""

"""What an outside system must offer where conversations are kept, understood and shown. As `adapters/ports.py`, of
which this is the other half: one Protocol or record per role; adapters translate, never decide.

Every method makes at most the calls its docstring names, each with a deadline, and raises only the errors of
`schemas.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from adapters.ports import FetchedFile, Files
from schemas.envelope import Event
from schemas.errors import Refused
from schemas.phone import Phone
from schemas.understanding import Intent, Transcript

if TYPE_CHECKING:
    from adapters.gate import Gate


class Transcriber(Protocol):
    """Turns speech into text."""

    most_bytes: int
    """The longest audio that it takes."""

    async def transcribe(self, body: bytes, content_type: str, name: str, language: str | None = None) -> Transcript:
        """What is said in the audio *body* of *content_type*; its file is called *name*. *language*: a hint by two
        letters. One call, a second one where its model does not take the first.

        Never raises Uncertain, as a question changes nothing. Raises: Refused (too large, too short, of a type that is
        not taken).
        """
        ...


class IntentClassifier(Protocol):
    """Tells what a text asks for."""

    async def classify(self, text: str, language: str) -> Intent | None:
        """The intent of *text*, which is probably of *language*; None where the answer is no usable one. One call; up
        to two more where the model does not take the first.

        Never raises Uncertain.
        """
        ...


class TranscriberMaker(Protocol):
    """Makes a transcriber. *base_url*: of the account. *api_key*: gives its key, and is asked at each call."""

    def __call__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str], model: str) -> Transcriber: ...


class ClassifierMaker(Protocol):
    """Makes a classifier; as a TranscriberMaker. *values*: field -> the values that it may have, in lower case."""

    def __call__(
        self,
        gate: Gate,
        *,
        base_url: str,
        api_key: Callable[[], str],
        model: str,
        values: Mapping[str, Sequence[str]],
    ) -> IntentClassifier: ...


class NoObject(Refused):
    """There is no such object in the store, or no such bucket."""


class BucketTaken(Refused):
    """The bucket's name belongs to somebody else, anywhere in the world: another name is needed."""


class ObjectStore(Protocol):
    """Keeps objects by bucket and path, durably once a call has returned: Google Cloud Storage, or files.

    Every call may be made again without harm, so none raises Uncertain. *bucket*, *path*: made of our own names alone,
    parts of a path parted by `/`.
    """

    async def ensure_bucket(self, name: str) -> None:
        """Make the bucket where it is not there, with its rules of ageing. Raises: BucketTaken."""
        ...

    async def put(self, bucket: str, path: str, body: bytes, content_type: str) -> None:
        """Keep an object, in the place of a former one. Raises: NoObject where there is no such bucket."""
        ...

    async def get(self, bucket: str, path: str) -> bytes:
        """The body of an object. Raises: NoObject."""
        ...

    async def delete(self, bucket: str, path: str) -> None:
        """Delete an object. That it is not there is no error."""
        ...

    def location(self, bucket: str, path: str) -> str:
        """Where an object is, as a URL for people: `gs://…` or `file://…`."""
        ...


class TokenFiles(Files, Protocol):
    """Fetches files also of servers that want to know who asks."""

    async def fetch(self, url: str, most_bytes: int, headers: Mapping[str, str] | None = None) -> FetchedFile:
        """As `Files.fetch`. *headers*: sent to the origin of *url* alone, and to none that it redirects to."""
        ...


class MediaSource(Protocol):
    """Fetches the files of messages that a provider keeps for those alone who have its token."""

    async def fetch(self, url: str | None, media_id: str | None, most_bytes: int) -> FetchedFile | None:
        """The file at *url*, or that the provider calls *media_id*; None: it is fetched as any other, or not at all.

        Raises: as `Files.fetch`. A refusal of the token has the code `http-401`.
        """
        ...


class MediaSourceMaker(Protocol):
    """Makes one. *account*: as of a SenderMaker."""

    def __call__(self, files: TokenFiles, *, account: Callable[[], Mapping[str, str]]) -> MediaSource: ...


class CrmPlace(NamedTuple):
    """A conversation in the CRM, and whose it is; *contact_id* None: that was not told."""

    conversation_id: int
    contact_id: int | None


@dataclass(frozen=True, slots=True, repr=False)
class CrmTalk:
    """A conversation as the CRM shows it. *attributes*: its custom ones."""

    contact_id: int | None
    status: str
    attributes: Mapping[str, Any]


class Crm(Protocol):
    """Contacts, conversations and labels of one account of a CRM: Chatwoot. All of it may be done again. Everything
    raises Refused where the token's owner may not see the conversation; Uncertain is raised by what changes something
    and may have been done."""

    async def place(self, phone: Phone, name: str | None) -> CrmPlace:
        """The conversation of *phone* in the WhatsApp inbox: one that is not resolved, else the latest; contact and
        conversation are made where there is none. *name*: for a contact that is made. Never raises Uncertain."""
        ...

    def forget(self, phone: Phone) -> None:
        """The conversation of *phone* is not there."""
        ...

    async def labels(self, conversation_id: int) -> list[str]:
        """The labels of a conversation. Raises: Refused where it is not there."""
        ...

    async def put_labels(self, conversation_id: int, labels: Sequence[str]) -> list[str]:
        """Give the conversation these labels and no others; returns those that it has then."""
        ...

    async def account_labels(self) -> Mapping[str, str]:
        """Title -> colour of the labels that the account has."""
        ...

    async def make_label(self, title: str, color: str, description: str) -> bool:
        """Make an account label; false: there is one by that title. Raises: Refused where the token's owner may not."""
        ...

    async def put_contact_attributes(self, contact_id: int, attributes: Mapping[str, Any]) -> None:
        """Write these custom attributes, and leave all others. Raises: Exists where another contact has the same phone
        or address: then Chatwoot takes no change of this one."""
        ...

    async def talk(self, conversation_id: int) -> CrmTalk:
        """How the conversation stands."""
        ...

    async def put_conversation_attributes(
        self, conversation_id: int, attributes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Give the conversation these custom attributes and, but in releases that merge, no others; returns those that
        it has then."""
        ...

    async def open(self, conversation_id: int) -> None:
        """Set the conversation open."""
        ...

    async def note(self, conversation_id: int, text: str, mark: str, since: datetime) -> None:
        """Write a private note, once: one with the same *mark* is looked for first, back to *since*."""
        ...


class CrmMaker(Protocol):
    """Makes a CRM. *account*: as of a SenderMaker."""

    def __call__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> Crm: ...


class Talk(NamedTuple):
    """A conversation as a CRM lists it. *newest*: the id of its newest message, 0 for none, None where that is not
    told. *shown*: as the CRM shows it, for its adapter alone."""

    id: int
    newest: int | None
    shown: Mapping[str, Any]


class TalkPage(NamedTuple):
    """Some messages of a conversation, as the events that their webhooks make; *newest*: the highest of their ids."""

    events: Sequence[Event]
    newest: int


class History(Protocol):
    """Tells what a CRM holds of the conversations of an account, and changes nothing there. The ids of messages count
    up over the whole account. Raises, in all calls: Transient; ChannelDown; Refused."""

    async def newest(self) -> int:
        """The id of the newest message of the account; 0: it has none."""
        ...

    async def changed(self, within_s: int, after: int) -> Sequence[Talk]:
        """The conversations in which something has happened in the last *within_s* seconds of the CRM's own clock, in
        all inboxes and states. There may be others among them. *after*: messages up to this id are of no interest."""
        ...

    def messages(self, talk: Talk, after: int, now: datetime) -> AsyncIterator[TalkPage]:
        """What has been written in *talk* behind the message *after*, oldest first. *now*: the time of the events.
        Nothing, where the conversation is gone."""
        ...

    def latest(self, talk: Talk, since: datetime, now: datetime) -> AsyncIterator[TalkPage]:
        """The same of what was written at *since* or later, newest page first."""
        ...


class HistoryMaker(Protocol):
    """Makes a history. *account*: as of a SenderMaker."""

    def __call__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> History: ...

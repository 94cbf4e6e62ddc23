"""A message to a person: what is to be sent, and how it stands. The names are those of `POST /api/v1/messages`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from uuid import UUID

from schemas.phone import Phone

MediaType: TypeAlias = Literal["image", "video", "audio", "document"]

Status: TypeAlias = Literal[
    "queued", "sending", "sent", "delivered", "read", "played", "failed", "uncertain", "skipped", "canceled"
]
"""`queued`: not sent yet. `sending`: the call is under way. `sent`: the provider has taken it. `uncertain`: it may have
been sent, and nobody knows. `skipped`: it was not to be sent. `canceled`: an operator took it back."""

RANKS: Final[Mapping[str, int]] = {
    "queued": 0,
    "sending": 1,
    "uncertain": 2,
    "sent": 3,
    "failed": 4,
    "delivered": 5,
    "read": 6,
    "played": 7,
}
"""A status of a higher rank goes before one of a lower rank, whatever arrives first: so every order of arrival ends the
same. A failure comes after `sent`; a message that has reached one device of the person has not failed. `read` implies
`delivered`."""

REACHED: Final = frozenset({"delivered", "read", "played"})
"""The message has reached the person."""


@dataclass(frozen=True, slots=True)
class Text:
    """Free text: only inside the customer-service window."""

    body: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template of the provider, by its *name* (CGB: a flow; Twilio: a ContentSid). *variables*: positional ("1", "2",
    …) or by the template's own names."""

    name: str
    language: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Media:
    """A file at *url*. The provider fetches it there, unless Ferryman does, as it does for hosts of ours."""

    url: str
    type: MediaType
    caption: str | None = None
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person may tap: *title* is shown, *value* comes back."""

    title: str
    value: str


@dataclass(frozen=True, slots=True)
class Choices:
    """Text with buttons, or with a list where there are more than a provider has buttons for."""

    text: str
    items: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class Reaction:
    """An emoji on one message of the chat, of either side. *message_id*: the provider's id of that message. *emoji*: ""
    takes the former one back."""

    message_id: str
    emoji: str


Content: TypeAlias = Text | Template | Media | Choices | Reaction


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OutboundMessage:
    """A message on its way to a sender. *id*: our own, which the provider gives back where it can. *name*: what the
    person is called, where that is known: some providers make a contact for the message. *conversation*: Chatwoot's
    number of the one that it belongs to, where there is one; other providers have none."""

    id: UUID
    to: Phone
    content: Content
    name: str | None = None
    conversation: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The provider has taken the message. *provider_id*: its own id of it, None where it gives none. *wa_id*: the
    WhatsApp id that it has found for the phone, where it says one."""

    provider_id: str | None
    wa_id: str | None = None

"""The customer of the demonstration's conversation: an invented person who writes in the simulated Chatwoot."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import Conversation, Message
from daemon.sandbox.openai import BYTES_A_SECOND, OpenAiSandbox

NAME: Final = "Noor Baak"
AREAS: Final = (202, 206, 212, 213, 214, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713)
"""Area codes of North America. In each of them the numbers 555-0100 to 555-0199 are kept for fiction."""

IDS_OF_A_RUN: Final = 100_000
_OPUS: Final = b"OggS" + b"\0" * 24 + b"OpusHead"


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a *phone*. What they do is told to the webhooks, as Chatwoot tells it."""

    chatwoot: ChatwootSandbox
    openai: OpenAiSandbox
    phone: str

    @property
    def talks(self) -> list[Conversation]:
        """Their conversations: a new one begins where the last one is resolved."""
        return [talk for talk in self.chatwoot.account.conversations.values() if f"+{talk.address}" == self.phone]

    def write(self, text: str) -> Message:
        """Write *text*."""
        return self.chatwoot.receive(self.phone, text, name=NAME)

    def tap(self, title: str, question: Message | None = None) -> Message:
        """Tap what *question* offers; None: the last question that offers it."""
        return self.chatwoot.tap(self.phone, title, question)

    def send(self, name: str, content_type: str, body: bytes) -> Message:
        """Send a file."""
        return self.chatwoot.receive(self.phone, files=[(name, content_type, body)])

    def speak(self, text: str) -> Message:
        """Send a voice note, in which the simulated OpenAI hears *text*. The file passes for one of four seconds;
        nobody else can hear anything in it."""
        digest = sha256(text.encode()).digest()
        body = _OPUS + digest + b"\1" * (4 * BYTES_A_SECOND - len(_OPUS) - len(digest))
        self.openai.switches.texts[sha256(body).hexdigest()] = text
        return self.send("voice.ogg", "audio/ogg", body)


def customer_of(run: int, chatwoot: ChatwootSandbox, openai: OpenAiSandbox) -> Customer:
    """The customer of a run, the first being 1. Ferryman remembers people and the ids of Chatwoot, while the account is
    simulated anew: so each run has a person, and ids, of its own."""
    chatwoot.account.count_from(run * IDS_OF_A_RUN)
    area, line = divmod(run % (100 * len(AREAS)), 100)
    return Customer(chatwoot, openai, f"+1{AREAS[area]}55501{line:02}")


def next_run(data_dir: Path) -> int:
    """The number of the run that begins with *data_dir*."""
    with (data_dir / "runs").open("ab") as file:  # a byte for each
        file.write(b".")
        return file.tell()

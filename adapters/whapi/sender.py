"""Messages by a Whapi channel. There are no templates and no window there, and no id of ours: what was sent comes back
as a message of our own (see the source).

Reactions, and what marks a message as read, are PUT on the message, and answered `{"success": …}`, without an id
(Whapi-Cloud/whapi-mcp: generated-mcp/reactToMessage.js, markMessageAsRead.js).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapters.gate import Gate
from adapters.http import coded
from adapters.ports import Claim, Files
from adapters.uploads import Uploaded, Uploads, is_ours
from adapters.whapi.client import OF_A_FILE, WhapiCalls
from adapters.whapi.looking import look_for
from schemas.cleaned import is_one_emoji
from schemas.errors import Refused, Transient, Uncertain
from schemas.messages import Choice, Choices, Content, Media, OutboundMessage, Reaction, Taken, Template, Text

TEXT_LENGTH: Final = 4096
CAPTION_LENGTH: Final = 1024
CHOICES_TEXT_LENGTH: Final = 1024
MOST_BUTTONS: Final = 3
MOST_ROWS: Final = 10
BUTTON_LENGTH: Final = 20
BUTTON_VALUE_LENGTH: Final = 256
ROW_LENGTH: Final = 24
ROW_VALUE_LENGTH: Final = 200
"""What WhatsApp itself takes, in characters; Whapi names no limits of its own."""

LIST_LABEL: Final = "☰"
"""What opens a list, in no language: the person's is not known here."""

_PERSON: Final = "@s.whatsapp.net"


class WhapiSender:
    """The `Sender` of a Whapi channel. *account* has `url`, the address of the API, and `token`, that of the channel;
    it may have `upload_hosts`, whose files go by the ids that Whapi gives them, as Whapi advises for files that go to
    several people (see `is_ours`).

    After a call that may or may not have sent its message, the channel is looked at before the next one: one that has
    lost its phone would leave every message in doubt.
    """

    def __init__(
        self, gate: Gate, *, account: Callable[[], Mapping[str, str]], public_url: str | None, files: Files
    ) -> None:
        self._account = account
        self._calls = WhapiCalls(gate, account()["url"], lambda: account()["token"])
        self._uploads = Uploads(files, self._calls.upload, taken={})
        self._doubted = False

    @staticmethod
    def refusal(content: Content) -> str | None:
        """See Sender."""
        match content:
            case Text(body):
                return _text_refusal("the text", body, TEXT_LENGTH)
            case Media():
                return _media_refusal(content)
            case Choices(text, items):
                return _text_refusal("the text above choices", text, CHOICES_TEXT_LENGTH) or _items_refusal(items)
            case Template():
                return "Whapi has no templates: send the text itself, or name another provider"
            case Reaction(_, emoji):
                return None if not emoji or is_one_emoji(emoji) else "WhatsApp shows one emoji as a reaction: give one"

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See Sender. Where the last call left it open what became of its message, one look goes before."""
        if (why := self.refusal(message.content)) is not None:
            raise Refused(f"Whapi: {why}")
        if self._doubted:
            await self._calls.demand_linked()
            self._doubted = False
        uploaded = await self._uploaded(message.content)
        call = _call_for(message, uploaded)
        try:
            answer = await self._calls.send(*call, claim=claim, about=message.to.digits)
        except Uncertain:
            self._doubted = True
            raise
        except Refused as error:
            if uploaded is None or not uploaded.remembered or not error.code.endswith(OF_A_FILE):
                raise
            self._uploads.forget(uploaded.id)
            raise coded(Transient(f"{error}: the file is uploaded anew"), error.code) from None
        if answer.get("sent") is False or answer.get("success") is False:
            raise coded(Refused("Whapi: it says that it has not sent the message, and not why"), "not-sent")
        if isinstance(message.content, Reaction):
            return Taken(None)
        taken = answer["message"]
        chat = taken.get("chat_id")
        person = isinstance(chat, str) and chat.endswith(_PERSON)
        return Taken(taken["id"].strip(), chat.removesuffix(_PERSON) if person else None)

    async def look_for(self, message: OutboundMessage, since: datetime) -> Taken | None:
        """See `Reconciler`."""
        if isinstance(message.content, Reaction):
            raise Transient("Whapi: its list does not tell our reactions: look at the phone")
        return await look_for(self._calls, f"{message.to.digits}{_PERSON}", message.content, since)

    async def mark_read(self, message_id: str) -> None:
        """See `ReadMarker`."""
        answer = await self._calls.mark(_place(message_id), _is_done, about=message_id)
        if answer["success"] is False:
            raise coded(Refused("Whapi: it says that it has not marked the message, and not why"), "not-marked")

    async def _uploaded(self, content: Content) -> Uploaded | None:
        """The file of *content*, where it goes by an id."""
        if not isinstance(content, Media) or not is_ours(content.url, self._account().get("upload_hosts", "")):
            return None
        self._calls.demand_open()  # no file is fetched while no message can go out
        return await self._uploads.of(content.url, content.type)


class _Call(NamedTuple):
    """A call that sends a message; the members are those of `WhapiCalls.send`."""

    path: str
    json: Mapping[str, Any]
    shape: Callable[[Any], bool]
    method: str = "POST"


def _call_for(message: OutboundMessage, uploaded: Uploaded | None) -> _Call:
    """The call that sends *message*. *uploaded*: its file, where Whapi has it."""
    to = {"to": f"{message.to.digits}{_PERSON}"}
    match message.content:
        case Text(body):
            return _Call("/messages/text", to | {"body": body}, _is_told)
        case Media(url, type, caption, filename):
            further = {"caption": caption, "filename": filename}
            if uploaded is not None:
                url, further["filename"] = uploaded.id, filename or (uploaded.name if type == "document" else None)
            named = {name: text for name, text in further.items() if text}
            return _Call(f"/messages/{type}", to | {"media": url} | named, _is_told)
        case Choices(text, items):
            return _Call("/messages/interactive", to | {"body": {"text": text}} | _tappable(items), _is_told)
        case Reaction(message_id, emoji):
            return _Call(f"{_place(message_id)}/reaction", {"emoji": emoji}, _is_done, "PUT")
        case Template():
            raise AssertionError("a template was refused before")


def _place(message_id: str) -> str:
    return f"/messages/{quote(message_id, safe='')}"


def _tappable(items: Sequence[Choice]) -> dict[str, Any]:
    """Buttons, or a list where there are more than a message has buttons for. Not in Meta's form."""
    if len(items) <= MOST_BUTTONS:
        buttons = [{"type": "quick_reply", "title": one.title, "id": one.value} for one in items]
        return {"type": "button", "action": {"buttons": buttons}}
    rows = [{"id": one.value, "title": one.title} for one in items]
    return {"type": "list", "action": {"list": {"label": LIST_LABEL, "sections": [{"rows": rows}]}}}


def _is_told(answer: Any) -> bool:
    """Whether *answer* tells what became of the message: its id, or that it was not sent."""
    taken = answer.get("message")
    has_id = isinstance(taken, dict) and isinstance(taken.get("id"), str) and bool(taken["id"].strip())
    return answer.get("sent") is False or has_id


def _is_done(answer: Any) -> bool:
    """Whether *answer* tells if something was done."""
    return isinstance(answer.get("success"), bool)


def _text_refusal(what: str, text: str, most: int) -> str | None:
    if not text.strip():
        return f"{what} is empty: write one"
    if len(text) > most:
        return f"{what} has {len(text)} characters, and at most {most} are taken: shorten or split it"
    return None


def _media_refusal(media: Media) -> str | None:
    if not media.url.startswith(("https://", "http://")):
        return "the address of the file does not start with https://: give one that Whapi can fetch"
    if media.caption and media.type == "audio":
        return "audio has no caption: send it as a text of its own"
    if media.caption and len(media.caption) > CAPTION_LENGTH:
        return f"the caption has {len(media.caption)} characters, and at most {CAPTION_LENGTH} are taken: shorten it"
    return None


def _items_refusal(items: Sequence[Choice]) -> str | None:
    if not items:
        return "there are no choices: give at least one, or send a text"
    if len(items) > MOST_ROWS:
        return f"there are {len(items)} choices, and a list has at most {MOST_ROWS}: give fewer"
    buttons = len(items) <= MOST_BUTTONS
    title, value = (BUTTON_LENGTH, BUTTON_VALUE_LENGTH) if buttons else (ROW_LENGTH, ROW_VALUE_LENGTH)
    for number, one in enumerate(items, 1):
        if not one.title.strip() or not one.value.strip():
            return f"choice {number} has no title or no value: give both"
        if len(one.title) > title:
            return f"the title of choice {number} has {len(one.title)} characters, and at most {title} are taken"
        if len(one.value) > value:
            return f"the value of choice {number} has {len(one.value)} characters, and at most {value} are taken"
    for what, texts in (("title", [one.title for one in items]), ("value", [one.value for one in items])):
        if len(set(texts)) < len(texts):
            return f"two choices have the same {what}: each needs its own"
    return None

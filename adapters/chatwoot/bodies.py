"""Messages as Chatwoot takes them, and what it cannot carry by a WhatsApp inbox. It checks no limits itself: what goes
over one of WhatsApp's is stored, and fails later. Lengths are in characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.chatwoot import templates
from adapters.chatwoot.wording import written
from adapters.http import Part
from adapters.ports import FetchedFile
from schemas.cleaned import visible
from schemas.errors import Refused
from schemas.media import path_at
from schemas.messages import Choice, Choices, Content, Media, MediaType, Reaction, Template, Text
from schemas.webhooks.chatwoot import MARKER

LONGEST_TEXT: Final = 4096
LONGEST_CAPTION: Final = 1024
LONGEST_QUESTION: Final = 1024
MOST_BUTTONS: Final = 3
MOST_ROWS: Final = 10
LONGEST_BUTTON: Final = 20
LONGEST_ROW: Final = 24
LONGEST_BUTTON_VALUE: Final = 256
LONGEST_ROW_VALUE: Final = 200
"""What WhatsApp takes."""

MEGABYTE: Final = 1024 * 1024
LARGEST_FILE: Final[Mapping[MediaType, int]] = {
    "image": 5 * MEGABYTE,
    "video": 16 * MEGABYTE,
    "audio": 16 * MEGABYTE,
    "document": 40 * MEGABYTE,
}
"""In bytes: WhatsApp's limits, but for documents, of which Chatwoot takes 40 MB where it is not told otherwise."""

_TAKEN: Final[Mapping[MediaType, tuple[str, ...]]] = {
    "image": ("image/jpeg", "image/png"),
    "video": ("video/mp4", "video/3gpp"),
    "audio": ("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg", "audio/x-m4a", "application/ogg"),
}
_SHOWN: Final = ("image/", "video/", "audio/")
"""Of these types Chatwoot sends a file as a picture, a film or a sound."""

_PLAIN_FILE: Final = "application/octet-stream"


def refusal(content: Content) -> str | None:
    """Why Chatwoot cannot carry *content*, as a sentence that says what to do; None where it can."""
    match content:
        case Text(body):
            return _length("the text", body, LONGEST_TEXT)
        case Template():
            return templates.refusal(content)
        case Media():
            return _of_media(content)
        case Choices():
            return _of_choices(content)
        case Reaction():
            return "Chatwoot has no call for reactions: send a text"


def text(content: Text, id: UUID) -> dict[str, Any]:
    """The request for a text."""
    return _request(id, content=written(content.body))


def choices(content: Choices, id: UUID) -> dict[str, Any]:
    """The request for choices: up to three are shown as buttons, others in a list. `quick_reply` says the same in the
    words of older programs that read the conversation; Chatwoot stores it and shows nothing of it."""
    items = [{"title": visible(one.title), "value": one.value} for one in content.items]
    marks = {"items": items, "quick_reply": {"type": "quick_reply", "values": items}}
    return _request(id, marks, content=written(content.text), content_type="input_select")


def template(body: Mapping[str, Any], id: UUID) -> dict[str, Any]:
    """The request for a template, of which `templates.body_of` has made *body*."""
    return _request(id, **body)


def media(content: Media, file: FetchedFile, id: UUID) -> list[Part]:
    """The parts of the form for a file. Raises: Refused where its bytes are not what WhatsApp shows as such."""
    taken = _TAKEN.get(content.type)
    kind = file.content_type.partition(";")[0].strip().lower()
    if taken is not None and kind not in taken:
        raise Refused(f"Chatwoot: the file is none that WhatsApp shows as {content.type}: send it as a document")
    if taken is None and kind.startswith(_SHOWN):
        kind = _PLAIN_FILE  # Chatwoot would send a picture as a picture
    named = "audio/ogg" if kind == "application/ogg" else kind
    fields = _request(id) | ({"content": written(content.caption)} if content.caption else {})
    shown = [Part(name, _shown(value)) for name, value in fields.items()]
    name = visible(content.filename or "").strip() or file.name
    return [*shown, Part("attachments[]", file.body, filename=name, content_type=named)]


def _request(id: UUID, marks: Mapping[str, Any] | None = None, **further: Any) -> dict[str, Any]:
    marked = {**(marks or {}), MARKER: str(id)}
    return {**further, "message_type": "outgoing", "private": False, "content_attributes": marked}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _of_media(content: Media) -> str | None:
    if path_at(content.url) is None:
        return "the file has no address that can be fetched: give one that begins with https://"
    if content.caption and content.type == "audio":
        return "audio has no caption: send it as a text of its own"
    return _length("the caption", content.caption, LONGEST_CAPTION) if content.caption else None


def _of_choices(content: Choices) -> str | None:
    count = len(content.items)
    if not 1 <= count <= MOST_ROWS:
        return f"there are {count} choices, and WhatsApp shows 1 to {MOST_ROWS}: give fewer or more"
    if why := _length("the text above choices", content.text, LONGEST_QUESTION):
        return why
    buttons = count <= MOST_BUTTONS
    title, value = (LONGEST_BUTTON, LONGEST_BUTTON_VALUE) if buttons else (LONGEST_ROW, LONGEST_ROW_VALUE)
    return next((why for one in content.items if (why := _of_choice(one, title, value))), _twice(content.items))


def _of_choice(one: Choice, title: int, value: int) -> str | None:
    return _length("the title of a choice", visible(one.title), title) or _length(
        "the value of a choice", one.value, value
    )


def _twice(items: Sequence[Choice]) -> str | None:
    for what, texts in (("title", [visible(one.title) for one in items]), ("value", [one.value for one in items])):
        if len({text.casefold() for text in texts}) < len(texts):
            return f"two choices have the same {what}: each needs its own"
    return None


def _length(what: str, text: str, most: int) -> str | None:
    if not visible(text).strip():
        return f"{what} is empty: write one"
    if len(text) > most:
        return f"{what} has {len(text)} characters, and at most {most} are taken: shorten or split it"
    return None

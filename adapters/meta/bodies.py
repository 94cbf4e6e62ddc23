"""Messages as Meta's Cloud API takes them, and what it cannot carry. Lengths are in characters."""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import splitext
from typing import Any, Final

from adapters.meta import templates
from adapters.uploads import Uploaded
from schemas.cleaned import is_one_emoji, visible
from schemas.media import WORDS, path_at
from schemas.messages import Choice, Choices, Content, Media, MediaType, Reaction, Template, Text

LONGEST_TEXT: Final = 4096
LONGEST_CAPTION: Final = 1024
LONGEST_QUESTION: Final = 1024

MOST_BUTTONS: Final = 3
MOST_ROWS: Final = 10
LONGEST_BUTTON: Final = 20
LONGEST_ROW: Final = 24
LONGEST_VALUE: Final = 200
"""What comes back of a choice: a list's row has the shorter id."""

OPENER: Final = "Choose"
"""The button that opens a list."""

_NOT_TAKEN: Final[Mapping[str, frozenset[str]]] = {
    "image": frozenset({".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".svg"}),
    "video": frozenset({".mov", ".avi", ".mkv", ".webm", ".wmv", ".gif"}),
    "audio": frozenset({".wav", ".flac", ".wma", ".aiff"}),
}


def refusal(content: Content) -> str | None:
    """Why Meta cannot carry *content*, as a sentence that says what to do; None where it can."""
    match content:
        case Text():
            return _length("the text", shown(content.body), LONGEST_TEXT)
        case Template():
            return templates.refusal(content)
        case Media():
            return _of_media(content)
        case Choices():
            return _of_choices(content)
        case Reaction(_, emoji):
            return None if not emoji or is_one_emoji(emoji) else "WhatsApp shows one emoji as a reaction; give one"


def file_of(content: Content) -> tuple[str, MediaType] | None:
    """The address and the kind of the file that *content* shows, where it shows one; of one that is not refused."""
    match content:
        case Media():
            return content.url, content.type
        case Template():
            return templates.file_of(content)
    return None


def body_of(content: Content, uploaded: Uploaded | None = None) -> dict[str, Any]:
    """The part of a request that says what is sent; of a content that is not refused. *uploaded*: its file, where Meta
    has it; else the file goes by its address."""
    match content:
        case Text():
            return {"type": "text", "text": {"body": shown(content.body), "preview_url": False}}
        case Template():
            return {"type": "template", "template": templates.body_of(content, uploaded)}
        case Media():
            return {"type": content.type, content.type: _file(content, uploaded)}
        case Choices():
            return {"type": "interactive", "interactive": _question(content)}
        case Reaction(message_id, emoji):
            return {"type": "reaction", "reaction": {"message_id": message_id, "emoji": emoji}}


def shown(text: str) -> str:
    """*text* as it is sent: without control and bidirectional characters, with its lines."""
    return "\n".join(visible(line) for line in text.splitlines())


def _file(media: Media, uploaded: Uploaded | None) -> dict[str, str]:
    file = templates.file_body(media.url, media.type, uploaded)
    if media.caption:
        file["caption"] = shown(media.caption)
    if media.filename and media.type == "document":  # WhatsApp shows the name of no other file
        file["filename"] = visible(media.filename)
    return file


def _question(choices: Choices) -> dict[str, Any]:
    items = [(visible(item.title), item.value) for item in choices.items]
    question = {"body": {"text": shown(choices.text)}}
    if _fit_buttons(choices.items):
        buttons = [{"type": "reply", "reply": {"id": value, "title": title}} for title, value in items]
        return {"type": "button", **question, "action": {"buttons": buttons}}
    rows = [{"id": value, "title": title} for title, value in items]
    return {"type": "list", **question, "action": {"button": OPENER, "sections": [{"rows": rows}]}}


def _fit_buttons(items: Any) -> bool:
    return len(items) <= MOST_BUTTONS and all(len(visible(item.title)) <= LONGEST_BUTTON for item in items)


def _of_media(media: Media) -> str | None:
    path = path_at(media.url)
    if path is None:
        return "the file has no address that WhatsApp can fetch; give one that begins with https://"
    ending = splitext(path)[1].lower()
    if ending in _NOT_TAKEN.get(media.type, ()):
        return f"WhatsApp takes no {ending} file as {media.type}; send {WORDS[media.type]}, or send it as a document"
    if media.caption and media.type == "audio":
        return "WhatsApp shows no caption with audio; send the text as a message of its own"
    return _length("the caption", shown(media.caption), LONGEST_CAPTION) if media.caption else None


def _of_choices(choices: Choices) -> str | None:
    count, titles = len(choices.items), [visible(item.title).strip() for item in choices.items]
    if not 1 <= count <= MOST_ROWS:
        return f"WhatsApp shows 1 to {MOST_ROWS} choices, and these are {count}; offer fewer"
    for name, distinct in (("titles", titles), ("values", [item.value for item in choices.items])):
        if len(set(distinct)) < count:
            return f"two choices have the same {name[:-1]}; give each its own"
    if why := _length("the text above the choices", shown(choices.text), LONGEST_QUESTION):
        return why
    return next((why for item in choices.items if (why := _of_choice(item))), None)


def _of_choice(item: Choice) -> str | None:
    return _length("the title of a choice", visible(item.title), LONGEST_ROW) or _length(
        "the value of a choice", item.value, LONGEST_VALUE
    )


def _length(what: str, text: str, most: int) -> str | None:
    if not text.strip():
        return f"{what} is empty; write something"
    return f"{what} is longer than {most} characters; shorten it" if len(text) > most else None

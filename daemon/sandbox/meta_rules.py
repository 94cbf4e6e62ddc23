"""What Meta's Cloud API takes of a message: its shape, and the lengths and numbers of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple


class Wrong(NamedTuple):
    """Why a message is not taken."""

    code: int
    details: str


def wrong(body: Any) -> Wrong | None:
    """What is wrong with the body of a send; None for nothing."""
    if not isinstance(body, dict) or body.get("messaging_product") != "whatsapp":
        return Wrong(100, "The parameter messaging_product is required.")
    if not isinstance(body.get("to"), str) or not body["to"].removeprefix("+").isdigit():
        return Wrong(100, "The parameter to is required.")
    if len(str(body.get("biz_opaque_callback_data", ""))) > 512:
        return Wrong(131009, "biz_opaque_callback_data is too long")
    kind = str(body.get("type"))
    part, rule = body.get(kind), _RULES.get(kind)
    if rule is None or not isinstance(part, dict):
        return Wrong(100, "Param type must be one of the known, with an object of its name")
    details = rule(part)
    return None if details is None else Wrong(131009, details)


def _text(part: Mapping[str, Any]) -> str | None:
    return _within("text.body", part.get("body"), 4096)


def _file(*, caption: bool) -> Callable[[Mapping[str, Any]], str | None]:
    def check(part: Mapping[str, Any]) -> str | None:
        if ("link" in part) == ("id" in part) or not str(part.get("link", "https://")).startswith("http"):
            return "one of link and id is required"
        if "caption" in part and not caption:
            return "caption is not supported"
        return _within("caption", part.get("caption", "x"), 1024)

    return check


def _reaction(part: Mapping[str, Any]) -> str | None:
    return None if part.get("message_id") and isinstance(part.get("emoji"), str) else "message_id is required"


def _template(part: Mapping[str, Any]) -> str | None:
    if not part.get("name") or not isinstance(part.get("language"), dict) or not part["language"].get("code"):
        return "name and language.code are required"
    for component in part.get("components", ()):
        for parameter in component["parameters"]:
            text = parameter.get("text", "x")
            if parameter["type"] == "text" and (not text or "\n" in text or "\t" in text or " " * 5 in text):
                return "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
        if component["type"] == "button" and ("index" not in component or "sub_type" not in component):
            return "index and sub_type are required"
    return None


def _interactive(part: Mapping[str, Any]) -> str | None:
    if why := _within("body.text", part.get("body", {}).get("text"), 1024):
        return why
    action = part.get("action", {})
    if part.get("type") == "button":
        items = [one["reply"] for one in action.get("buttons", ())]
        return _items(items, most=3, title=20, id=256)
    if part.get("type") == "list":
        rows = [row for section in action.get("sections", ()) for row in section["rows"]]
        return _within("action.button", action.get("button"), 20) or _items(rows, most=10, title=24, id=200)
    return "interactive.type is not known"


def _items(items: list[Any], *, most: int, title: int, id: int) -> str | None:
    if not 1 <= len(items) <= most:
        return f"there must be 1 to {most} of them"
    for name, longest in (("title", title), ("id", id)):
        if len({one[name] for one in items}) < len(items):
            return f"duplicated {name}"
        if why := next((why for one in items if (why := _within(name, one[name], longest))), None):
            return why
    return None


def _within(name: str, text: Any, most: int) -> str | None:
    return None if isinstance(text, str) and 0 < len(text) <= most else f"{name} must have 1 to {most} characters"


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "text": _text,
    "template": _template,
    "interactive": _interactive,
    "reaction": _reaction,
    "image": _file(caption=True),
    "video": _file(caption=True),
    "document": _file(caption=True),
    "audio": _file(caption=False),
}

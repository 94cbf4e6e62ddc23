"""What a message says, as JSON and back: the form of the table `messages` and of `message.requested`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from schemas.errors import Malformed
from schemas.messages import Choice, Choices, Content, Media, Reaction, Template, Text
from schemas.template_parts import FALLBACK

KINDS: Final[Mapping[type, str]] = {
    Text: "text",
    Template: "template",
    Media: "media",
    Choices: "choices",
    Reaction: "reaction",
}


def kind_of(content: Content) -> str:
    """The name of its kind, as the API has it."""
    return KINDS[type(content)]


def to_json(content: Content) -> dict[str, Any]:
    """*content* as a JSON object."""
    return asdict(content)


def from_json(kind: str, told: Mapping[str, Any]) -> Content:
    """The content of a JSON object that `to_json` has made. Raises: Malformed."""
    try:
        match kind:
            case "text":
                return Text(**told)
            case "template":
                return Template(**told)
            case "media":
                return Media(**told)
            case "choices":
                return Choices(told["text"], tuple(Choice(**item) for item in told["items"]))
            case "reaction":
                return Reaction(**told)
    except (TypeError, KeyError) as exc:
        raise Malformed(f"the message's {kind} has not its members") from exc
    raise Malformed("the message is of an unknown kind")


def parted(content: Content) -> tuple[Content, Text | None]:
    """*content* as it is sent, and the text to send where it cannot be: `fallback_message` among the variables of a
    template is none of them."""
    if not isinstance(content, Template) or FALLBACK not in content.variables:
        return content, None
    text = content.variables[FALLBACK].strip()
    kept = {name: value for name, value in content.variables.items() if name != FALLBACK}
    return replace(content, variables=kept), Text(text) if text else None

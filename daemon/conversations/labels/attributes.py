"""Which attributes of contacts the rules of labels write, and of which kind each is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from daemon.conversations.labels.rules import LabelRules

Kind: TypeAlias = Literal["text", "number", "list", "checkbox"]


class Attribute(NamedTuple):
    """*values*: all that the rules give it, of a list; in the order of the file."""

    key: str
    kind: Kind
    values: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """As people read it: `lead_score` is `Lead score`."""
        return self.key.replace("_", " ").capitalize()


def attributes(rules: LabelRules) -> list[Attribute]:
    """Those that enabled rules write, in the order of the file."""
    given: dict[str, dict[bool | int | str, None]] = {}
    for rule in rules.rules:
        for key, value in rule.then.attributes.items() if rule.enabled else ():
            given.setdefault(key, {})[value] = None
    return [_attribute(key, values) for key, values in given.items()]


def _attribute(key: str, values: Iterable[bool | int | str]) -> Attribute:
    """Of the kind that all *values* have; a text, where they have several kinds."""
    kinds = {_kind(value) for value in values}
    if kinds == {"list"}:
        return Attribute(key, "list", tuple(str(value) for value in values))
    return Attribute(key, kinds.pop() if len(kinds) == 1 else "text")


def _kind(value: bool | int | str) -> Kind:
    if isinstance(value, bool):
        return "checkbox"
    if isinstance(value, int):
        return "number"
    if value.startswith("{") and value.endswith("}"):
        return "number"  # {amount}, {score}, {messages}
    return "list"

"""The labels of conversations, and the rules that give them: `labels.toml`. Nothing here reads a file, and nothing
decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple, TypeAlias

from pydantic import AfterValidator, Field

from daemon.conversations.labels.faults import faults
from daemon.rules.files import RuleFile
from daemon.rules.parts import AnyLanguage, Flag, Integer, Part, Slug

LONGEST_VALUE: Final = 1500
"""Of a text as an attribute: what Chatwoot takes of a conversation's."""


def _attribute(name: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]{0,59}", name):
        return name
    raise ValueError("must be small letters, digits and underscores, as lead_score")


def _color(text: str) -> str:
    if re.fullmatch("#[0-9A-Fa-f]{6}", text):
        return text
    raise ValueError('must be # and six digits of 0 to 9 and A to F, as "#1F93FF"')


AttributeName: TypeAlias = Annotated[str, AfterValidator(_attribute)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Title: TypeAlias = Annotated[str, Field(min_length=1, max_length=255)]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_VALUE)]
Whole: TypeAlias = Annotated[Integer, Field(ge=-9_999_999_999, le=9_999_999_999)]
Value: TypeAlias = Flag | Whole | Text
Words: TypeAlias = Mapping[AnyLanguage, tuple[Word, ...]]


class Label(Part):
    """How a label looks in Chatwoot."""

    color: Annotated[str, AfterValidator(_color)]
    description: Annotated[str, Field(max_length=500)] = ""


class Group(Part):
    """Labels that belong together. *exclusive*: a conversation has one of them at most."""

    exclusive: Flag = False
    labels: Mapping[Title, Label] = Field(default_factory=dict)


class Range(Part):
    """Numbers, both ends among them; None: no end."""

    least: Integer | None = Field(default=None, alias="from")
    most: Integer | None = Field(default=None, alias="to")

    def __contains__(self, number: int) -> bool:
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)


class When(Part):
    """All that must hold, as `daemon/rules/shipped/labels.toml` says."""

    words: Words | None = None
    amount: Flag = False
    messages: Range | None = None
    score: Range | None = None
    channel: Annotated[str, Field(min_length=1, max_length=60)] | None = None


class Then(Part):
    """What a rule gives."""

    labels: tuple[Title, ...] = ()
    score: Annotated[Integer, Field(ge=-100, le=100)] = 0
    attributes: Mapping[AttributeName, Value] = Field(default_factory=dict)


class LabelRule(Part):
    """One rule."""

    name: Slug
    enabled: Flag = True
    when: When
    then: Then


class Shown(NamedTuple):
    """An account label as it is to be made."""

    title: str
    color: str
    description: str


class LabelRules(Part):
    """What `labels.toml` says."""

    negations: Words = Field(default_factory=dict)
    groups: Mapping[Slug, Group]
    rules: tuple[LabelRule, ...] = ()

    def catalog(self) -> list[Shown]:
        """Every label, in the order of the file."""
        return [
            Shown(title, one.color, one.description) for g in self.groups.values() for title, one in g.labels.items()
        ]

    def rivals(self) -> dict[str, frozenset[str]]:
        """Label of an exclusive group -> all labels of that group."""
        exclusive = [frozenset(group.labels) for group in self.groups.values() if group.exclusive]
        return {title: titles for titles in exclusive for title in titles}


LABELS: Final[RuleFile[LabelRules]] = RuleFile("labels.toml", LabelRules, faults)

"""Which labels and attributes a message gives its writer: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from daemon.conversations.labels.amounts import largest_amount
from daemon.conversations.labels.rules import LabelRule, LabelRules
from daemon.conversations.labels.words import Phrases

Attributes: TypeAlias = Mapping[str, bool | int | str]

MOST_SCORE: Final = 100


@dataclass(frozen=True, slots=True, repr=False)
class Said:
    """A message. *number*: which message of the person it is, the first being 1. *channel*: None: it is not known."""

    text: str | None
    number: int
    channel: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Tags:
    """What follows from a message. *heard*: the rules whose words it says. *anew*: labels of these. *standing*: labels
    of how the person stands, whatever this message says. *attributes*: of the contact; *of_standing*: the names of
    those that follow from how the person stands."""

    heard: frozenset[str] = frozenset()
    anew: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    score: int = 0
    of_standing: frozenset[str] = frozenset()


class Tagger:
    """Goes by *rules*."""

    def __init__(self, rules: LabelRules) -> None:
        self._rules = [rule for rule in rules.rules if rule.enabled]
        self._rivals = rules.rivals()
        spoken = {rule.name: rule.when.words for rule in self._rules if rule.when.words is not None}
        given = {name: [word for of in words.values() for word in of] for name, words in spoken.items()}
        self._phrases = Phrases(given, [word for words in rules.negations.values() for word in words])

    def tag(self, said: Said, earlier: Iterable[str]) -> Tags:
        """What *said* gives. *earlier*: the rules whose words the person has said in earlier messages."""
        text = said.text or ""
        amount = largest_amount(text)
        found = self._phrases.found_in(text)
        spoken = [rule for rule in self._rules if rule.name in found and _holds(rule, said, amount, None)]
        heard = frozenset(rule.name for rule in spoken)
        score = self._score(heard.union(earlier))
        standing = [rule for rule in self._rules if rule.when.words is None and _holds(rule, said, amount, score)]
        numbers = {"{amount}": amount or 0, "{score}": score, "{messages}": said.number}
        attributes = {
            name: numbers.get(value, value) if isinstance(value, str) else value
            for rule in (*standing, *spoken)
            for name, value in rule.then.attributes.items()
        }
        anew = self._labels(spoken)
        of_standing = frozenset(name for rule in standing for name in rule.then.attributes)
        return Tags(heard, anew, self._labels(standing, anew), attributes, score, of_standing)

    def _score(self, heard: frozenset[str]) -> int:
        points = sum(rule.then.score for rule in self._rules if rule.name in heard)
        return max(0, min(MOST_SCORE, points))

    def _labels(self, rules: Iterable[LabelRule], before: Iterable[str] = ()) -> tuple[str, ...]:
        """The labels of *rules*: of an exclusive group the first one, and none where *before* has one."""
        taken: dict[str, None] = {}
        for title in (title for rule in rules for title in rule.then.labels):
            rivals = self._rivals.get(title, frozenset())
            if not rivals.intersection(taken) and not rivals.intersection(before):
                taken[title] = None
        return tuple(taken)


def _holds(rule: LabelRule, said: Said, amount: int | None, score: int | None) -> bool:
    when = rule.when
    return (
        (not when.amount or amount is not None)
        and (when.messages is None or said.number in when.messages)
        and (when.channel is None or when.channel == said.channel)
        and (when.score is None or (score is not None and score in when.score))
    )

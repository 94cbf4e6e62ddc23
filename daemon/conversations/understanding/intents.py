"""What a person wants by their words: a note, or an order and what it says of itself. Values in, values out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from daemon.conversations.understanding.intent_rules import DEFAULT_LANGUAGE, IntentRule, IntentRules
from daemon.conversations.understanding.phrases import Hit, Phrases, Word, cleaned, phrase_of, words_of
from daemon.rules.parts import ANY
from schemas.understanding import MOST_UNDERSTOOD, MOST_VALUE, Intent

REFS: Final = "refs"
"""The param that holds the words with a # before them."""

_MOST_TAGS: Final = 10
_MOST_TOPIC_WORDS: Final = 20
_OF_AN_INTENT: Final = 3
"""How much more words of an intent say of a language than others."""


@dataclass(frozen=True, slots=True)
class Intents:
    """The rules, ready to be looked for. *phrases*, *unless*: by language; the numbers are those of the rules."""

    rules: IntentRules
    phrases: Mapping[str, Phrases]
    unless: Mapping[str, Phrases]

    @classmethod
    def of(cls, rules: IntentRules) -> Intents:
        """The rules of `intents.toml`."""
        spoken = (*rules.languages, ANY)
        return cls(
            rules,
            {name: _phrases(rules, name, [rule.where.words for rule in rules.rules]) for name in spoken},
            {name: _phrases(rules, name, [rule.where.unless for rule in rules.rules]) for name in spoken},
        )

    def hits(self, text: Sequence[Word], language: str) -> list[Hit]:
        """Where the words of the rules of *language* are, those that are taken back apart."""
        back: dict[int, set[int]] = {}
        for number, start, end in self.unless[language].found_in(text):
            back.setdefault(number, set()).update(range(start, end))
        found = self.phrases[language].found_in(text)
        return [hit for hit in found if back.get(hit.number, set()).isdisjoint(range(hit.start, hit.end))]


def _phrases(rules: IntentRules, language: str, texts: Sequence[Sequence[str]]) -> Phrases:
    numbered = [
        (number, phrase_of(text))
        for number, (rule, several) in enumerate(zip(rules.rules, texts, strict=True))
        if language in rule.when.language
        for text in several
    ]
    known = rules.languages.get(language)
    return Phrases.of(numbered, "" if known is None else known.prefixes)


def understood(text: str, intents: Intents, language: str | None = None) -> Intent:
    """What *text* asks for. *language*: what the person is known to speak, a hint alone. Never raises."""
    shown = cleaned(text[:MOST_UNDERSTOOD])[:MOST_UNDERSTOOD]
    words = words_of(shown)
    rules = intents.rules.rules
    hits = {name: intents.hits(words, name) for name in intents.phrases}
    meant = {name: [hit for hit in found if rules[hit.number].then.intent] for name, found in hits.items()}
    spoken = _language(shown, words, intents, hits, meant, _letters(language))
    asked = meant.get(spoken, []) + meant[ANY]
    if not asked:
        other = intents.rules.otherwise
        reason = "no words of a rule" if words else "no words"
        return Intent(other.intent, other.confidence, reason, _params_of(other.intent, {}), spoken)
    rule = rules[min(hit.number for hit in asked)]
    said = _said(shown, words, rules, hits.get(spoken, []) + hits[ANY])
    kind, sure = rule.then.intent, rule.then.confidence
    assert kind is not None
    return Intent(kind, sure, f"words of the rule {rule.name}", _params_of(kind, said), spoken)


def _params_of(kind: str, params: Mapping[str, str]) -> Mapping[str, str]:
    return params if kind == "ORDER" else {}


def _letters(language: str | None) -> str | None:
    """The two letters of a language, as of "pt_BR"."""
    found = (language or "").strip().lower()[:2]
    return found if len(found) == 2 and found.isascii() and found.isalpha() else None


def _language(
    shown: str,
    words: Sequence[Word],
    intents: Intents,
    hits: Mapping[str, Sequence[Hit]],
    meant: Mapping[str, Sequence[Hit]],
    hint: str | None,
) -> str:
    """The language of the text: that of its script; else whose words it has most of; else the hint; else English."""
    known = intents.rules.languages
    for name, language in known.items():
        if language.script is not None and _is_written_in(shown, language.script):
            return name
    said = {word.folded for word in words}
    scores = {
        name: _OF_AN_INTENT * bool(meant[name]) + len(hits[name]) + len(said.intersection(language.common))
        for name, language in known.items()
    }
    ordered = [name for name in known if meant[name]] or list(known)
    most = max(scores[name] for name in ordered)
    if most == 0:
        return hint or (DEFAULT_LANGUAGE if DEFAULT_LANGUAGE in known else next(iter(known)))
    best = [name for name in ordered if scores[name] == most]
    return hint if hint in best else best[0]


def _is_written_in(text: str, script: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return 2 * sum(_script_of(c).startswith(script) for c in letters) > len(letters)


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "")


def _said(shown: str, words: Sequence[Word], rules: Sequence[IntentRule], hits: Sequence[Hit]) -> Mapping[str, str]:
    """The params that the text names."""
    params: dict[str, str] = {}
    taken: set[int] = set()
    fixed = [hit for hit in hits if rules[hit.number].then.value is not None]
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        then = rules[hit.number].then
        if then.takes is None or then.param is None or then.param in params:
            continue
        rest = _rest(words, hit.end, fixed)
        value = " ".join(shown[words[rest[0]].start : words[rest[-1]].end].lower().split()) if rest else ""
        if 0 < len(value) <= MOST_VALUE:
            params[then.param] = value
            taken.update(rest)
    for hit in sorted(fixed, key=lambda hit: (hit.start - hit.end, hit.start)):
        then = rules[hit.number].then
        if then.param is not None and then.value is not None and taken.isdisjoint(range(hit.start, hit.end)):
            params.setdefault(then.param, then.value)
    tags = dict.fromkeys(shown[word.start : word.end].lower() for word in words if word.kind == "tag")
    if tags:
        params[REFS] = " ".join(list(tags)[:_MOST_TAGS])[:MOST_VALUE]
    return params


def _rest(words: Sequence[Word], at: int, fixed: Sequence[Hit]) -> range:
    """The words from *at* to the end of what they say: the sentence, a #word, or where another param is named in words
    of its own, as in "for linkedin", or after a comma."""
    stops = set(_stops(words, at, fixed))
    end = at
    while end < len(words) and end - at < _MOST_TOPIC_WORDS and words[end].kind in ("word", "comma"):
        if end in stops:
            break
        end += 1
    while end > at and words[end - 1].kind != "word":
        end -= 1
    while at < end and words[at].kind != "word":
        at += 1
    return range(at, end)


def _stops(words: Sequence[Word], at: int, fixed: Sequence[Hit]) -> Iterator[int]:
    for hit in fixed:
        alone = hit.start > at and words[hit.start - 1].kind == "comma"
        if hit.start >= at and (alone or hit.end - hit.start > 1):
            yield hit.start

"""The rules of intents: `intents.toml`. Nothing here reads a file, and nothing decides."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from daemon.conversations.understanding.phrases import cleaned, phrase_of
from daemon.rules.files import RuleFile
from daemon.rules.parts import ANY, Language, Part, Slug, listed
from daemon.rules.problems import Fault, visible
from schemas.folding import word_folded
from schemas.understanding import MOST_VALUE, Kind

DEFAULT_LANGUAGE: Final = "en"


def _phrase(text: str) -> str:
    phrase_of(text)
    return text


def _word(text: str) -> str:
    folded = word_folded(cleaned(text))
    if any(c.isspace() for c in text) or not folded:
        raise ValueError("must be one word")
    return folded


def _small(text: str) -> str:
    if text != text.lower().strip() or not text:
        raise ValueError("must be in small letters, without blanks at its ends")
    return text


def _filled(several: tuple[str, ...]) -> tuple[str, ...]:
    if not several:
        raise ValueError("is empty: write at least one")
    return several


def _script(name: str) -> str:
    try:
        unicodedata.lookup(f"{name.upper()} LETTER A")
    except KeyError:
        try:
            unicodedata.lookup(f"{name.upper()} LETTER ALEF")
        except KeyError:
            raise ValueError('must be a script by its name in Unicode, as "hebrew"') from None
    return name.upper()


PhraseText: TypeAlias = Annotated[str, Field(max_length=500), AfterValidator(_phrase)]
Confidence: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1)]


class Known(Part):
    """What a language is known by, and letters that its words may begin with."""

    common: tuple[Annotated[str, AfterValidator(_word)], ...] = ()
    script: Annotated[str, AfterValidator(_script)] | None = None
    prefixes: Annotated[str, Field(max_length=20)] = ""


class When(Part):
    """Of which languages the words of a rule are. In the file *language* may also be a single one."""

    language: Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_filled)]


class Where(Part):
    """Phrases of which one must be there, and those that take a match back."""

    words: Annotated[tuple[PhraseText, ...], AfterValidator(_filled)]
    unless: tuple[PhraseText, ...] = ()


class Then(Part):
    """What follows: an intent; or a value of a param, or with *takes* the rest of the sentence as its value."""

    intent: Kind | None = None
    confidence: Confidence = 0.7
    param: Slug | None = None
    value: Annotated[str, Field(max_length=MOST_VALUE), AfterValidator(_small)] | None = None
    takes: Literal["rest"] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.intent is None) == (self.param is None):
            raise ValueError("must have one of intent and param")
        if self.param is not None and (self.value is None) == (self.takes is None):
            raise ValueError('needs one of value and takes = "rest" for its param')
        if self.intent is not None and (self.value is not None or self.takes is not None):
            raise ValueError("has a value, which belongs to a param and not to an intent")
        return self


class IntentRule(Part):
    """Words of a language, and what follows from them."""

    name: Slug
    when: When
    where: Where
    then: Then


class Otherwise(Part):
    """What is meant where no rule says anything."""

    intent: Kind
    confidence: Confidence


class IntentRules(Part):
    """What `intents.toml` says."""

    otherwise: Otherwise
    languages: Annotated[Mapping[Language, Known], Field(min_length=1)]
    rules: tuple[IntentRule, ...]

    @property
    def values(self) -> Mapping[str, tuple[str, ...]]:
        """The values that each param may have, of those that do not take what a person says."""
        found: dict[str, dict[str, None]] = {}
        for rule in self.rules:
            if rule.then.param is not None and rule.then.value is not None:
                found.setdefault(rule.then.param, {})[rule.then.value] = None
        return {name: tuple(known) for name, known in found.items()}


def _across(document: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong between the parts of a document that nothing has checked yet."""
    rules, languages = document.get("rules"), document.get("languages")
    known = set(languages) if isinstance(languages, dict) else set()
    names: dict[str, int] = {}
    said: dict[tuple[str, str, str], tuple[int, object]] = {}
    for at, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        name = rule.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Fault(("rules", at, "name"), f"is the name of rule {names[name] + 1} too: give it another one")
        spoken = _texts(rule, "when", "language")
        for language in spoken:
            if language != ANY and language not in known:
                text = f'{visible(language)} is not among the languages: add [languages.{visible(language)}], or "*"'
                yield Fault(("rules", at, "when", "language"), text)
        yield from _contradictions(at, rule, spoken, said)


def _contradictions(
    at: int, rule: Mapping[str, Any], spoken: list[str], said: dict[tuple[str, str, str], tuple[int, object]]
) -> Iterator[Fault]:
    """A fault for each phrase that an earlier rule gives another value of the same param. *said*: what they give."""
    then = rule.get("then")
    if not isinstance(then, dict) or not isinstance(param := then.get("param"), str):
        return
    for n, phrase in enumerate(_texts(rule, "where", "words")):
        for language in spoken:
            earlier, value = said.setdefault((language, param, word_folded(cleaned(phrase))), (at, then.get("value")))
            if value != then.get("value"):
                text = f"stands in rule {earlier + 1} with another value of {visible(param)}: take it out of one"
                yield Fault(("rules", at, "where", "words", n), text)


def _texts(rule: Mapping[str, Any], part: str, key: str) -> list[str]:
    table = rule.get(part)
    found = table.get(key) if isinstance(table, dict) else None
    listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return [text for text in listed if isinstance(text, str)]


INTENTS: Final[RuleFile[IntentRules]] = RuleFile("intents.toml", IntentRules, _across)

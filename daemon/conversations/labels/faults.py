"""What is wrong between the parts of `labels.toml`: labels that no group has, and keys that do not go together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from daemon.conversations.labels.words import tokens_of
from daemon.rules.parts import table
from daemon.rules.problems import Fault, KeyPath, visible
from schemas.labels import NoTitle, title_of

_PLACE: Final = re.compile(r"\{[^{}]*\}")
_PLACES: Final = ("{amount}", "{score}", "{messages}")


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """All of them. *document* is parsed and not yet checked: any part may have any shape."""
    known: dict[str, KeyPath] = {}
    for name, group in table(document, "groups").items():
        for title in table(group, "labels"):
            yield from _of_title(("groups", name, "labels", title), title, known)
    yield from _of_words(("negations",), table(document, "negations"), open_end=False)
    rules = document.get("rules")
    names: dict[str, int] = {}
    for at, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        called = rule.get("name")
        if isinstance(called, str) and names.setdefault(called, at) != at:
            yield Fault(("rules", at, "name"), f"is the name of rule {names[called] + 1} too: give each its own")
        yield from _of_rule(("rules", at), rule, known)


def _of_title(path: KeyPath, title: str, known: dict[str, KeyPath]) -> Iterator[Fault]:
    try:
        right = title_of(title)
    except NoTitle as exc:
        yield Fault(path, f"is no title: {exc}")
        return
    if right != title:
        yield Fault(path, f"is no title that Chatwoot takes: write {visible(right)}")
    if known.setdefault(right, path) != path:
        yield Fault(path, f"stands in the group {visible(str(known[right][1]))} too: give it one group")


def _of_rule(path: KeyPath, rule: Mapping[str, Any], known: Mapping[str, KeyPath]) -> Iterator[Fault]:
    when, then = table(rule, "when"), table(rule, "then")
    spoken = "words" in when
    if not set(when) - {"amount"}:
        yield Fault((*path, "when"), "needs words, messages, score or channel")
    if when.get("amount") is True and not spoken:
        yield Fault((*path, "when", "amount"), "needs words beside it: an amount alone tells of no budget")
    if when.get("words") == {}:
        yield Fault((*path, "when", "words"), 'names no language: write one as nl = […], or "*" = […] for all')
    yield from _of_words((*path, "when", "words"), table(when, "words"), open_end=True)
    for key in ("messages", "score"):
        yield from _of_range((*path, "when", key), when.get(key))
    if spoken and "score" in when:
        yield Fault((*path, "when", "score"), "stands beside words, which make the score: take one of them out")
    if then.get("score") and not spoken:
        yield Fault((*path, "then", "score"), "needs words in `when`: points are for what a person says")
    labels = then.get("labels")
    for at, title in enumerate(labels if isinstance(labels, list) else ()):
        if isinstance(title, str) and title not in known:
            yield Fault((*path, "then", "labels", at), f"{visible(title)} stands in no group: add it to one")
    if not any(then.get(key) for key in ("labels", "score", "attributes")):
        yield Fault((*path, "then"), "gives nothing: write labels, score or attributes")
    yield from _of_attributes((*path, "then", "attributes"), table(then, "attributes"), when)


def _of_words(path: KeyPath, words: Mapping[str, Any], *, open_end: bool) -> Iterator[Fault]:
    for language, given in words.items():
        for at, word in enumerate(given if isinstance(given, list) else ()):
            if not isinstance(word, str):
                continue
            stem = word.removesuffix("*") if open_end else word
            if not tokens_of(stem):
                yield Fault((*path, language, at), "has no letter or digit: no message could have it")
            elif "*" in stem:
                yield Fault((*path, language, at), "has a star that is not at the end of a rule's word")
            elif stem != word and len(tokens_of(stem)[-1]) < 3:
                yield Fault((*path, language, at), "goes on after fewer than three letters: it would be in any message")


def _of_range(path: KeyPath, given: Any) -> Iterator[Fault]:
    if not isinstance(given, dict):
        return
    least, most = given.get("from"), given.get("to")
    if least is None and most is None:
        yield Fault(path, "needs from, to, or both")
    elif isinstance(least, int) and isinstance(most, int) and least > most:
        yield Fault(path, "has from above to: no number is between")


def _of_attributes(path: KeyPath, attributes: Mapping[str, Any], when: Mapping[str, Any]) -> Iterator[Fault]:
    for name, value in attributes.items():
        if not isinstance(value, str) or not (found := _PLACE.findall(value)):
            continue
        if value not in _PLACES:
            unknown = visible(found[0])
            yield Fault((*path, name), f"{unknown} must be all of the value, and one of {', '.join(_PLACES)}")
        elif value == "{amount}" and when.get("amount") is not True:
            yield Fault((*path, name), "needs amount = true in `when`")

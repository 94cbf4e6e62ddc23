"""intents.toml: what is wrong with one is told by its line and key; and what its phrases find."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.understanding.intent_rules import INTENTS, IntentRules
from daemon.conversations.understanding.intents import Intents, understood
from daemon.conversations.understanding.phrases import Phrases, cleaned, phrase_of, words_of
from daemon.rules.files import check, load

FILE = """otherwise = { intent = "NOTE", confidence = 0.8 }
[languages.en]
[[rules]]
name = "order"
when = { language = "en" }
where = { words = ["write [a] post"] }
then = { intent = "ORDER", confidence = 0.7 }
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "intents.toml").write_text(text)
    place = f"{tmp_path / 'intents.toml'}"
    return [str(problem).removeprefix(f"{place}:") for problem in check(tmp_path, [INTENTS])]


def changed(old: str, new: str) -> str:
    assert old in FILE
    return FILE.replace(old, new)


WORDS = "6: rules[1].where.words[1]: "
UNKNOWN = "5: rules[1].when.language: "
PARAM = """[[rules]]
name = "PLACE"
when = { language = "en" }
where = { words = ["blog"] }
then = { param = "platform", value = "PLACE" }
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (changed('"en" }', '"fr" }'), [UNKNOWN + 'fr is not among the languages: add [languages.fr], or "*"']),
        (
            changed('"write [a] post"', '"write [a post"'),
            [WORDS + "has a bracket or a bar that is not paired: write (a|b) or [a|b]"],
        ),
        (changed('"write [a] post"', '"[a]"'), [WORDS + "needs a word that must be there"]),
        (changed('"write [a] post"', '"... post"'), [WORDS + "must begin with a word"]),
        (
            changed('"write [a] post"', '"(a|b c) post"'),
            [WORDS + 'must have single words, without signs: between ( and | for one of several, "*" at an end'],
        ),
        (changed('["write [a] post"]', "[]"), ["6: rules[1].where.words: is empty: write at least one"]),
        (changed('intent = "ORDER"', 'intent = "DELETE"'), ["7: rules[1].then.intent: must be 'NOTE' or 'ORDER'"]),
        (changed("0.7", "7"), ["7: rules[1].then.confidence: must be 1.0 at most"]),
        (changed('intent = "ORDER", ', ""), ["7: rules[1].then: must have one of intent and param"]),
        (
            changed('intent = "ORDER"', 'param = "topic"'),
            ['7: rules[1].then: needs one of value and takes = "rest" for its param'],
        ),
        (
            changed('intent = "ORDER"', 'param = "platform", value = "LinkedIn"'),
            ["7: rules[1].then.value: must be in small letters, without blanks at its ends"],
        ),
        (
            changed("where =", "were ="),
            [
                "3: rules[1].where: is missing: add it",
                "6: rules[1].were: is no key that may stand here: did you mean where?",
            ],
        ),
        (FILE + PARAM.replace("PLACE", "order"), ["9: rules[2].name: is the name of rule 1 too: give it another one"]),
        (
            FILE + PARAM.replace("PLACE", "blog") + PARAM.replace("PLACE", "twitter"),
            ["16: rules[3].where.words[1]: stands in rule 2 with another value of platform: take it out of one"],
        ),
        (
            changed("[languages.en]", '[languages.en]\nscript = "klingon"'),
            ['3: languages.en.script: must be a script by its name in Unicode, as "hebrew"'],
        ),
        (
            changed("[languages.en]", "[languages.english]"),
            [
                "2: languages.english: must be a language by its two letters, as he",
                UNKNOWN + 'en is not among the languages: add [languages.en], or "*"',
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_by_line_and_key(tmp_path: Path, text: str, wanted: list[str]) -> None:
    assert problems(tmp_path, text) == wanted


def test_a_sound_file_of_another_language_counts(tmp_path: Path) -> None:
    text = changed("[languages.en]", '[languages.sv]\ncommon = ["och"]').replace('"en"', '"sv"')
    text = text.replace("write [a] post", "skriv [ett] inlägg*")
    assert problems(tmp_path, text) == []
    intents = Intents.of(load(tmp_path, INTENTS))
    found = understood("Skriv INLAGGET", intents)
    assert (found.kind, found.language) == ("ORDER", "sv")
    assert understood("hej", intents).language == "sv"


KEYS = st.sampled_from(["when", "where", "then", "language", "words", "param", "name", "rules", "languages"])
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["rules", "languages", "otherwise"]), junk))
def test_what_is_looked_at_across_the_parts_may_have_any_shape(document: dict[str, object]) -> None:
    """Promise: a wrong file is told, and never a crash."""
    assert all(isinstance(fault.text, str) for fault in INTENTS.across(document))


def found(phrase: str, text: str, prefixes: str = "") -> list[str]:
    shown = cleaned(text)
    words = words_of(shown)
    hits = Phrases.of([(0, phrase_of(phrase))], prefixes).found_in(words)
    return [shown[words[hit.start].start : words[hit.end - 1].end] for hit in hits]


@pytest.mark.parametrize(
    ("phrase", "text", "wanted"),
    [
        ("post", "a post, another POST", ["post", "POST"]),
        ("post", "posts poste repost", []),
        ("post*", "posts poste repost", ["posts", "poste"]),
        ("(write|draft) [a] post", "write post; draft a post", ["write post", "draft a post"]),
        ("write ... post", "write me one more post", ["write me one more post"]),
        ("write ... post", "write me one more nice post", []),
        ("write ... post", "write me. A post", []),
        ("write ... post", "write, please, a post", ["write, please, a post"]),
        ("about it $", "about it! about it now. about it", ["about it", "about it"]),
        ("[the] topic is", "the topic is", ["the topic is", "topic is"]),
        ("publicacao", "Publicação", ["Publicação"]),
        ("don't", "don’t", ["don't"]),
    ],
)
def test_a_phrase_finds_what_it_says(phrase: str, text: str, wanted: list[str]) -> None:
    assert found(phrase, text) == wanted


def test_a_word_is_found_behind_the_prefixes_of_its_language() -> None:
    assert found("פוסט", "ולפוסט", "והבלשמכ") == ["ולפוסט"]
    assert found("פוסט", "ולפוסט") == []
    assert found("על", "מעל", "מ") == []  # too short to be told from another word


@given(st.text(max_size=300))
def test_a_phrase_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        phrase = phrase_of(text)
    except ValueError as error:
        told = str(error)
        assert told.startswith(("has ", "needs ", "must "))
    else:
        assert "" not in {*Phrases.of([(0, phrase)]).stems, *Phrases.of([(0, phrase)]).words}


def test_the_shipped_file_has_the_values_that_orders_are_asked_for() -> None:
    rules: IntentRules = load(None, INTENTS)
    assert set(rules.values["platform"]) == {"linkedin", "instagram", "twitter", "blog"}
    assert set(rules.values["length"]) == {"short", "medium", "long"}
    assert set(rules.values["tone"]) == {"professional", "casual", "friendly", "authoritative"}
    assert "topic" not in rules.values

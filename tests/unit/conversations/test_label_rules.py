"""labels.toml: what is wrong with one is told by its line and key; the shipped one holds the whole taxonomy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.labels.faults import faults
from daemon.conversations.labels.rules import LABELS
from daemon.rules.files import SHIPPED, check
from schemas.labels import is_title

RULES = """[groups.interest.labels]
interest-audi = { color = "#1F93FF" }
[[rules]]
name = "audi"
when = { words = { nl = ["audi"] } }
then = { labels = ["interest-audi"], score = 10 }
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "labels.toml").write_text(text)
    return [str(one).removeprefix(f"{tmp_path / 'labels.toml'}:") for one in check(tmp_path, [LABELS])]


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    assert problems(tmp_path, RULES) == []
    assert problems(tmp_path, "groups = {}\n") == []


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('"#1F93FF"', '"blue"', "2: groups.interest.labels.interest-audi.color: must be # and six digits"),
        ("interest-audi = {", "Interest-Audi = {", "no title that Chatwoot takes: write interest-audi"),
        ("interest-audi = {", "x = {", "is no title: a label needs two letters"),
        ('["interest-audi"]', '["interest-bmw"]', "6: rules[1].then.labels[1]: interest-bmw stands in no group"),
        ('["audi"]', '["!"]', "5: rules[1].when.words.nl[1]: has no letter or digit"),
        ('["audi"]', '["a*di"]', "has a star that is not at the end"),
        ('["audi"]', '["au*"]', "goes on after fewer than three letters"),
        ('{ nl = ["audi"] }', "{}", "5: rules[1].when.words: names no language"),
        ("nl =", "dutch =", "must be a language by its two letters"),
        ('when = { words = { nl = ["audi"] } }', "when = {}", "needs words, messages, score or channel"),
        ('when = { words = { nl = ["audi"] } }', "when = { amount = true }", "needs words beside it"),
        ('when = { words = { nl = ["audi"] } }', "when = { messages = {} }", "needs from, to, or both"),
        ('when = { words = { nl = ["audi"] } }', "when = { messages = { from = 3, to = 2 } }", "has from above to"),
        ('when = { words = { nl = ["audi"] } }', 'when = { channel = "sms" }', "score: needs words in `when`"),
        ("} }\nthen", "}, score = { from = 1 } }\nthen", "stands beside words"),
        ('labels = ["interest-audi"], score = 10', "", "6: rules[1].then: gives nothing"),
        ("score = 10", 'attributes = { a = "{amount}" }', "needs amount = true"),
        ("score = 10", 'attributes = { a = "{what}" }', "{what} must be all of the value"),
        ("score = 10", 'attributes = { a = "{score} of 100" }', "{score} must be all of the value"),
        ("score = 10", "attributes = { A = 1 }", "must be small letters, digits and underscores"),
        ("score = 10", "attributes = { a = 1.5 }", "rules[1].then.attributes.a"),
        ("score = 10", "points = 10", "is no key that may stand here"),
        ('name = "audi"\n', 'name = "audi"\nthen = 1\n', "Cannot overwrite"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_key(tmp_path: Path, old: str, new: str, wanted: str) -> None:
    assert old in RULES
    found = problems(tmp_path, RULES.replace(old, new, 1))
    assert any(wanted in problem for problem in found), found


def test_doubled_names_and_labels_are_told(tmp_path: Path) -> None:
    again = RULES.partition("[[rules]]")[2]
    assert any("is the name of rule 1 too" in one for one in problems(tmp_path, RULES + "[[rules]]" + again))
    twice = '[groups.make.labels]\ninterest-audi = { color = "#1F93FF" }\n'
    assert any("stands in the group interest too" in one for one in problems(tmp_path, RULES + twice))


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_KEYS = st.sampled_from(["groups", "labels", "rules", "name", "when", "then", "words", "score", "attributes", "nl"])
_DEEP = st.recursive(_ANY, lambda inner: st.dictionaries(_KEYS, inner | st.lists(inner, max_size=2), max_size=4))


@given(st.dictionaries(_KEYS, _DEEP, max_size=5))
def test_no_shape_of_a_document_breaks_the_search_for_faults(document: dict[str, object]) -> None:
    list(faults(document))


def test_the_shipped_labels_are_the_taxonomy() -> None:
    rules = SHIPPED(LABELS)
    titles = [one.title for one in rules.catalog()]
    assert len(titles) == len(set(titles)) >= 30
    assert all(is_title(title) for title in titles)
    wanted = {"journey-first-contact", "interest-volkswagen", "preference-diesel", "intent-ready-to-buy", "hot-lead"}
    assert wanted <= set(titles)
    assert {name for name, group in rules.groups.items() if group.exclusive} == {"journey", "quality", "engagement"}
    written = {name for rule in rules.rules for name in rule.then.attributes}
    assert written == {
        "lead_score", "lead_quality", "interest_level", "urgency", "interested_in_make", "interested_in_model",
        "interested_in_fuel_type", "budget_max", "test_drive_requested", "has_trade_in", "needs_financing",
        "conversation_stage",
    }  # fmt: skip

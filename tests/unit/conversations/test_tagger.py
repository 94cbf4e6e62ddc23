"""The tagger: what a message gives, as a table."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.labels.amounts import largest_amount
from daemon.conversations.labels.rules import LABELS, LabelRules
from daemon.conversations.labels.tagger import Said, Tagger
from daemon.conversations.labels.words import Phrases
from daemon.rules.files import SHIPPED

RULES = SHIPPED(LABELS)
TAGGER = Tagger(RULES)


@pytest.mark.parametrize(
    ("text", "labels", "attributes"),
    [
        ("Ik zoek een Volkswagen", {"interest-volkswagen"}, {"interested_in_make": "Volkswagen"}),
        ("VOLKSWAGENS!", {"interest-volkswagen"}, {"interested_in_make": "Volkswagen"}),
        ("de vw-golf", {"interest-volkswagen"}, {"interested_in_model": "Golf"}),
        ("een diesel graag", {"preference-diesel"}, {"interested_in_fuel_type": "diesel"}),
        ("geen diesel", set(), {}),
        ("I want no diesel, a hybrid", {"preference-hybrid"}, {"interested_in_fuel_type": "hybrid"}),
        ("mijn budget is € 15.000", {"intent-budget-specified"}, {"budget_max": 15000}),
        ("mijn budget is klein", set(), {}),
        ("quero comprar até 80 mil", {"intent-ready-to-buy", "intent-budget-specified"}, {"budget_max": 80000}),
        ("Can I book a test-drive?", {"behavior-test-drive-requested"}, {"test_drive_requested": True}),
        ("רוצה לקנות", {"intent-ready-to-buy"}, {"interest_level": "ready-to-buy"}),
        ("יש לכם הִיבְּרִידִי?", {"preference-hybrid"}, {}),
        ("the budgets of radiodiesels", set(), {}),
        ("", set(), {}),
        ("👍", set(), {}),
    ],
)
def test_a_message_gives_the_labels_of_its_words(text: str, labels: set[str], attributes: Mapping[str, object]) -> None:
    tags = TAGGER.tag(Said(text, 1), ())
    assert set(tags.anew) == labels
    assert attributes.items() <= tags.attributes.items()


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (1, "first-contact"),
        (2, "initial-inquiry"),
        (4, "initial-inquiry"),
        (5, "information-gathering"),
        (7, "information-gathering"),
        (8, "comparing"),
        (11, "comparing"),
        (12, "ready-to-buy"),
        (4000, "ready-to-buy"),
    ],
)
def test_the_journey_follows_the_number_of_messages(number: int, stage: str) -> None:
    tags = TAGGER.tag(Said(None, number, "whatsapp"), ())
    journey = [title for title in tags.standing if title.startswith("journey-")]
    assert (journey, tags.attributes["conversation_stage"]) == ([f"journey-{stage}"], stage)
    assert "source-whatsapp" in tags.standing


@pytest.mark.parametrize(
    ("earlier", "score", "quality"),
    [
        ((), 0, "cold"),
        (("test-drive",), 25, "cold"),
        (("test-drive", "sedan"), 30, "lukewarm"),
        (("ready-to-buy", "audi"), 50, "warm"),
        (("ready-to-buy", "test-drive", "sedan"), 70, "hot"),
        (("ready-to-buy", "test-drive", "urgent", "budget", "audi"), 100, "hot"),
        (("browsing",), 0, "cold"),
        (("a rule that is gone",), 0, "cold"),
    ],
)
def test_the_score_is_the_sum_of_all_that_was_said_and_makes_the_quality(
    earlier: tuple[str, ...], score: int, quality: str
) -> None:
    tags = TAGGER.tag(Said("ok", 3), earlier)
    assert (tags.score, tags.attributes["lead_score"], tags.attributes["lead_quality"]) == (score, score, quality)
    assert f"{quality}-lead" in tags.standing


def test_what_is_said_again_counts_once() -> None:
    once = TAGGER.tag(Said("een proefrit", 2), ())
    again = TAGGER.tag(Said("die proefrit!", 3), once.heard)
    assert (once.score, again.score) == (25, 25)
    assert again.anew == ("behavior-test-drive-requested",), "its words are here anew"


@given(st.text(), st.integers(1, 50), st.sets(st.sampled_from([rule.name for rule in RULES.rules])))
def test_any_text_gives_one_label_of_an_exclusive_group_at_most(text: str, number: int, earlier: set[str]) -> None:
    tags = TAGGER.tag(Said(text, number, "whatsapp"), earlier)
    known = {one.title for one in RULES.catalog()}
    assert {*tags.anew, *tags.standing} <= known
    assert 0 <= tags.score <= 100
    for group in RULES.groups.values():
        if group.exclusive:
            assert len(set(group.labels) & {*tags.anew, *tags.standing}) <= 1


def test_a_text_of_any_length_is_looked_through() -> None:
    assert TAGGER.tag(Said("bla " * 50_000 + "diesel", 1), ()).anew == ("preference-diesel",)


def test_a_rule_that_is_off_gives_nothing() -> None:
    document = RULES.model_dump(by_alias=True)
    for rule in document["rules"]:
        rule["enabled"] = rule["name"] != "diesel"
    assert Tagger(LabelRules.model_validate(document)).tag(Said("diesel", 1), ()).anew == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one two three", {"phrase"}),
        ("One, TWO - three!", {"phrase"}),
        ("one two", set()),
        ("one two threes", set()),
        ("open sesame seeds", {"open"}),
        ("opener", set()),
        ("stems", {"stem"}),
        ("ste", set()),
        ("no stems", set()),
        ("ｓｔｅｍ", {"stem"}),
    ],
)
def test_phrases_are_found_as_whole_words(text: str, found: set[str]) -> None:
    phrases = Phrases({"phrase": ["one two three"], "open": ["open sesam*"], "stem": ["stem*"]}, ["no"])
    assert phrases.found_in(text) == found


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("€ 15.000,-", 15000),
        ("15.000,00 euro", 15000),
        ("15,000.50 usd", 15000),
        ("15 000", 15000),
        ("15k", 15000),
        ("12 duizend", 12000),
        ("120 אלף", 120000),
        ("between 10000 and 12500", 12500),
        ("een golf uit 2019", None),
        ("€2019", 2019),
        ("120.000 km", None),
        ("150 pk", None),
        ("+31 6 12345678", None),
        ("0612345", None),
        ("0612345678999", None),
        ("9" * 5000, None),
        ("50", None),
        ("", None),
    ],
)
def test_amounts_of_money_are_read(text: str, amount: int | None) -> None:
    assert largest_amount(text) == amount

"""Words of people, compared: in any case and script, without marks, emoji and punctuation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.dialogs.matching import Meaning, folded, hits, ordinal, phrase, same, tokens

ORDINALS = {
    "first": 1,
    "one": 1,
    "1st": 1,
    "second": 2,
    "2nd": 2,
    "last": -1,
    "שני": 2,
    "א": 1,
    "primeira": 1,
    "tweede": 2,
}
FILL = frozenset({"the", "one", "option", "please", "number", "de", "a"})


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("LinkedIn", "linkedin"),
        ("  LINKEDIN!! ", "LinkedIn"),
        ("📱 LinkedIn 📱", "LinkedIn"),
        ("*LinkedIn*", "LinkedIn"),
        ("#LinkedIn", "LinkedIn"),
        ("ＬｉｎｋｅｄＩｎ", "LinkedIn"),
        ("Link\u200bedIn", "LinkedIn"),
        ("\u202eLinkedIn", "LinkedIn"),
        ("𝓛inked𝓘n", "LinkedIn"),
        ("amigavel", "Amigável"),
        ("AMIGA\u0301VEL", "amigável"),
        ("קָצָר", "קצר"),
        ("مُدَوَّنة", "مدونة"),
        ("٢", "2"),
        ("２", "2"),
        ("2️⃣", "2"),
        ("②", "2"),
        ("x.com", "X com"),
        ("don't", "dont"),
        ("STRASSE", "straße"),
        ("👍", "👍"),
        ("❤", "❤️"),
    ],
)
def test_texts_that_say_the_same_are_the_same(text: str, other: str) -> None:
    assert same(text, other)
    assert same(other, text)


@pytest.mark.parametrize(
    ("text", "other"), [("Linked", "LinkedIn"), ("", ""), ("👍", "👎"), ("👍", ""), ("!", "LinkedIn"), ("1", "11")]
)
def test_others_are_not(text: str, other: str) -> None:
    assert not same(text, other)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1", 0),
        ("2.", 1),
        ("#2", 1),
        ("２", 1),
        ("٢", 1),
        ("2️⃣", 1),
        ("(2)", 1),
        ("02", 1),
        ("second", 1),
        ("The second one, please", 1),
        ("the first one", 0),
        ("one", 0),
        ("option one", 0),
        ("2nd", 1),
        ("last", 2),
        ("the last one", 2),
        ("number 3", 2),
        ("א", 0),
        ("השני", 1),
        ("שני", 1),
        ("a primeira", 0),
        ("de tweede", 1),
        ("4", None),
        ("0", None),
        ("-1", 0),
        ("1 or 2", None),
        ("1 2", None),
        ("first second", None),
        ("2 posts", None),
        ("one please", None),
        ("the", None),
        ("", None),
        ("2" * 50, None),
    ],
)
def test_an_option_is_named_by_its_number(text: str, at: int | None) -> None:
    assert ordinal(phrase(text), ORDINALS, FILL, 3) == at


def test_words_stand_where_they_stand() -> None:
    text = "Oi, דו\"ח קצר – don't (x.com)!"
    assert [(token.word, text[token.start : token.end]) for token in tokens(text)] == [
        ("oi", "Oi"),
        ("דוח", 'דו"ח'),
        ("קצר", "קצר"),
        ("dont", "don't"),
        ("x", "x"),
        ("com", "com"),
    ]


def test_of_phrases_that_begin_alike_the_longest_counts() -> None:
    short, long = Meaning("option", "a", "blog"), Meaning("option", "a", "blogpost")
    lexicon = {phrase("blog"): [short], phrase("blog post"): [long], phrase("קצר"): [short]}
    assert [hit.meanings for hit in hits(phrase("my blog post blog"), lexicon, 2)] == [(), (long,), (short,)]
    assert [hit.meanings for hit in hits(phrase("בקצר וקצר והקצר הפקצר"), lexicon, 2)] == [
        (short,),
        (short,),
        (short,),
        (),
    ]


@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    found = tokens(text)
    assert all(token.word and token.word == folded(text[token.start : token.end]) for token in found)
    assert [token.start for token in found] == sorted(token.start for token in found)
    assert all(token.word == folded(token.word) for token in found if len(token.word) < 40)

"""Intents by words: what is an order in four languages, what it says of itself, and that no text does harm."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.conversations.understanding.intent_rules import INTENTS
from daemon.conversations.understanding.intents import Intents, understood
from daemon.rules.files import load
from schemas.understanding import MOST_VALUE

SHIPPED: Final = Intents.of(load(None, INTENTS))


class Case(NamedTuple):
    """A text, its language, and what it says of itself; None: it is a note."""

    text: str
    language: str
    params: dict[str, str] | None


ORDERS: Final = [
    Case("write a post", "en", {}),
    Case("Draft a LinkedIn post", "en", {"platform": "linkedin"}),
    Case("create post", "en", {}),
    Case("MAKE ME A POST", "en", {}),
    Case("generate a linkedin post", "en", {"platform": "linkedin"}),
    Case("turn this into a post", "en", {}),
    Case("Turn this into an article, please", "en", {}),
    Case("turn that long voice note into content", "en", {"length": "long"}),
    Case("post about summer", "en", {"topic": "summer"}),
    Case("create content", "en", {}),
    Case("draft something", "en", {}),
    Case("generate content", "en", {}),
    Case("I need a short post", "en", {"length": "short"}),
    Case(
        "Write a short professional LinkedIn post about our new visa service",
        "en",
        {"platform": "linkedin", "length": "short", "tone": "professional", "topic": "our new visa service"},
    ),
    Case("Post about AI, casual, long", "en", {"topic": "ai", "tone": "casual", "length": "long"}),
    Case(
        "make a post for instagram about summer trips in a friendly tone",
        "en",
        {"platform": "instagram", "topic": "summer trips", "tone": "friendly"},
    ),
    Case(
        "write a tweet about the long queue. Keep it short.",
        "en",
        {"platform": "twitter", "topic": "the long queue", "length": "short"},
    ),
    Case("write a formal post for our blog", "en", {"platform": "blog", "tone": "professional"}),
    Case("create an authoritative, detailed article", "en", {"tone": "authoritative", "length": "long"}),
    Case("write a post about this", "en", {}),
    Case("write a post with tips #Visa #travel", "en", {"angle": "tip", "refs": "#visa #travel"}),
    Case("Turn my notes into an article", "en", {}),
    Case("write something for our blog", "en", {"platform": "blog"}),
    Case("we need more posts", "en", {}),
    Case("write an article on visa rules", "en", {"topic": "visa rules"}),
    Case("write a post on linkedin", "en", {"platform": "linkedin"}),
    Case("make a post for x.com", "en", {"platform": "twitter"}),
    Case("don’t forget: write a post", "en", {}),
    Case("\u202awrite\u202c a _post_", "en", {}),
    Case("escreva um post", "pt", {}),
    Case("Escreve uma publicação sobre viagens", "pt", {"topic": "viagens"}),
    Case("ESCREVA UMA PUBLICACAO", "pt", {}),
    Case(
        "crie um post curto para o LinkedIn sobre vistos",
        "pt",
        {"length": "short", "platform": "linkedin", "topic": "vistos"},
    ),
    Case("faça um artigo longo e profissional", "pt", {"length": "long", "tone": "professional"}),
    Case("transforme isso em um post", "pt", {}),
    Case("preciso de um post descontraído para o instagram", "pt", {"tone": "casual", "platform": "instagram"}),
    Case("post sobre inteligência artificial", "pt", {"topic": "inteligência artificial"}),
    Case("escreva algo para o LinkedIn", "pt", {"platform": "linkedin"}),
    Case("gerar conteúdo amigável", "pt", {"tone": "friendly"}),
    Case("quero um post médio, com tom profissional", "pt", {"length": "medium", "tone": "professional"}),
    Case("תכתוב פוסט", "he", {}),
    Case(
        "תכתבי לי פוסט קצר ללינקדאין על ויזות להודו",
        "he",
        {"length": "short", "platform": "linkedin", "topic": "ויזות להודו"},
    ),
    Case("אפשר לכתוב מאמר מקצועי?", "he", {"tone": "professional"}),
    Case("תהפוך את זה לפוסט", "he", {}),
    Case("פוסט על חופשות", "he", {"topic": "חופשות"}),
    Case("תכתוב לי משהו ללינקדאין", "he", {"platform": "linkedin"}),
    Case("תכין ציוץ", "he", {"platform": "twitter"}),
    Case("צריכה פוסט לאינסטגרם, ידידותי", "he", {"platform": "instagram", "tone": "friendly"}),
    Case("לִכְתּוֹב פּוֹסְט", "he", {}),
    Case("תכתוב פוסט ל-LinkedIn", "he", {"platform": "linkedin"}),
    Case("תכתוב פוסט לא רשמי וארוך", "he", {"tone": "casual", "length": "long"}),
    Case("schrijf een post", "nl", {}),
    Case(
        "Schrijf een korte post over visums voor LinkedIn, vriendelijk",
        "nl",
        {"length": "short", "topic": "visums", "platform": "linkedin", "tone": "friendly"},
    ),
    Case("maak een artikel voor onze blog", "nl", {"platform": "blog"}),
    Case(
        "kun je een zakelijke linkedinpost maken? graag een post",
        "nl",
        {"platform": "linkedin", "tone": "professional"},
    ),
    Case("maak hier een post van", "nl", {}),
    Case("genereer content over reizen", "nl", {"topic": "reizen"}),
    Case("ik wil graag een uitgebreide post", "nl", {"length": "long"}),
    Case("Kan je een artikel schrijven?", "nl", {}),
    Case("schrijf iets voor LinkedIn over AI", "nl", {"platform": "linkedin", "topic": "ai"}),
    Case("maak een informele tweet", "nl", {"platform": "twitter", "tone": "casual"}),
]

NOTES: Final = [
    Case("Remember to call the embassy", "en", None),
    Case("I went to the post office", "en", None),
    Case("please don't write a post about it", "en", None),
    Case("she wrote a long letter, short and friendly", "en", None),
    Case("I read your post about visas", "en", None),
    Case("make sure you post the letter", "en", None),
    Case("we will post this tomorrow", "en", None),
    Case("Idea: LinkedIn is where my clients are", "en", None),
    Case("write this down. The post came at nine", "en", None),
    Case("lembrar de ligar para o cliente", "pt", None),
    Case("não escreva o post", "pt", None),
    Case("gostei do post sobre viagens", "pt", None),
    Case("להתקשר מחר לשגרירות", "he", None),
    Case("אל תכתוב פוסט", "he", None),
    Case("קראתי פוסט על ויזות", "he", None),
    Case("ik bel morgen de ambassade", "nl", None),
    Case("ik wil niet dat je een post schrijft", "nl", None),
    Case("ik heb een bericht over mijn bestelling", "nl", None),
    Case("schrijf geen post", "nl", None),
]


@pytest.mark.parametrize("case", [*ORDERS, *NOTES], ids=lambda case: case.text)
def test_what_people_write_is_understood(case: Case) -> None:
    found = understood(case.text, SHIPPED)
    assert (found.kind, found.language) == ("NOTE" if case.params is None else "ORDER", case.language)
    assert found.params == (case.params or {})
    assert found.confidence == (0.8 if case.params is None else 0.7)


@pytest.mark.parametrize(
    ("text", "hint", "language"),
    [
        ("linkedin", "pt", "pt"),
        ("ok", "pt_BR", "pt"),
        ("ok", "ru", "ru"),
        ("", None, "en"),
        ("👍", "he", "he"),
        ("the visa is about to expire", "nl", "en"),
        ("שלום ok", "en", "he"),
        ("ok", "?!", "en"),
    ],
)
def test_the_language_is_that_of_the_words_and_else_the_one_that_is_known(
    text: str, hint: str | None, language: str
) -> None:
    assert understood(text, SHIPPED, hint).language == language


def test_a_reason_names_the_rule_and_nothing_that_a_person_wrote() -> None:
    assert understood("write a post about Zelda", SHIPPED).reason == "words of the rule en-order"
    assert understood("Zelda", SHIPPED).reason == "no words of a rule"
    assert understood("…", SHIPPED).reason == "no words of a rule"


def test_a_topic_holds_what_was_said_and_is_never_endless() -> None:
    topic = understood("write a post about " + "visas and more " * 50, SHIPPED).params["topic"]
    assert topic.startswith("visas and more")
    assert len(topic) <= MOST_VALUE


ANY_TEXT: Final = st.one_of(
    st.text(max_size=10_000),
    st.lists(
        st.sampled_from(
            [
                "write",
                "a",
                "post",
                "about",
                "on",
                "linkedin",
                ",",
                ".",
                "#x",
                "don't",
                "תכתוב",
                "פוסט",
                "על",
                "over",
                "een",
            ]
        ),
        max_size=2000,
    ).map(" ".join),
)


@given(ANY_TEXT, st.one_of(st.none(), st.text(max_size=10)))
@example("\ufdfa" * 10_000, None)
@example("#" * 10_000, None)
@example("i\u0307" * 5000, "tr")
@example("about " * 1700, "en")
def test_any_text_is_a_note_or_an_order_with_values_that_may_be_stored(text: str, hint: str | None) -> None:
    """Promise: it never raises, whatever comes."""
    found = understood(text, SHIPPED, hint)
    assert found.kind in ("NOTE", "ORDER")
    assert len(found.language) == 2
    known = SHIPPED.rules.values
    for name, value in found.params.items():
        assert 0 < len(value) <= MOST_VALUE
        assert name in ("topic", "refs") or value in known[name]
    assert found == understood(text, SHIPPED, hint)


@pytest.mark.parametrize(
    "text",
    ["write " * 1700, "write a a a " * 900, "post, " * 1700, "ש" * 10_000, "a" * 10_000, "x.com'" * 1700, "(" * 10_000],
    ids=lambda text: text[:12],
)
def test_no_text_takes_long(text: str) -> None:
    """Promise: time grows with the text and not with its ways through a phrase. A fifth of the limit is usual."""
    began = time.process_time()
    understood(text, SHIPPED)
    assert time.process_time() - began < 0.5

"""What people answer, in their languages, and what is understood: each text against the question that is open."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.dialogs import Talk, body

BEFORE = {"platform": {}, "length": {"platform": "blog"}, "tone": {"platform": "blog", "length": "long"}}
BEFORE["topic"] = {**BEFORE["tone"], "tone": "casual"}


def understood(field: str, text: str, *, reply: bool = False, language: str = "en") -> Mapping[str, str] | None:
    """What is learned from a text while *field* is asked for: {} for a wrong answer, None for no answer."""
    talk = Talk(language=language)
    talk.begin(BEFORE[field])
    assert talk.field == field
    step = talk.say(text, answers=talk.question(field) if reply else None)
    if not step.used:
        return None
    params = dict(step.completed.params if step.completed else talk.params)
    return {name: value for name, value in params.items() if BEFORE[field].get(name) != value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("LinkedIn", "linkedin"),
        ("linkedin", "linkedin"),
        ("LINKED IN", "linkedin"),
        ("Ｌｉｎｋｅｄｉｎ", "linkedin"),
        ("📱 LinkedIn 👍", "linkedin"),
        ("LinkedIn!!!", "linkedin"),
        ("1", "linkedin"),
        ("1.", "linkedin"),
        ("#1", "linkedin"),
        ("1️⃣", "linkedin"),
        ("１", "linkedin"),
        ("١", "linkedin"),
        ("first", "linkedin"),
        ("the first one", "linkedin"),
        ("the 1st one please", "linkedin"),
        ("option 2", "instagram"),
        ("number two", "instagram"),
        ("second", "instagram"),
        ("the last one", "blog"),
        ("insta", "instagram"),
        ("X", "twitter"),
        ("x.com", "twitter"),
        ("I want it on Instagram please", "instagram"),
        ("I'd like Twitter", "twitter"),
        ("let's go with the blog", "blog"),
        ("I think LinkedIn works best", "linkedin"),
        ("not LinkedIn, Instagram", "instagram"),
        ("LinkedIn... no, Instagram", "instagram"),
        ("anything but LinkedIn: Twitter", "twitter"),
        ("para o Instagram, por favor", "instagram"),
        ("a primeira", "linkedin"),
        ("o último", "blog"),
        ("opção 3", "twitter"),
        ("para LinkedIn", "linkedin"),
        ("לינקדאין", "linkedin"),
        ("ללינקדאין בבקשה", "linkedin"),
        ("אינסטה", "instagram"),
        ("השני", "instagram"),
        ("האפשרות השנייה", "instagram"),
        ("ב", "instagram"),
        ("ב'", "instagram"),
        ("האחרון", "blog"),
        ("Option A", "linkedin"),
        ("b)", "instagram"),
        ("platform 3", "twitter"),
        ("de tweede", "instagram"),
        ("de laatste graag", "blog"),
        ("doe maar LinkedIn", "linkedin"),
        ("إنستغرام", "instagram"),
        ("{{LinkedIn}}", "linkedin"),
        ("*LinkedIn*", "linkedin"),
    ],
)
def test_a_platform(text: str, value: str) -> None:
    assert understood("platform", text) == {"platform": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Short", "short"),
        ("short please", "short"),
        ("brief", "short"),
        ("2", "medium"),
        ("in depth", "long"),
        ("Curto", "short"),
        ("medio", "medium"),
        ("bem curtinho, curta", "short"),
        ("קצר", "short"),
        ("משהו קצר", "short"),
        ("בינוני בבקשה", "medium"),
        ("kort", "short"),
        ("niet te lang, kort", "short"),
        ("graag uitgebreid", "long"),
        ("ג", "long"),
        ("a terceira", "long"),
    ],
)
def test_a_length(text: str, value: str) -> None:
    talk = Talk()
    talk.begin(BEFORE["length"])
    talk.say(text)
    assert talk.params["length"] == value


CASUAL = {"length": "short", "tone": "casual", "topic": "news"}


@pytest.mark.parametrize(
    ("field", "text", "learned"),
    [
        ("platform", "Instagram, short and casual, about news", {**CASUAL, "platform": "instagram"}),
        ("platform", "LinkedIn. Long. Friendly.", {"platform": "linkedin", "length": "long", "tone": "friendly"}),
        ("platform", "short", {"length": "short"}),
        ("platform", "short and casual, about news", CASUAL),
        (
            "platform",
            "LinkedIn about remote work in Brazil",
            {"platform": "linkedin", "topic": "remote work in Brazil"},
        ),
        ("platform", "twitter, curto, sobre o clima", {"platform": "twitter", "length": "short", "topic": "o clima"}),
        ("platform", "בלוג, קצר, על עתיד העבודה", {"platform": "blog", "length": "short", "topic": "עתיד העבודה"}),
        ("platform", "Blog, kort, over zorg", {"platform": "blog", "length": "short", "topic": "zorg"}),
        ("platform", "platform: twitter\nlength: medium", {"platform": "twitter", "length": "medium"}),
        ("tone", "no, Instagram", {"platform": "instagram"}),
        ("tone", "No Instagram", {"platform": "instagram"}),
        ("tone", "Actually, change the platform to Twitter", {"platform": "twitter"}),
        ("tone", "sorry I meant Twitter", {"platform": "twitter"}),
        ("tone", "não, Instagram", {"platform": "instagram"}),
        ("tone", "לא, אינסטגרם", {"platform": "instagram"}),
        ("tone", "לא אינסטגרם", {"platform": "instagram"}),
        ("tone", "não, blog", {}),
        ("tone", "nee, liever Instagram", {"platform": "instagram"}),
        ("tone", "muda a plataforma para Instagram", {"platform": "instagram"}),
        ("tone", "friendly, but make it short", {"tone": "friendly", "length": "short"}),
        ("tone", "change length from long to short", {"length": "short"}),
        ("tone", "change the topic to remote work", {"topic": "remote work"}),
        ("tone", "topic: remote work", {"topic": "remote work"}),
        ("topic", "change tone to friendly", {"tone": "friendly"}),
        ("topic", "no, Instagram", {"platform": "instagram"}),
        ("topic", "Instagram", {"platform": "instagram"}),
        ("topic", "iets over zorg", {"topic": "zorg"}),
        ("topic", "Tips", {"topic": "tips"}),
        ("topic", "2", {"topic": "news"}),
        ("topic", "about our product", {"topic": "product"}),
        ("topic", "Remote work", {"topic": "remote work"}),
        ("topic", "about remote work", {"topic": "remote work"}),
        ("topic", "News about short films", {"topic": "news about short films"}),
        ("topic", "I want AI but short", {"topic": "i want ai but short"}),
        ("topic", "Why do startups fail?", {"topic": "why do startups fail?"}),
        ("topic", "Tone of voice", {"topic": "tone of voice"}),
        ("topic", "write a post about remote work", {"topic": "remote work"}),
        ("topic", "remote work\nand its future", {"topic": "remote work and its future"}),
        ("topic", "עתיד העבודה", {"topic": "עתיד העבודה"}),
        ("topic", "sobre sustentabilidade", {"topic": "sustentabilidade"}),
    ],
    ids=str,
)
def test_several_answers_corrections_and_free_text(field: str, text: str, learned: Mapping[str, str]) -> None:
    assert understood(field, text) == learned


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("platform", "TikTok"),
        ("platform", "LinkedIn and Instagram"),
        ("platform", "LinkedIn or Twitter?"),
        ("platform", "not LinkedIn"),
        ("platform", "לא לינקדאין"),
        ("platform", "não LinkedIn"),
        ("platform", "I don't know"),
        ("platform", "hmm\nTikTok"),
        ("platform", "which ones are there?"),
        ("platform", "maakt niet uit"),
        ("length", "not too long"),
        ("tone", "less formal"),
        ("topic", "I don't know"),
        ("topic", "você escolhe"),
        ("platform", "5"),
        ("platform", "0"),
        ("platform", "change platform to TikTok"),
        ("length", "1 or 2"),
        ("length", "gigantic"),
        ("tone", "no"),
        ("topic", "no"),
    ],
)
def test_a_wrong_answer_is_asked_again(field: str, text: str) -> None:
    assert understood(field, text) == {}


@pytest.mark.parametrize("text", ["not a blog", "não blog", "לא בלוג", "geen blog", "change the platform"])
def test_what_was_said_before_can_be_taken_back(text: str) -> None:
    talk = Talk()
    talk.begin(BEFORE["tone"])
    step = talk.say(text)
    assert (talk.field, talk.params) == ("platform", {"length": "long"})
    assert "Which platform" in body(step)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("platform", "Met with the marketing team today"),
        ("platform", "Had a nice long day with my sister in town"),
        ("platform", "We talked about news all evening and it was long"),
        ("length", "Our LinkedIn campaign went well this week"),
        ("tone", "Reunião com a equipe de marketing amanhã cedo"),
        ("tone", "פגישה עם צוות השיווק מחר בבוקר"),
        ("length", "Vandaag met het marketingteam over de planning gesproken"),
        ("topic", "👍"),
        ("topic", "ok"),
    ],
)
def test_a_note_is_none(field: str, text: str) -> None:
    assert understood(field, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Write a post for me",
        "I want a post",
        "one post please",
        "escreva um post",
        "schrijf een post",
        "Please create a post",
    ],
)
def test_an_article_in_an_order_that_is_said_again_names_no_option(text: str) -> None:
    assert not understood("platform", text)


@pytest.mark.parametrize(
    ("text", "learned"),
    [
        ("I would say that LinkedIn fits what we do best", {"platform": "linkedin"}),
        ("the second, I guess", {}),
        ("whatever you and your colleagues prefer most is fine", {}),
        ("!!!", {}),
    ],
)
def test_a_reply_to_the_question_is_an_answer_whatever_it_is(text: str, learned: Mapping[str, str]) -> None:
    assert understood("platform", text, reply=True) == learned

"""What people answer, in their languages, and what is understood: each text against the question that is open."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from daemon.conversations.dialog_rules import Dialog, DialogField, DialogRules
from tests.support.dialogs import RULES, Talk, body

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
        ("tone", "nee, liever Instagram", {"platform": "instagram"}),
        ("tone", "muda a plataforma para Instagram", {"platform": "instagram"}),
        ("tone", "friendly, but make it short", {"tone": "friendly", "length": "short"}),
        ("tone", "change length from long to short", {"length": "short"}),
        ("tone", "change the topic to remote work", {"topic": "remote work"}),
        ("tone", "topic: remote work", {"topic": "remote work"}),
        ("topic", "change tone to friendly", {"tone": "friendly"}),
        ("topic", "no, Instagram", {"platform": "instagram"}),
        ("topic", "Instagram", {"platform": "instagram"}),
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


THUMBS = [{"value": "up", "title": "👍"}, {"value": "down", "title": "👎"}]
SIGNALS = [{"value": "go", "title": "Go"}, {"value": "stop", "title": "Stop"}]


def a_dialog(**given: object) -> DialogRules:
    """A dialog with one field."""
    told = {"name": "it", "names": {"en": ("It",)}, "prompt": {"en": "It?"}, **given}
    field = DialogField.model_validate(told)
    shipped = RULES.dialogs[0]
    changes = {"fields": (field,), "confirmation": {"en": "Got {it}."}, "notes": True}
    dialog: Dialog = shipped.model_copy(update=changes)
    return RULES.model_copy(update={"dialogs": (dialog,)})


@pytest.mark.parametrize(
    ("given", "text", "value"),
    [
        ({"kind": "number"}, "3", "3"),
        ({"kind": "number"}, "We are 3", "3"),
        ({"kind": "number"}, "٣", "3"),
        ({"kind": "number"}, "2,5", "2.5"),
        ({"kind": "number"}, "3 or 4", None),
        ({"kind": "number", "min": 1, "max": 9}, "10", None),
        ({"kind": "number"}, "many", None),
        ({"kind": "date"}, "2031-12-31", "2031-12-31"),
        ({"kind": "date"}, "31.12.2031", "2031-12-31"),
        ({"kind": "date"}, "1/2/2031", "2031-02-01"),
        ({"kind": "date"}, "12/31/2031", "2031-12-31"),
        ({"kind": "date"}, "it is 5-6-2031.", "2031-06-05"),
        ({"kind": "date"}, "٣١/١٢/٢٠٣١", "2031-12-31"),
        ({"kind": "date"}, "31.13.2031", None),
        ({"kind": "date"}, "30.2.2031", None),
        ({"kind": "date"}, "next week", None),
        ({"kind": "date"}, "1.1.2031 or 2.1.2031", None),
        ({"kind": "email"}, "It is Dana.Levi@Example.com, thanks", "dana.levi@example.com"),
        ({"kind": "email"}, "dana@example", None),
        ({"kind": "email"}, "a@example.com b@example.com", None),
        ({"kind": "phone"}, "+1 (202) 555-0143", "+12025550143"),
        ({"kind": "phone"}, "call 00972 50 555 0142", "+972505550142"),
        ({"kind": "phone"}, "12345", None),
        ({"kind": "text"}, "  Dana   Levi ", "Dana Levi"),
        ({"kind": "text", "min": 3}, "ab", None),
        ({"kind": "text", "max": 4}, "abcdef", "abcd"),
        ({"kind": "text"}, "...", None),
        ({"kind": "choice", "options": THUMBS}, "👎", "down"),
        ({"kind": "choice", "options": SIGNALS}, "stop", "stop"),
    ],
    ids=str,
)
def test_what_a_field_takes(given: Mapping[str, object], text: str, value: str | None) -> None:
    talk = Talk(a_dialog(**given))
    talk.begin()
    step = talk.say(text, answers=talk.question("it"))
    if value is None:
        assert step.completed is None
        assert not step.used or body(step).endswith("It?")
        assert "Sorry" in body(step) or not step.used
    else:
        assert step.completed is not None
        assert step.completed.params == {"it": value.lower() if given.get("lower") else value}


def test_a_number_in_a_note_is_no_answer() -> None:
    talk = Talk(a_dialog(kind="number"))
    talk.begin()
    assert not talk.say("We met 3 people from the agency today and it went well").used


def test_an_optional_field_is_taken_and_never_asked_for() -> None:
    rules = a_dialog(kind="text")
    extra = DialogField.model_validate(
        {"name": "colour", "kind": "choice", "required": False, "names": {"en": ("Colour",)}, "prompt": {"en": "?"}}
        | {"options": [{"value": "red", "title": "Red"}, {"value": "blue", "title": "Blue"}]}
    )
    dialog = rules.dialogs[0].model_copy(update={"fields": (*rules.dialogs[0].fields, extra)})
    talk = Talk(rules.model_copy(update={"dialogs": (dialog,)}))
    talk.begin()
    talk.say("colour: red")
    step = talk.say("Something nice to read")
    assert step.completed is not None
    assert step.completed.params == {"it": "Something nice to read", "colour": "red"}

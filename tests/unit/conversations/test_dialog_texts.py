"""What a dialog says: in the language of the person, and harmless whatever they wrote."""

from __future__ import annotations

import pytest

from tests.support.dialogs import Talk, body, titles

FULL = {"platform": "linkedin", "length": "short", "tone": "casual", "topic": "news"}


@pytest.mark.parametrize(
    ("language", "prompt", "known"),
    [
        ("en", "Which platform", "en"),
        ("pt", "Para qual plataforma", "pt"),
        ("he", "לאיזו פלטפורמה", "he"),
        ("nl", "Voor welk platform", "nl"),
        ("fr", "Which platform", "en"),
        (None, "Which platform", "en"),
    ],
)
def test_it_speaks_the_language_of_the_person(language: str | None, prompt: str, known: str) -> None:
    talk = Talk(language=language)
    assert prompt in body(talk.begin())
    assert talk.context.language == known
    step = talk.begin({**FULL, "topic": "AI"})
    assert "LinkedIn" in body(step)
    assert {"en": "Casual", "pt": "Casual", "he": "יומיומי", "nl": "Informeel"}[known] in body(step)


@pytest.mark.parametrize(
    ("said", "kept", "echoed"),
    [
        ("{{contact.email}} and *bold* _x_", "{{contact.email}} and *bold* _x_", "contact.email and bold x"),
        ("AI\x00\x1b[2J\u202e news\r\n\ttoday", "ai[2j news today", "AI 2J news today"),
        ("a" * 100_000, "a" * 300, "a" * 300),
        ("😀" * 5 + " fun", "😀😀😀😀😀 fun", "😀😀😀😀😀 fun"),
        ("<b>bold</b> `code` ~x~", "<b>bold</b> `code` ~x~", "b bold /b code x"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate", "lone \ufffd surrogate"),
    ],
)
def test_hostile_text_is_harmless(said: str, kept: str, echoed: str) -> None:
    talk = Talk()
    talk.begin({"platform": "blog", "length": "short", "tone": "casual"})
    step = talk.say(said)
    assert step.completed is not None
    assert step.completed.params["topic"] == kept
    assert body(step).endswith(f"Topic: {echoed}")


def test_long_texts_are_cut_to_what_a_provider_takes() -> None:
    talk = Talk(dialog="applicant_issue")
    step = talk.begin({"categories": "face_photo", "applicant": "x" * 5000, "face_photo_issues": "y " * 5000})
    assert len(body(step)) <= 1024
    assert titles(Talk().begin()) == ["LinkedIn", "Instagram", "Twitter", "Blog"]

"""A dialog: what is known is not asked, one question at a time, and how it ends."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from daemon.conversations.dialogs.dialog import Context, Said, begin, heard, matches_open_question, params_in
from schemas.messages import Choice, Choices
from tests.support.dialogs import CHAT, RULES, START, Talk, body, titles

FULL = {"platform": "linkedin", "length": "short", "tone": "casual", "topic": "news"}


def test_the_seeds_order_is_asked_for_field_by_field() -> None:
    talk = Talk()
    first = talk.begin()
    assert first.asks[0].content == Choices(
        "📱 Which platform would you like content for?",
        (
            Choice("LinkedIn", "linkedin"),
            Choice("Instagram", "instagram"),
            Choice("Twitter", "twitter"),
            Choice("Blog", "blog"),
        ),
    )
    fields = []
    for text in ("LinkedIn", "Short", "Casual", "News"):
        fields.append(talk.field)
        talk.say(text)
    assert fields == ["platform", "length", "tone", "topic"]
    done = talk.last
    assert done.completed is not None
    assert (done.completed.dialog, done.completed.params) == ("content_order", FULL)
    assert [ask.what for ask in talk.asks] == ["question"] * 4 + ["confirmation"]
    assert body(done) == "✅ Got it, I am on it.\nPlatform: LinkedIn\nLength: Short\nTone: Casual\nTopic: News"
    assert len({ask.id for ask in talk.asks}) == 5
    stored = talk.context.to_json()
    assert stored.keys() == {"handled", "past", "version"}
    assert done.due_at is None


def test_what_is_known_is_not_asked() -> None:
    talk = Talk()
    step = talk.begin({"platform": "LinkedIn", "tone": "formal", "length": "enormous", "angle": "story"})
    assert talk.field == "length", "a value that is none of the field's is asked for"
    assert talk.params == {"platform": "linkedin", "tone": "professional", "angle": "story"}
    assert titles(step) == ["Short", "Medium", "Long"]


def test_an_order_that_says_all_is_confirmed_at_once() -> None:
    step = Talk().begin({**FULL, "topic": "Remote Work", "original_content": "Write a post about Remote Work"})
    assert step.completed is not None
    assert step.completed.params == {
        **FULL,
        "topic": "remote work",
        "original_content": "Write a post about Remote Work",
    }
    assert body(step).endswith("Topic: Remote Work")


@pytest.mark.parametrize("name", ["nothing", ""])
def test_a_dialog_that_the_rules_do_not_have_is_not_begun(name: str) -> None:
    assert not Talk(dialog=name).begin().used


def test_a_dialog_that_is_off_is_not_begun() -> None:
    off = [one.model_copy(update={"enabled": False}) for one in RULES.dialogs]
    assert not Talk(RULES.model_copy(update={"dialogs": tuple(off)})).begin().used


def test_the_ids_of_messages_follow_from_the_conversation_and_what_began_the_dialog() -> None:
    one, same, other = Talk(), Talk(), Talk()
    asked = [talk.begin(key=key).asks[0].id for talk, key in ((one, "a"), (same, "a"), (other, "b"))]
    assert asked[0] == asked[1] != asked[2]
    assert one.say("blog", key="x").asks[0].id == same.say("LinkedIn", key="y").asks[0].id
    elsewhere = begin(RULES, "content_order", "whapi::1", {}, Context(), "en", START, message_key="a")
    assert elsewhere.asks[0].id != asked[0]


def test_the_same_message_again_changes_nothing() -> None:
    talk = Talk()
    talk.begin(key="order")
    talk.say("Blog", key="answer")
    before = talk.context
    assert talk.say("Blog", key="answer").asks == ()
    assert talk.begin(key="order").asks == ()
    assert talk.context == before
    assert talk.last.due_at is not None
    for text in ("Short", "Casual", "News"):
        talk.say(text)
    assert talk.begin(key="order").asks == (), "also when the dialog is over"
    assert not talk.context.is_open


def test_a_late_tap_changes_its_field_and_leaves_the_open_question_alone() -> None:
    talk = Talk()
    talk.begin()
    talk.say("LinkedIn")
    talk.say("Short")
    step = talk.say("Twitter", answers=talk.question("platform"))
    assert (step.asks, step.used, talk.field) == ((), True, "tone")
    assert talk.params == {"platform": "twitter", "length": "short"}
    talk.say(choice="long", kind="choice", answers=talk.question("length"))
    assert talk.params["length"] == "long"
    talk.say(choice="medium", kind="choice")
    assert talk.params["length"] == "medium", "a value that one field alone has"
    assert len(talk.asks) == 3


def test_a_tap_on_a_question_whose_dialog_is_over_is_ignored() -> None:
    talk = Talk()
    talk.begin()
    question = talk.question("platform")
    talk.say("cancel")
    for said in ({"text": "Twitter"}, {"choice": "twitter", "kind": "choice"}):
        step = talk.say(**said, answers=question)
        assert (step.used, step.asks, step.context.is_open) == (True, (), False)
    assert not talk.say("and now something else", answers=question).used
    assert not talk.say("Twitter").used
    assert not talk.say("Twitter", answers=uuid4()).used
    talk.begin()
    talk.say("Twitter", answers=question)
    assert (talk.field, talk.params) == ("platform", {}), "nor does it answer the dialog that came after"


def test_wrong_answers_are_asked_again_twice_and_then_a_person_goes_on() -> None:
    talk = Talk()
    talk.begin({"platform": "blog"})
    for count in (1, 2):
        step = talk.say("gigantic")
        assert body(step).startswith("Sorry, I did not get that.")
        assert "How long should it be?" in body(step)
        assert (titles(step), step.escalated, talk.context.wrong) == (["Short", "Medium", "Long"], None, count)
    assert len({ask.id for ask in talk.asks}) == 3
    step = talk.say("gigantic {{a}} *b*")
    assert step.escalated is not None
    assert (step.escalated.why, step.escalated.labels) == ("wrong answers", ("needs-human", "content-order"))
    assert step.escalated.note == (
        "Content order: handed over (wrong answers).\nPlatform: Blog\nLength: asked for, not answered\n"
        "Last words: gigantic a b"
    )
    assert [ask.what for ask in step.asks] == ["notice"]
    assert not talk.context.is_open


def test_an_answer_to_a_question_that_was_asked_again_counts_whichever_is_tapped() -> None:
    talk = Talk()
    talk.begin()
    talk.say("TikTok")
    talk.say("Blog", answers=talk.question("platform", 0))
    assert (talk.field, talk.context.wrong) == ("length", 0)


@pytest.mark.parametrize(
    "text", ["Met Anna today, she liked the draft", "ok", "👍", "thanks!", "milk\nbread\nbutter\neggs", "x " * 5000]
)
def test_what_is_no_answer_leaves_the_dialog_alone(text: str) -> None:
    talk = Talk()
    talk.begin()
    before = talk.context
    assert not talk.say(text).used
    assert talk.context == before
    assert talk.say("Blog").asks


@pytest.mark.parametrize(
    "kind", ["image", "video", "audio", "voice", "document", "sticker", "location", "contacts", "reaction"]
)
@pytest.mark.parametrize("text", [None, "", "the view from our office", "👍"])
def test_files_between_leave_the_dialog_alone(kind: str, text: str | None) -> None:
    for known in ({}, {"platform": "blog", "length": "short", "tone": "casual"}):
        talk = Talk()
        talk.begin(known)
        if kind in ("audio", "voice") and text:
            continue
        assert not talk.say(text, kind=kind).used
        assert len(talk.asks) == 1


def test_a_voice_note_answers_by_its_text() -> None:
    talk = Talk()
    talk.begin()
    talk.say("LinkedIn, please.", kind="voice")
    assert talk.field == "length"


@pytest.mark.parametrize(
    "text", ["cancel", "Cancel it, please!", "never mind", "ביטול", "cancelar", "laat maar", "STOP"]
)
def test_it_can_be_canceled(text: str) -> None:
    talk = Talk()
    talk.begin()
    talk.say("blog")
    step = talk.say(text)
    assert (body(step), step.asks[0].what, step.due_at) == ("OK, I have canceled it.", "notice", None)
    assert not talk.context.is_open


@pytest.mark.parametrize("text", ["start over", "restart", "מחדש", "começar de novo", "opnieuw beginnen"])
def test_it_can_begin_anew(text: str) -> None:
    talk = Talk()
    talk.begin({"angle": "story"})
    talk.say("blog")
    talk.say("short")
    step = talk.say(text)
    assert (talk.field, talk.params) == ("platform", {"angle": "story"})
    assert "Which platform" in body(step)
    assert len({ask.id for ask in talk.asks}) == 4


def test_a_field_can_be_asked_for_anew() -> None:
    talk = Talk()
    talk.begin({"platform": "blog", "length": "short"})
    step = talk.say("Change the platform, please")
    assert (talk.field, talk.params) == ("platform", {"length": "short"})
    assert "Which platform" in body(step)
    talk.say("twitter")
    assert talk.field == "tone"


def test_what_is_surely_an_answer_need_not_wait() -> None:
    talk = Talk()
    talk.begin()

    def surely(text: str | None, answers: UUID | None = None, kind: str = "text") -> bool:
        return matches_open_question(
            RULES, talk.context, Said(text=text, answers=answers, kind=kind, at=START, message_key="k")
        )

    assert all(
        surely(text) for text in ("LinkedIn", "twitter", "2", "the last one", "insta", "cancel", "Blog, short please")
    )
    assert not any(surely(text) for text in ("TikTok", "Met Anna at LinkedIn headquarters today", "", None, "ok"))
    assert surely("I would say LinkedIn fits us best", talk.question("platform"))
    assert surely("tweet", kind="choice")
    assert not surely("LinkedIn visit", kind="video")
    talk.say("cancel")
    assert not surely("LinkedIn")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("Write a short casual LinkedIn post about remote work", ("linkedin", "short", "casual", "remote work")),
        ("Create a LinkedIn post about news, short and friendly please.", ("linkedin", "short", "friendly", "news")),
        ("write a post for our product launch", (None, None, None, None)),
        ("draft something with tips", (None, None, None, "tips")),
        ("Escreva um post curto para o Instagram sobre o clima.", ("instagram", "short", None, "o clima")),
        ("תכתוב פוסט קצר ללינקדאין על עתיד העבודה", ("linkedin", "short", None, "עתיד העבודה")),
        ("Schrijf een kort bericht voor LinkedIn over duurzaamheid", ("linkedin", "short", None, "duurzaamheid")),
        ("make me a post, not LinkedIn but Twitter", ("twitter", None, None, None)),
        ("", (None, None, None, None)),
    ],
    ids=str,
)
def test_what_an_order_says_already_is_known(text: str, params: tuple[str | None, ...]) -> None:
    known = {name: value for name, value in zip(FULL, params, strict=True) if value is not None}
    assert params_in(RULES, "content_order", text) == known


def test_answers_in_any_order_are_all_taken() -> None:
    talk = Talk()
    talk.begin()
    for text in ("casual", "about remote work and short"):
        talk.say(text)
    assert talk.field == "platform"
    assert heard(RULES, talk.context, CHAT, Said(text="x", at=START, message_key="z"), START).used

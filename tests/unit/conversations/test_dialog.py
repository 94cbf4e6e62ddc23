"""A dialog: what is known is not asked, one question at a time, and how it ends."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from daemon.conversations.dialog import Context, Said, begin, heard, matches_open_question, params_in, paused, resumed
from daemon.conversations.dialog_rules import Dialog, DialogRules
from schemas.messages import Choice, Choices, Text
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
    "text", ["Met Anna today, she liked the draft", "ok", "👍", "thanks!", "a\nlist\nof\nthings", "x " * 5000]
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


def test_a_reminder_is_sent_once_and_then_the_dialog_is_given_up() -> None:
    talk = Talk()
    step = talk.begin()
    assert step.due_at is not None
    assert (step.due_at - START).total_seconds() == 2 * 3600
    assert talk.wait(hours=1).asks == ()
    reminder = talk.wait(hours=1)
    assert reminder.asks[0].what == "reminder"
    assert "still waiting" in body(reminder)
    assert titles(reminder) == ["LinkedIn", "Instagram", "Twitter", "Blog"]
    assert reminder.due_at is not None
    assert (reminder.due_at - START).total_seconds() == 20 * 3600
    assert talk.wait(hours=17).asks == ()
    end = talk.wait(hours=1)
    assert (end.asks, end.escalated, end.due_at, talk.context.is_open) == ((), None, None, False)
    assert talk.wait(hours=1).asks == ()


def test_the_reminder_can_be_answered() -> None:
    talk = Talk()
    talk.begin()
    reminder = talk.wait(hours=2).asks[0].id
    talk.say("Twitter", answers=reminder)
    assert (talk.field, talk.params) == ("length", {"platform": "twitter"})


def test_a_dialog_may_be_handed_over_when_nobody_answers() -> None:
    talk = Talk(dialog="applicant_issue")
    talk.begin({"categories": "face_photo", "applicant": "Dana"})
    assert talk.wait(hours=20).asks[0].what == "reminder"
    end = talk.wait(hours=72)
    assert end.asks == (), "the person has heard enough"
    assert end.escalated is not None
    assert end.escalated.why == "timeout"
    assert "applicant: Dana" in end.escalated.note


def test_while_an_agent_talks_the_bot_is_silent_and_then_asks_again() -> None:
    talk = Talk()
    talk.begin()
    until = START.replace(hour=10)
    step = talk.took(paused(RULES, talk.context, CHAT, until, talk.now))
    assert (step.asks, step.due_at) == ((), until)
    assert not talk.say("TikTok").used, "what is said to the agent is no wrong answer"
    assert not talk.say("cancel the meeting with Bob").used
    assert talk.say("Blog").asks == ()
    assert talk.params == {"platform": "blog"}
    assert talk.wait(minutes=30).asks == ()
    step = talk.wait(minutes=30)
    assert "How long" in body(step)
    assert (talk.context.paused_until, talk.field) == (None, "length")
    assert len(talk.asks) == 2


def test_an_open_question_that_the_agent_left_open_is_asked_again() -> None:
    talk = Talk()
    talk.begin()
    talk.took(paused(RULES, talk.context, CHAT, START.replace(hour=10), talk.now))
    step = talk.took(resumed(RULES, talk.context, CHAT, talk.now))
    assert "Which platform" in body(step)
    assert len({ask.id for ask in talk.asks}) == 2
    assert talk.took(resumed(RULES, talk.context, CHAT, talk.now)).asks == ()


def test_a_pause_is_prolonged_and_never_shortened() -> None:
    talk = Talk()
    talk.begin()
    for hour, until in ((10, 10), (12, 12), (11, 12)):
        talk.took(paused(RULES, talk.context, CHAT, START.replace(hour=hour), talk.now))
        assert talk.context.paused_until == START.replace(hour=until)


def test_what_completes_while_an_agent_talks_is_told_when_the_agent_has_done() -> None:
    talk = Talk()
    talk.begin({name: value for name, value in FULL.items() if name != "tone"})
    talk.took(paused(RULES, talk.context, CHAT, START.replace(hour=10), talk.now))
    step = talk.say("casual")
    assert (step.completed, step.asks) == (None, ())
    step = talk.wait(hours=1)
    assert step.completed is not None
    assert step.completed.params == FULL
    assert [ask.what for ask in step.asks] == ["confirmation"]


def test_free_text_said_to_an_agent_is_no_answer() -> None:
    talk = Talk()
    talk.begin({name: value for name, value in FULL.items() if name != "topic"})
    talk.took(paused(RULES, talk.context, CHAT, START.replace(hour=10), talk.now))
    assert not talk.say("Can you call me tomorrow?").used


def test_an_answer_after_a_pause_that_the_clock_has_not_seen_end_goes_on() -> None:
    talk = Talk()
    talk.begin()
    talk.took(paused(RULES, talk.context, CHAT, START.replace(minute=30), talk.now))
    talk.now = START.replace(hour=11)
    assert "How long" in body(talk.say("blog"))
    assert talk.context.paused_until is None


def test_a_dialog_that_begins_while_an_agent_talks_asks_later() -> None:
    talk = Talk()
    talk.took(paused(RULES, talk.context, CHAT, START.replace(hour=10), talk.now))
    assert talk.begin().asks == ()
    assert "Which platform" in body(talk.wait(hours=1))


def test_an_order_while_one_is_open_adds_to_it() -> None:
    talk = Talk()
    talk.begin({"platform": "blog"})
    assert talk.begin({"platform": "twitter", "tone": "casual"}).asks == ()
    assert (talk.field, talk.params) == ("length", {"platform": "twitter", "tone": "casual"})
    step = talk.begin({"length": "long"})
    assert "What should it be about?" in body(step)
    assert talk.context.waiting == ()


def test_another_dialog_waits_until_the_open_one_is_over() -> None:
    talk = Talk()
    talk.begin({name: value for name, value in FULL.items() if name != "topic"})
    issue = {"categories": "face_photo", "applicant": "Dana", "applicant_id": "apl_1"}
    assert talk.begin(issue, dialog="applicant_issue").asks == ()
    assert talk.begin({**issue, "categories": "passport_photo"}, dialog="applicant_issue").asks == ()
    assert len(talk.context.waiting) == 1, "the newest report of an applicant counts"
    step = talk.say("tips")
    assert step.completed is not None
    assert len(step.asks) == 1
    assert step.due_at == talk.now
    step = talk.wait(seconds=0)
    assert "passport of Dana" in body(step)
    assert (talk.context.dialog, talk.field) == ("applicant_issue", "passport_photo")


def test_dialogs_about_different_things_do_not_mix() -> None:
    talk = Talk(dialog="applicant_issue")
    talk.begin({"categories": "face_photo", "applicant_id": "apl_1", "applicant": "Dana"})
    talk.begin({"categories": "business", "applicant_id": "apl_2", "applicant": "Noa"})
    assert talk.params["applicant"] == "Dana"
    talk.say(kind="image", key="whapi:photo")
    assert talk.last.completed is not None
    assert "Noa" in body(talk.wait(seconds=0))


def test_what_waits_is_told_to_the_person_who_takes_over() -> None:
    talk = Talk()
    talk.begin()
    talk.begin({"categories": "face_photo"}, dialog="applicant_issue")
    for _ in range(3):
        talk.say("TikTok")
    assert talk.last.escalated is not None
    assert "Not begun: applicant_issue" in talk.last.escalated.note
    assert talk.last.due_at is None


def test_a_report_that_withdraws_its_issues_ends_the_dialog_without_a_word() -> None:
    talk = Talk(dialog="applicant_issue")
    assert not talk.begin({"applicant_id": "apl_1", "categories": ""}).used, "there is nothing to ask for"
    talk.begin({"applicant_id": "apl_1", "categories": "face_photo,business"})
    talk.begin({"applicant_id": "apl_1", "categories": "business"})
    assert talk.field == "business"
    step = talk.begin({"applicant_id": "apl_1", "categories": ""})
    assert (step.asks, step.completed, talk.context.is_open) == ((), None, False)


def test_a_photo_is_asked_for_and_nothing_else_will_do() -> None:
    talk = Talk(dialog="applicant_issue")
    step = talk.begin(
        {
            "order": "IL1",
            "applicant": "Dana",
            "applicant_id": "apl_1",
            "categories": "face_photo,passport_expiry",
            "face_photo_issues": "Photo is blurred",
        }
    )
    assert step.asks[0].content == Text(
        "📷 The photo of Dana cannot be used: Photo is blurred.\nPlease send a new one here."
    )
    assert body(talk.say("here it comes, one moment please")).startswith("Please send it as a photo.")
    assert body(talk.say(kind="document")).startswith("Please send it as a photo.")
    assert not talk.say(kind="voice").used
    step = talk.say("here", kind="image", key="chatwoot:991")
    assert "passport of Dana valid" in body(step)
    assert talk.params["face_photo"] == "chatwoot:991"
    step = talk.say("31/12/2031")
    assert step.completed is not None
    assert step.completed.params["passport_expiry"] == "2031-12-31"
    assert step.completed.params["order"] == "IL1"
    assert step.escalated is not None
    assert (step.escalated.why, step.escalated.labels) == ("all is known", ("applicant-issue-answered",))
    assert "Photo of the face: chatwoot:991" in step.escalated.note
    assert [ask.what for ask in step.asks] == ["confirmation"]


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


def test_a_dialog_that_the_rules_no_longer_have_ends() -> None:
    talk = Talk()
    talk.begin()
    talk.rules = RULES.model_copy(update={"dialogs": RULES.dialogs[1:]})
    assert not talk.say("Blog").used
    step = talk.wait(seconds=0)
    assert (step.asks, talk.context.is_open, step.due_at) == ((), False, None)


def test_options_count_as_they_were_shown_when_the_rules_have_changed_since() -> None:
    talk = Talk()
    talk.begin()
    order = RULES.dialogs[0]
    platform = order.fields[0]
    turned = platform.model_copy(update={"options": platform.options[::-1]})
    talk.rules = with_fields(order, (turned, *order.fields[1:]))
    talk.say("1")
    assert talk.params == {"platform": "linkedin"}


def with_fields(order: Dialog, fields: tuple[object, ...]) -> DialogRules:
    """The shipped rules with other fields of the order."""
    return RULES.model_copy(update={"dialogs": (order.model_copy(update={"fields": fields}), *RULES.dialogs[1:])})


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

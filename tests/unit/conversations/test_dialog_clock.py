"""A dialog and the clock: reminders, giving up, and the silence while a human agent talks."""

from __future__ import annotations

from daemon.conversations.dialogs.dialog import paused, resumed
from tests.support.dialogs import CHAT, RULES, START, Talk, body, titles

FULL = {"platform": "linkedin", "length": "short", "tone": "casual", "topic": "news"}


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

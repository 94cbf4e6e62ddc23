"""Several dialogs of one conversation: they never mix, and one begins when the other is over."""

from __future__ import annotations

from daemon.conversations.dialogs.rules import Dialog, DialogRules
from schemas.messages import Text
from tests.support.dialogs import RULES, Talk, body

FULL = {"platform": "linkedin", "length": "short", "tone": "casual", "topic": "news"}


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

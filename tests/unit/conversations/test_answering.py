"""By which account a person is answered, or why they cannot be."""

from __future__ import annotations

import pytest

from adapters.registry import SENDERS
from daemon.conversations.clarification import answering
from daemon.conversations.clarification.accounts import account_of
from daemon.conversations.clarification.answering import NoWay, Way, Whom, number_in, way_to
from daemon.conversations.clarification.turning import carried
from schemas.messages import Choice, Choices, Text
from schemas.phone import Phone
from tests.support.answering import accounts, outside_with

E164 = "+972505550142"
PHONE = Phone.parse_e164(E164)
ACCOUNTS = {
    ("chatwoot", "default"): {"account_id": "1", "inbox_id": "12"},
    ("meta", "default"): {"phone_number_id": "106"},
    ("meta", "shop"): {"phone_number_id": "107"},
    ("twilio", "default"): {},
}


@pytest.mark.parametrize(
    ("whom", "wanted"),
    [
        (Whom("chatwoot", E164, account=1, inbox=12), Way("chatwoot", "default", PHONE)),
        (Whom("chatwoot", E164, None, account=1, inbox=12), Way("chatwoot", "default", PHONE)),
        (Whom("chatwoot", E164, None, None, 1, 12, 481), Way("chatwoot", "default", PHONE, 481)),
        (Whom("chatwoot", E164, "email", account=1, inbox=12), NoWay(answering.OTHER_CHANNEL)),
        (Whom("chatwoot", E164, account=1, inbox=13), NoWay(answering.OTHER_INBOX)),
        (Whom("chatwoot", None, account=1, inbox=12), NoWay(answering.NO_PHONE)),
        (Whom("meta", E164, number="106"), Way("meta", "default", PHONE)),
        (Whom("meta", E164, number="107"), Way("meta", "shop", PHONE)),
        (Whom("meta", E164, number="999"), Way("twilio", "default", PHONE)),
        (Whom("360dialog", E164), Way("twilio", "default", PHONE)),
        (Whom("whapi", E164), Way("twilio", "default", PHONE)),
    ],
)
def test_a_person_is_answered_by_the_account_that_they_have_written_to(whom: Whom, wanted: Way | NoWay) -> None:
    assert way_to(whom, accounts(ACCOUNTS), "twilio") == wanted


def test_where_nothing_sends_nobody_is_answered() -> None:
    assert way_to(Whom("360dialog", E164), accounts({}), "cgb") == NoWay(answering.NO_SENDER)


def test_the_account_of_the_settings_stands_for_its_number_and_inbox() -> None:
    outside = outside_with(
        meta_phone_number_id="106",
        meta_access_token="m" * 20,
        chatwoot_base_url="http://127.0.0.1:9",
        chatwoot_api_access_token="c" * 20,
        chatwoot_account_id=1,
        chatwoot_whatsapp_inbox_id=12,
    )
    assert account_of(outside, "meta", Whom("meta", E164, number="106")) == "default"
    assert account_of(outside, "meta", Whom("meta", E164, number="107")) is None
    assert account_of(outside, "chatwoot", Whom("chatwoot", E164, account=1, inbox=12)) == "default"
    assert account_of(outside, "chatwoot", Whom("chatwoot", E164, account=2, inbox=12)) is None
    assert account_of(outside, "twilio", Whom("twilio", E164)) is None
    assert account_of(outside, "360dialog", Whom("360dialog", E164)) is None


@pytest.mark.parametrize(
    ("chat", "number"), [("meta:106:972505550142", "106"), ("twilio::whatsapp:+1", None), ("odd", None)]
)
def test_a_chat_names_our_number(chat: str, number: str | None) -> None:
    assert number_in(chat) == number


@pytest.mark.parametrize("provider", sorted(SENDERS))
def test_choices_that_a_provider_has_no_form_for_are_numbered(provider: str) -> None:
    choices = Choices("Which?", tuple(Choice(f"Option {n}", f"o{n}") for n in range(4)))
    sent = carried(provider, choices)
    assert SENDERS[provider]().refusal(sent) is None
    assert sent == choices or sent == Text("Which?\n\n1. Option 0\n2. Option 1\n3. Option 2\n4. Option 3")

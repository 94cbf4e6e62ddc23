"""Templates through Chatwoot's sender: which is meant, how its places are filled, and what is refused before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.http import open_session
from daemon.sandbox.chatwoot import ChatwootSandbox
from schemas.errors import ChannelDown, Refused
from schemas.messages import Template
from tests.support.chatwoot_sending import actions, is_safe, sender_on, to, unclaimed
from tests.support.sending import PHONE

PDF = "https://files.example.test/a/visa.pdf"


def template(name: str, language: str = "en_US", status: str = "APPROVED", **parts: Any) -> dict[str, Any]:
    """A template as Meta has it; *parts*: its components by their types."""
    components = [{"type": kind.upper(), **part} for kind, part in parts.items()]
    return {"name": name, "language": language, "status": status, "category": "MARKETING", "components": components}


TEMPLATES = [
    template("plain", body={"text": "Hello"}),
    template("two", body={"text": "{{1}}, your {{2}} is ready. {{1}}!"}),
    template("named", body={"text": "Hello {{first_name}}"}),
    template("many", language="he", body={"text": "{{1}}"}),
    template("many", language="en", body={"text": "{{1}}"}),
    template("paused", status="PAUSED", body={"text": "Hello"}),
    template("ten", body={"text": " ".join(f"{{{{{n}}}}}" for n in range(1, 11))}),
    template("filed", header={"format": "DOCUMENT"}, body={"text": "Your visa"}),
    template("titled", header={"format": "TEXT", "text": "For {{1}}"}, body={"text": "Your visa"}),
    template(
        "tapped",
        body={"text": "Pay"},
        buttons={
            "buttons": [{"type": "QUICK_REPLY", "text": "No"}, {"type": "URL", "url": "https://pay.example.test/{{1}}"}]
        },
    ),
]


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatwootSandbox]:
    async with ChatwootSandbox() as running:
        running.switches.templates = TEMPLATES
        running.account.receive(PHONE.e164, "hello")
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


@pytest.mark.parametrize(
    ("content", "language", "params", "text"),
    [
        (Template("plain", "en_US"), "en_US", {}, "Hello"),
        (Template("plain"), "en_US", {}, "Hello"),
        (Template("plain", "EN_us"), "en_US", {}, "Hello"),
        (
            Template("two", "en_US", {"2": "visa", "1": "Noa"}),
            "en_US",
            {"body": {"1": "Noa", "2": "visa"}},
            "Noa, your visa is ready. Noa!",
        ),
        (Template("named", "en_US", {"first_name": "Noa"}), "en_US", {"body": {"first_name": "Noa"}}, "Hello Noa"),
        (Template("many", "he", {"1": "נועה"}), "he", {"body": {"1": "נועה"}}, "נועה"),
        (
            Template("filed", "en_US", {"header": PDF}),
            "en_US",
            {"header": {"media_url": PDF, "media_type": "document", "media_name": "visa.pdf"}},
            "Your visa",
        ),
        (Template("titled", "en_US", {"header": "Noa"}), "en_US", {"header": {"1": "Noa"}}, "Your visa"),
        (
            Template("tapped", "en_US", {"button_1": "token"}),
            "en_US",
            {"buttons": [None, {"type": "url", "parameter": "token"}]},
            "Pay",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_template_goes_out_with_its_places_filled_and_its_text_for_those_who_look(
    sandbox: ChatwootSandbox,
    session: ClientSession,
    content: Template,
    language: str,
    params: dict[str, Any],
    text: str,
) -> None:
    await sender_on(sandbox, session).send(to(PHONE, content), unclaimed)
    (made,) = sandbox.sent()
    assert made.additional["template_params"] == {
        "name": content.name,
        "language": language,
        "category": "MARKETING",
        "processed_params": params,
    }
    assert (made.content, made.status) == (text, "sent")


async def test_numbered_places_go_out_in_their_order(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    """Chatwoot takes the values as they stand, whatever their names are."""
    given = {str(n): f"v{n}" for n in (10, 2, 1, 3, 4, 9, 8, 7, 6, 5)}
    await sender_on(sandbox, session).send(to(PHONE, Template("ten", "en_US", given)), unclaimed)
    body = sandbox.bodies[-1][1]["template_params"]["processed_params"]["body"]
    assert list(body.values()) == [f"v{n}" for n in range(1, 11)]


async def test_a_variable_arrives_as_it_was_written(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    given = {"1": "{{contact.phone_number}}", "2": "`{% if x %}` {{{"}
    await sender_on(sandbox, session).send(to(PHONE, Template("two", "en_US", given)), unclaimed)
    (made,) = sandbox.sent()
    assert made.additional["template_params"]["processed_params"]["body"] == given
    assert made.content == "{{contact.phone_number}}, your `{% if x %}` {{{ is ready. {{contact.phone_number}}!"


@pytest.mark.parametrize(
    ("content", "code", "why"),
    [
        (Template("gone", "en_US"), "no-template", "no approved template of this name"),
        (Template("paused", "en_US"), "no-template", "no approved template of this name"),
        (Template("many", "fr", {"1": "a"}), "no-template", "en, he"),
        (Template("many", None, {"1": "a"}), "no-template", "en, he"),
        (Template("two", "en_US", {"1": "a"}), "variables", "also needs 2"),
        (Template("two", "en_US"), "variables", "also needs 1, 2"),
        (Template("plain", "en_US", {"1": "a"}), "variables", "has 0 variables, and 1 were given"),
        (Template("named", "en_US", {"1": "a"}), "variables", "also needs first_name"),
        (Template("filed", "en_US"), "variables", "also needs header"),
        (Template("filed", "en_US", {"header": "Noa"}), "variables", "shows a file"),
        (Template("tapped", "en_US", {"button_0": "a"}), "variables", "also needs button_1"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_template_that_whatsapp_would_refuse_is_refused_before_anything_is_made(
    sandbox: ChatwootSandbox, session: ClientSession, content: Template, code: str, why: str
) -> None:
    with pytest.raises(Refused, match=why) as caught:
        await sender_on(sandbox, session).send(to(PHONE, content), unclaimed)
    assert caught.value.code == code
    assert is_safe(caught.value)
    assert set(actions(sandbox)) == {"inbox"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Template(" ", "en"), "no name"),
        (Template("two", "en", {"1": " "}), "empty or longer"),
        (Template("two", "en", {"1": "x" * 1001}), "empty or longer"),
        (Template("two", "en", {"1": "x" * 1000}), None),
        (Template("two", "en", {"1": "a", "3": "b"}), "without a gap"),
        (Template("two", "en", {"1": "a", "name": "b"}), "without a gap"),
        (Template("two", None), None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_whatever_templates_there_are_is_refused_before_it_is_queued(
    sandbox: ChatwootSandbox, session: ClientSession, content: Template, why: str | None
) -> None:
    refusal = sender_on(sandbox, session).refusal(content)
    assert refusal is None if why is None else refusal is not None and why in refusal


async def test_a_new_template_is_found_once_the_list_is_old(sandbox: ChatwootSandbox, session: ClientSession) -> None:
    sender = sender_on(sandbox, session, account={"cache_s": "0"})
    with pytest.raises(Refused):
        await sender.send(to(PHONE, Template("new", "en_US")), unclaimed)
    sandbox.switches.templates = [*TEMPLATES, template("new", body={"text": "Hi"})]
    await sender.send(to(PHONE, Template("new", "en_US")), unclaimed)
    assert [one.content for one in sandbox.sent()] == ["Hi"]


@pytest.mark.parametrize("told", ["nothing", "no such call"])
async def test_where_the_inbox_does_not_tell_its_templates_they_are_not_checked(
    sandbox: ChatwootSandbox, session: ClientSession, told: str
) -> None:
    if told == "nothing":
        sandbox.switches.templates = None
    else:
        sandbox.faults.add("raw", path="/inboxes/", status=404, body="not found")
    sender = sender_on(sandbox, session)
    given = {"1": "Noa", "header": "https://files.example.test/a.png", "button_0": "x"}
    await sender.send(to(PHONE, Template("any", "en_US", given)), unclaimed)
    (made,) = sandbox.sent()
    assert made.additional["template_params"] == {
        "name": "any",
        "language": "en_US",
        "category": "UTILITY",
        "processed_params": {
            "body": {"1": "Noa"},
            "header": {"media_url": "https://files.example.test/a.png", "media_type": "image"},
            "buttons": [{"type": "url", "parameter": "x"}],
        },
    }
    with pytest.raises(Refused, match="language"):
        await sender.send(to(PHONE, Template("any")), unclaimed)


async def test_a_token_that_cannot_read_the_inbox_stops_the_channel(
    sandbox: ChatwootSandbox, session: ClientSession
) -> None:
    sandbox.switches.role = "outsider"
    with pytest.raises(ChannelDown):
        await sender_on(sandbox, session).send(to(PHONE, Template("plain", "en_US")), unclaimed)

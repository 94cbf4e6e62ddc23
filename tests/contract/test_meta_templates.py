"""What `MetaTemplates` promises, against the simulator over real HTTP: the whole list, or none of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.http import open_session
from adapters.meta.template_list import PAGE, MetaTemplates, _after
from adapters.ports import TemplateList
from adapters.registry import TEMPLATE_LISTS
from daemon.sandbox.faults import Fault
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import definition
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient
from schemas.templates import TemplateDefinition
from tests.support.gates import gate_on

PRIVATE = ("EAA", "Sandbox", "990001")


@pytest.fixture
async def sandbox() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


def list_on(sandbox: MetaSandbox, session: ClientSession, **account: str) -> TemplateList:
    gate = replace(gate_on(session, channel=Channel("meta-templates")), scope="meta:test", system="Meta")
    return TEMPLATE_LISTS["meta"]()(gate, account=lambda: sandbox.account() | account)


@pytest.fixture
def templates(sandbox: MetaSandbox, session: ClientSession) -> TemplateList:
    return list_on(sandbox, session)


async def failing(templates: TemplateList) -> FerrymanError:
    """The error of one reading; nothing of it may be secret."""
    with pytest.raises(FerrymanError) as caught:
        await templates.read()
    assert not any(part in f"{caught.value.full_text} {caught.value!r}" for part in PRIVATE)
    return caught.value


async def test_an_account_without_templates_has_none(templates: TemplateList) -> None:
    assert await templates.read() == []


async def test_a_template_is_read_as_it_is_without_its_examples(sandbox: MetaSandbox, templates: TemplateList) -> None:
    button = {"type": "URL", "text": "Open", "url": "https://example.test/{{1}}", "example": ["https://e.test/1"]}
    sandbox.switches.templates = [definition(body="For {{1}}", header="IMAGE", buttons=[button], status="PAUSED")]
    assert await templates.read() == [
        TemplateDefinition(
            name="parcel_ready",
            language="en_US",
            status="PAUSED",
            category="UTILITY",
            parameter_format="positional",
            components=[
                {"type": "HEADER", "format": "IMAGE"},
                {"type": "BODY", "text": "For {{1}}"},
                {"type": "BUTTONS", "buttons": [{k: v for k, v in button.items() if k != "example"}]},
            ],
            quality="UNKNOWN",
            provider_id=sandbox.switches.templates[0]["id"],
        )
    ]


async def test_what_postgres_cannot_keep_is_left_out(sandbox: MetaSandbox, templates: TemplateList) -> None:
    sandbox.switches.templates = [definition(body="For\x00 {{1}}", components=[{"type": "BODY", "\x00": "\x00{{1}}"}])]
    (found,) = await templates.read()
    assert "\x00" not in repr(found)
    assert list(found.components) == [{"type": "BODY"}]


async def test_a_reading_is_the_same_again(sandbox: MetaSandbox, templates: TemplateList) -> None:
    sandbox.switches.templates = [definition(body="{{who}}"), definition(language="he")]
    assert await templates.read() == await templates.read()


@pytest.mark.parametrize(
    ("told", "body", "form"),
    [("NAMED", "{{who}}", "named"), ("POSITIONAL", "{{1}}", "positional"), (None, "{{1}}", "positional")],
)
async def test_how_variables_are_given_is_told_or_shown_by_the_texts(
    sandbox: MetaSandbox, templates: TemplateList, told: str | None, body: str, form: str
) -> None:
    sandbox.switches.templates = [definition(body=body, parameter_format=told)]
    (found,) = await templates.read()
    assert found.parameter_format == form


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7])
async def test_every_page_is_read(sandbox: MetaSandbox, templates: TemplateList, count: int) -> None:
    sandbox.switches.templates = [definition(f"t{n}") for n in range(count)]
    assert [one.name for one in await templates.read()] == [f"t{n}" for n in range(count)]
    assert len(sandbox.ledger.entries) == -(-count // PAGE)
    assert all("access_token" not in entry.path for entry in sandbox.ledger.entries)


async def test_a_page_that_fails_leaves_nothing_of_the_others(
    sandbox: MetaSandbox, templates: TemplateList, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.switches.templates = [definition(f"t{n}") for n in range(4 * PAGE)]

    def third(method: str, path: str, contact: str) -> Fault | None:
        return Fault(kind="html") if len(sandbox.ledger.entries) == 3 else None

    monkeypatch.setattr(sandbox.faults, "take", third)
    assert isinstance(await failing(templates), Transient)
    assert len(sandbox.ledger.entries) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "html"}, Transient),
        ({"kind": "cut"}, Transient),
        ({"kind": "reset"}, Transient),
        ({"kind": "limited"}, Transient),
        ({"kind": "bad_token"}, ChannelDown),
        ({"kind": "error", "code": 200}, ChannelDown),
        ({"kind": "error", "code": 100}, Refused),
        ({"kind": "raw", "body": "[]"}, Transient),
        ({"kind": "raw", "body": "{}"}, Transient),
        ({"kind": "raw", "body": '{"data": {}}'}, Transient),
        ({"kind": "raw", "body": '{"data": [{"name": "a", "language": "en"}]}'}, Transient),
        ({"kind": "raw", "body": '{"data": [7]}'}, Transient),
    ],
    ids=str,
)
async def test_an_answer_that_is_no_list_is_an_error(
    sandbox: MetaSandbox, templates: TemplateList, fault: dict[str, Any], error: type[FerrymanError]
) -> None:
    sandbox.faults.add(**fault)
    assert isinstance(await failing(templates), error)


async def test_a_wrong_account_or_token_is_said(sandbox: MetaSandbox, session: ClientSession) -> None:
    assert isinstance(await failing(list_on(sandbox, session, waba_id="7")), ChannelDown)
    assert isinstance(await failing(list_on(sandbox, session, access_token="EAAWrong")), ChannelDown)


@pytest.mark.parametrize(
    ("paging", "after"),
    [
        ({"cursors": {"after": "c2"}, "next": "https://evil.test/x"}, "c2"),
        ({"next": "https://graph.test/x?limit=5&after=c2"}, "c2"),
        ({"cursors": {"after": "c2"}}, None),
        ({"next": ""}, None),
        ({"next": "https://[broken"}, None),
        ([], None),
    ],
)
def test_the_next_page_is_asked_for_by_its_cursor_at_the_same_address(paging: Any, after: str | None) -> None:
    assert _after(paging) == after


async def test_a_list_that_goes_round_is_an_error(sandbox: MetaSandbox, templates: TemplateList) -> None:
    body = '{"data": [], "paging": {"cursors": {"after": "x"}, "next": "https://graph.test/x"}}'
    sandbox.faults.add("raw", body=body, times=None)
    assert (await failing(templates)).code == "endless"
    assert len(sandbox.ledger.entries) == 2


def test_the_list_is_that_of_the_registry() -> None:
    assert TEMPLATE_LISTS["meta"]() is MetaTemplates

"""The looks at accounts that `ferryman doctor --live` makes: what each says of an account that works, and which setting
it names when one is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from adapters.registry import PROBES
from daemon.operator.live import Looked, look_at_accounts
from daemon.sandbox import cgb as cgb_sandbox
from daemon.sandbox import twilio as twilio_sandbox
from daemon.sandbox.cgb import CgbSandbox
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import WABA_ID
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from daemon.sandbox.openai import OpenAiSandbox
from daemon.sandbox.twilio import TwilioSandbox
from daemon.sandbox.twilio_webhooks import NUMBER
from daemon.sandbox.whapi import WhapiSandbox
from daemon.settings.load import load_settings
from daemon.settings.model import Settings
from tests.support.chatwoot_account import TOKEN as CHATWOOT_TOKEN
from tests.support.chatwoot_account import chatwoot
from tests.support.object_stores import emulator

NOBODY = "http://127.0.0.1:9"


class Systems:
    """Every simulated system, and the settings of its accounts."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        self.cgb = await stack.enter_async_context(CgbSandbox("live"))
        self.meta = await stack.enter_async_context(MetaSandbox())
        self.twilio = await stack.enter_async_context(TwilioSandbox())
        self.whapi = await stack.enter_async_context(WhapiSandbox())
        self.openai = await stack.enter_async_context(OpenAiSandbox())
        storage = stack.enter_context(emulator())
        self.given = {
            "CGB_API_URL": self.cgb.url,
            "CGB_API_KEY": cgb_sandbox.TOKEN,
            "META_GRAPH_URL": self.meta.url,
            "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
            "META_ACCESS_TOKEN": self.meta.token,
            "META_WABA_ID": WABA_ID,
            "TWILIO_API_URL": self.twilio.url,
            "TWILIO_ACCOUNT_SID": twilio_sandbox.ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": self.twilio.token,
            "TWILIO_WHATSAPP_NUMBER": NUMBER,
            "WHAPI_API_URL": self.whapi.url,
            "WHAPI_TOKEN": self.whapi.token,
            "OPENAI_BASE_URL": self.openai.url,
            "OPENAI_API_KEY": self.openai.key,
            "OPENAI_INTENT_MODEL": "gpt-4o-mini",
            "CHATWOOT_BASE_URL": await stack.enter_async_context(chatwoot()),
            "CHATWOOT_API_ACCESS_TOKEN": CHATWOOT_TOKEN,
            "CHATWOOT_ACCOUNT_ID": "3",
            "CHATWOOT_WHATSAPP_INBOX_ID": "4",
            "STORAGE_EMULATOR_HOST": storage,
        }

    async def look(self, **changed: str) -> dict[str, Looked]:
        looked = await look_at_accounts(read(self.given | changed))
        return {one.system: one for one in looked}


def read(given: dict[str, str]) -> Settings:
    return load_settings({name: text for name, text in given.items() if text}, None, known={})


@asynccontextmanager
async def opened() -> AsyncIterator[Systems]:
    async with AsyncExitStack() as stack:
        systems = Systems()
        await systems.open(stack)
        yield systems


@pytest.fixture
async def systems() -> AsyncIterator[Systems]:
    async with opened() as found:
        yield found


def said(looked: Looked) -> str:
    return "\n".join(str(finding) for finding in looked.findings)


async def test_accounts_that_work_are_told_with_what_they_say_of_themselves(systems: Systems) -> None:
    looked = await systems.look()
    assert {name: one.works for name, one in looked.items()} == {probe.system: True for probe in PROBES()}
    assert {finding.level for one in looked.values() for finding in one.findings} == {"ok"}
    meta = said(looked["meta"])
    assert all(word in meta for word in ("Sandbox", "quality GREEN", "TIER_2K", "state CONNECTED", "1 of Meta's apps"))
    assert "Visas" in said(looked["chatwoot"])
    assert "is a WhatsApp sender" in said(looked["twilio"])


async def test_a_look_changes_nothing_at_an_account(systems: Systems) -> None:
    await systems.look()
    for sandbox in (systems.cgb, systems.meta, systems.twilio, systems.whapi, systems.openai):
        assert {one.method for one in sandbox.ledger.entries} == {"GET"}


@pytest.mark.parametrize(
    ("changed", "system", "named"),
    [
        ({"CGB_API_KEY": "qqqqqqqq"}, "cgb", "CGB_API_KEY"),
        ({"CGB_API_URL": NOBODY}, "cgb", "CGB_API_URL"),
        ({"META_ACCESS_TOKEN": "qqqqqqqq"}, "meta", "META_ACCESS_TOKEN"),
        ({"META_PHONE_NUMBER_ID": "7"}, "meta", "META_PHONE_NUMBER_ID"),
        ({"META_GRAPH_URL": NOBODY}, "meta", "META_GRAPH_URL"),
        ({"TWILIO_AUTH_TOKEN": "qqqqqqqq"}, "twilio", "TWILIO_AUTH_TOKEN"),
        ({"TWILIO_ACCOUNT_SID": "AC" + "1" * 32}, "twilio", "TWILIO_ACCOUNT_SID"),
        ({"TWILIO_WHATSAPP_NUMBER": "+15550009999"}, "twilio", "TWILIO_WHATSAPP_NUMBER"),
        ({"TWILIO_API_URL": NOBODY}, "twilio", "TWILIO_API_URL"),
        ({"WHAPI_TOKEN": "qqqqqqqq"}, "whapi", "WHAPI_TOKEN"),
        ({"WHAPI_API_URL": NOBODY}, "whapi", "WHAPI_API_URL"),
        ({"OPENAI_API_KEY": "qqqqqqqq"}, "openai", "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": NOBODY}, "openai", "OPENAI_BASE_URL"),
        ({"CHATWOOT_API_ACCESS_TOKEN": "qqqqqqqq"}, "chatwoot", "CHATWOOT_API_ACCESS_TOKEN"),
        ({"CHATWOOT_ACCOUNT_ID": "8"}, "chatwoot", "CHATWOOT_ACCOUNT_ID"),
        ({"CHATWOOT_WHATSAPP_INBOX_ID": "9"}, "chatwoot", "CHATWOOT_WHATSAPP_INBOX_ID"),
        ({"CHATWOOT_BASE_URL": NOBODY}, "chatwoot", "CHATWOOT_BASE_URL"),
        ({"STORAGE_EMULATOR_HOST": NOBODY}, "storage", "STORAGE_EMULATOR_HOST"),
    ],
)
async def test_a_wrong_setting_is_named_with_the_place_of_the_right_one(
    systems: Systems, changed: dict[str, str], system: str, named: str
) -> None:
    looked = await systems.look(**changed)
    assert {name for name, one in looked.items() if not one.works} == {system}
    (probe,) = [one for one in PROBES() if one.system == system]
    (error,) = [finding for finding in looked[system].findings if finding.level == "error"]
    assert f"{named}: {probe.places[named.lower()]}" in error.do
    assert not any(text in said(looked[system]) for text in ("qqqqqqqq", systems.given["META_ACCESS_TOKEN"]))


async def test_a_whapi_that_knows_no_token_answers_in_two_ways(systems: Systems) -> None:
    for status in (401, 403, 404):
        systems.whapi.switches.bad_token = status
        assert "WHAPI_TOKEN" in said((await systems.look(WHAPI_TOKEN="qqqqqqqq"))["whapi"])


async def test_a_model_that_the_account_does_not_have_is_named_by_its_setting(systems: Systems) -> None:
    looked = (await systems.look(OPENAI_INTENT_MODEL="gpt-9"))["openai"]
    assert not looked.works
    assert "OPENAI_INTENT_MODEL" in said(looked)
    assert "OPENAI_TRANSCRIPTION_MODEL" not in said(looked)


async def test_an_account_that_cannot_send_is_an_error_and_one_in_danger_a_warning(systems: Systems) -> None:
    systems.whapi.switches.state = "QR"
    systems.twilio.switches.account.status = "suspended"
    systems.meta.switches.number |= {"quality_rating": "RED"}
    systems.meta.switches.apps = []
    looked = await systems.look()
    assert {name for name, one in looked.items() if not one.works} == {"twilio", "whapi"}
    assert [finding.level for finding in looked["meta"].findings] == ["ok", "warn", "warn"]
    assert "QR" in said(looked["whapi"])
    systems.meta.switches.number |= {"status": "FLAGGED"}
    assert not (await systems.look())["meta"].works


async def test_a_version_of_metas_api_that_lacks_a_field_is_asked_for_the_others(systems: Systems) -> None:
    del systems.meta.switches.number["whatsapp_business_manager_messaging_limit"]
    looked = (await systems.look())["meta"]
    assert looked.works
    assert "quality GREEN" in said(looked)


async def test_what_a_provider_in_trouble_says_blames_no_setting(systems: Systems) -> None:
    trouble: dict[str, Any] = {"status": 503}
    for sandbox in (systems.cgb, systems.meta, systems.twilio, systems.whapi, systems.openai):
        sandbox.faults.add("html", **trouble)
    looked = await systems.look()
    assert {name for name, one in looked.items() if one.works} == {"chatwoot", "storage"}
    for name in looked.keys() - {"chatwoot", "storage"}:
        assert "no setting is known to be wrong" in said(looked[name])


async def test_what_is_not_configured_is_not_asked_and_what_is_in_part_says_what_is_missing() -> None:
    assert await look_at_accounts(Settings()) == []
    (looked,) = await look_at_accounts(Settings(meta_waba_id=WABA_ID))
    assert looked.works
    assert "META_PHONE_NUMBER_ID and META_ACCESS_TOKEN are not set" in said(looked)

"""The outside systems of Ferryman by what they offer: a new one is a file in its system's folder and a line here.

A directory, a checker or a sender is imported when it is made: it needs an HTTP client, which a command that only reads
tables must not load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adapters.cgb import source as flows
from adapters.chatwoot import source as chatwoot
from adapters.dialog360 import source as dialog360
from adapters.meta import source as meta
from adapters.twilio import source as twilio
from adapters.vizi import issues
from adapters.vizi import source as orders
from adapters.whapi import source as whapi

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from adapters.channel import Channel
    from adapters.conversation_ports import (
        ClassifierMaker,
        CrmMaker,
        HistoryMaker,
        MediaSourceMaker,
        ObjectStore,
        TranscriberMaker,
    )
    from adapters.ports import CheckerMaker, DirectoryStyle, Probe, SenderMaker, TemplateListMaker

SOURCES: Final = (
    orders.SOURCE,
    issues.SOURCE,
    flows.SOURCE,
    chatwoot.SOURCE,
    meta.SOURCE,
    dialog360.SOURCE,
    twilio.SOURCE,
    whapi.SOURCE,
)
"""The webhook sources."""


def _cgb_live() -> DirectoryStyle:
    from adapters.cgb.live_directory import LiveCgb

    return LiveCgb


def _cgb_documented() -> DirectoryStyle:
    from adapters.cgb.documented_directory import DocumentedCgb

    return DocumentedCgb


DIRECTORIES: Final[Mapping[str, Callable[[], DirectoryStyle]]] = {
    "live": _cgb_live,
    "documented": _cgb_documented,
}
"""The styles of CGB's contact directory, by CGB_API_STYLE."""


def _cgb_checker() -> CheckerMaker:
    from adapters.cgb.documented_checker import DocumentedCgbChecker

    return DocumentedCgbChecker


def _whapi_checker() -> CheckerMaker:
    from adapters.whapi.checker import WhapiChecker

    return WhapiChecker


CHECKERS: Final[Mapping[str, Callable[[], CheckerMaker]]] = {"cgb": _cgb_checker, "whapi": _whapi_checker}
"""The checkers of numbers by their channel, in the order in which they are asked."""


def _twilio_sender() -> SenderMaker:
    from adapters.twilio.sender import TwilioSender

    return TwilioSender


def _meta_sender() -> SenderMaker:
    from adapters.meta.sender import MetaSender

    return MetaSender


def _cgb_sender() -> SenderMaker:
    from adapters.cgb.sender import CgbSender

    return CgbSender


def _chatwoot_sender() -> SenderMaker:
    from adapters.chatwoot.sender import ChatwootSender

    return ChatwootSender


def _whapi_sender() -> SenderMaker:
    from adapters.whapi.sender import WhapiSender

    return WhapiSender


SENDERS: Final[Mapping[str, Callable[[], SenderMaker]]] = {
    "cgb": _cgb_sender,
    "chatwoot": _chatwoot_sender,
    "meta": _meta_sender,
    "twilio": _twilio_sender,
    "whapi": _whapi_sender,
}
"""The senders by their provider."""


def _meta_templates() -> TemplateListMaker:
    from adapters.meta.template_list import MetaTemplates

    return MetaTemplates


def _cgb_templates() -> TemplateListMaker:
    from adapters.cgb.template_list import CgbFlows

    return CgbFlows


TEMPLATE_LISTS: Final[Mapping[str, Callable[[], TemplateListMaker]]] = {"cgb": _cgb_templates, "meta": _meta_templates}
"""The lists of templates by their provider."""


def _probes() -> tuple[Probe, ...]:
    from adapters.cgb import probe as cgb
    from adapters.chatwoot import probe as chatwoot
    from adapters.meta import probe as meta_number
    from adapters.openai import probe as openai
    from adapters.storage import probe as storage
    from adapters.twilio import probe as twilio_account
    from adapters.whapi import probe as channel

    of_providers = cgb.PROBE, chatwoot.PROBE, meta_number.PROBE, twilio_account.PROBE, channel.PROBE
    return *of_providers, openai.PROBE, storage.PROBE


PROBES: Final[Callable[[], tuple[Probe, ...]]] = _probes
"""The looks at accounts, in the order in which they are shown."""


def _openai_transcriber() -> TranscriberMaker:
    from adapters.openai.transcription import OpenAiTranscriber

    return OpenAiTranscriber


TRANSCRIBERS: Final[Mapping[str, Callable[[], TranscriberMaker]]] = {"openai": _openai_transcriber}
"""What turns speech into text, by its channel."""


def _openai_intents() -> ClassifierMaker:
    from adapters.openai.intents import OpenAiIntents

    return OpenAiIntents


CLASSIFIERS: Final[Mapping[str, Callable[[], ClassifierMaker]]] = {"openai": _openai_intents}
"""What tells the intent of a text, by its provider."""


def _meta_media() -> MediaSourceMaker:
    from adapters.meta.media import MetaMedia

    return MetaMedia


def _twilio_media() -> MediaSourceMaker:
    from adapters.twilio.media import TwilioMedia

    return TwilioMedia


def _whapi_media() -> MediaSourceMaker:
    from adapters.whapi.media import WhapiMedia

    return WhapiMedia


MEDIA: Final[Mapping[str, Callable[[], MediaSourceMaker]]] = {
    "meta": _meta_media,
    "twilio": _twilio_media,
    "whapi": _whapi_media,
}
"""Those who fetch the files of messages by a token, by their provider."""


def file_store(directory: Path, channel: Channel) -> ObjectStore:
    """Objects as files in *directory*."""
    from adapters.storage.files import FileStore

    return FileStore(directory, channel)


def gcs_store(
    session: ClientSession,
    channel: Channel,
    *,
    project: str,
    emulator: str | None,
    email: str,
    key: Callable[[], str],
    key_id: str,
    token_url: str,
) -> ObjectStore:
    """Objects in Google Cloud Storage. The account: as of `adapters/storage/account.py::GcsAccount`."""
    from adapters.storage.account import GcsAccount
    from adapters.storage.gcs import GcsStore

    account = GcsAccount(project=project, emulator=emulator, email=email, key=key, key_id=key_id, token_url=token_url)
    return GcsStore(account, session, channel)


def _chatwoot_crm() -> CrmMaker:
    from adapters.chatwoot.crm import ChatwootCrm

    return ChatwootCrm


CRM: Final[Callable[[], CrmMaker]] = _chatwoot_crm
"""The CRM."""


def _chatwoot_history() -> HistoryMaker:
    from adapters.chatwoot.history import ChatwootHistory

    return ChatwootHistory


HISTORIES: Final[Mapping[str, Callable[[], HistoryMaker]]] = {"chatwoot": _chatwoot_history}
"""The histories of CRMs, by the source whose lost webhooks they make good."""

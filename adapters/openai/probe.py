"""A look at an account of OpenAI: whether it takes the key and has the models that the settings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from aiohttp import ClientSession

from adapters.openai.client import judge
from adapters.ports import Probe, Sign
from adapters.probing import ask, no_way
from schemas.errors import FerrymanError

_MODELS: Final = {"model": "OPENAI_TRANSCRIPTION_MODEL", "intent_model": "OPENAI_INTENT_MODEL"}
_LIST: Final = "platform.openai.com/docs/models has their names; a project may be kept from some (Settings → Limits)"


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`: the list of models, which costs nothing. It does not say whether the account has credit left."""
    headers = {"Authorization": f"Bearer {account['key']}"}
    reply = await ask(session, f"{account['url'].rstrip('/')}/models", system="OpenAI", headers=headers)
    listed = judge(reply, channel="openai", private=(account["key"],), now=datetime.now(UTC)).get("data")
    known = {one.get("id") for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()
    if not known:
        return [Sign("warn", "openai takes the key, and lists no models", _LIST)]
    signs = [Sign("ok", "openai takes the key")]
    for value, setting in _MODELS.items():
        model = account.get(value)
        if model is not None and model not in known:
            text = f"OpenAI's account has no model of the name in {setting}"
            signs.append(Sign("error", text, f"{setting}: {_LIST}"))
    return signs


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`."""
    if error.code.startswith(("http-401", "http-403")):
        return ("openai_api_key",)
    return ("openai_base_url",) if no_way(error) else ()


PROBE: Final = Probe(
    system="openai",
    values={
        "key": "openai_api_key",
        "url": "openai_base_url",
        "model": "openai_transcription_model",
        "intent_model": "openai_intent_model",
    },
    needs=("key",),
    places={
        "openai_api_key": "platform.openai.com → API keys",
        "openai_base_url": "https://api.openai.com/v1, or the address of a server that answers as OpenAI does",
        "openai_intent_model": "platform.openai.com/docs/models",
    },
    look=look,
    blamed=blamed,
)

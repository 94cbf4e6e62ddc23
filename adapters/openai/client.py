"""One call to OpenAI's API, and what its answer means.

A failure is `{"error": {"message", "type", "param", "code"}}` (openai/openai-openapi: ErrorResponse). *code* tells what
to do where HTTP's status does not: a 429 is a rate limit or an empty account, a 413 says `server_error`. Its message
may quote what we sent, so it is masked before it is kept. Servers that answer as OpenAI does may leave *code* out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson

from adapters.gate import Gate, Look
from adapters.http import Part, Reply, coded, retry_after
from adapters.masking import masked, texts_of, without_sent
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient

_NO_CREDIT: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated"}
)
_OF_THE_ACCOUNT: Final = _NO_CREDIT | {
    "invalid_api_key",
    "account_deactivated",
    "invalid_organization",
    "model_not_found",
    "unsupported_country_region_territory",
}
_COME_AGAIN: Final = frozenset({408, 409, 425})
"""Statuses that the vendor's own client tries again, besides 429 and 5xx (openai-python: `_should_retry`)."""

_KNOWN_CODES: Final = _OF_THE_ACCOUNT | {
    "audio_too_short",
    "context_length_exceeded",
    "invalid_value",
    "rate_limit_exceeded",
    "request_too_large",
    "unsupported_parameter",
    "unsupported_value",
}
"""The codes that a name of ours may repeat: others may hold anything."""

_PARAMETERS: Final = frozenset({"response_format", "temperature"})


class NotTaken(Refused):
    """The model does not take *parameter*, one that a request can go without."""

    def __init__(self, text: str, parameter: str) -> None:
        super().__init__(text)
        self.parameter = parameter


class OpenAiCalls:
    """The calls of one account through *gate*. *base_url*: with its `/v1`. *key* gives the key, and is asked at each
    call. None of them changes anything there, so each may be repeated."""

    def __init__(self, gate: Gate, base_url: str, key: Callable[[], str]) -> None:
        self._gate = gate
        self._base_url = base_url.rstrip("/")
        self._key = key

    async def ask(
        self,
        path: str,
        *,
        about: str,
        json: Any = None,
        parts: Sequence[Part] | None = None,
        private: Iterable[str] = (),
    ) -> Mapping[str, Any]:
        """POST a question; returns the JSON object of its success. *about*: whose it is. *private*: texts of the
        request besides those of *json*, which error texts must not repeat.

        Raises: Transient, ChannelDown, Refused (NotTaken) as `judge` tells; what the gate raises without a request.
        """
        headers = {"Authorization": f"Bearer {self._key()}"}
        channel = self._gate.channel.name
        judged = partial(_judged, channel=channel, private=[*texts_of([headers, json]), *private])
        return await self._gate.request(
            "POST",
            self._base_url + path,
            judged,
            headers=headers,
            json=json,
            parts=parts,
            about=about,
            neutral=lambda: Look(f"{self._base_url}/models", headers, partial(_judged, channel=channel, private=())),
            asks=True,
        )


def _judged(reply: Reply, *, channel: str, private: Iterable[str]) -> Mapping[str, Any]:
    return judge(reply, channel=channel, private=private, now=datetime.now(UTC))


def judge(reply: Reply, *, channel: str, private: Iterable[str], now: datetime) -> Mapping[str, Any]:
    """The JSON object of a successful answer. *channel*: which is down where the account is at fault. *private*: texts
    of the request. *now*: with its time zone.

    Raises:
        Transient: we asked too often (limited); 408, 409, 5xx; a success that is no JSON object.
        ChannelDown: key, credit, country, or a model that is wrong; an address where nobody knows such a call.
        Refused: the request itself is wrong, as its file is; NotTaken for a parameter that it can go without.
    """
    data = _parsed(reply.body)
    if 200 <= reply.status < 300:
        if isinstance(data, dict):
            return data
        raise coded(Transient(f"OpenAI: HTTP {reply.status} with a body that is not a JSON object"), "not-json")
    told = data.get("error") if isinstance(data, dict) else None
    told = told if isinstance(told, dict) else {}
    error = _failure(reply, told, channel, _wait_s(reply.headers, now))
    message = told.get("message")
    error.said = masked(without_sent(message, private) or "") if isinstance(message, str) else ""
    raise error


def _failure(reply: Reply, told: Mapping[str, Any], channel: str, wait_s: float | None) -> FerrymanError:
    status = reply.status
    kind = next((name for name in (told.get("code"), told.get("type")) if name in _KNOWN_CODES), None)
    text, code = f"OpenAI: HTTP {status}", f"http-{status}"
    if kind is not None:
        text, code = f"{text}, {kind}", f"{code}-{kind.replace('_', '-')}"
    error: FerrymanError
    if (
        kind in _OF_THE_ACCOUNT
        or told.get("param") == "model"
        or status in (401, 402, 403, 404, 405)
        or 300 <= status < 400
    ):
        error = ChannelDown(text, channel=channel)
    elif status == 429:
        error = Transient(text, retry_after_s=wait_s, limited=True)
    elif status in _COME_AGAIN or status >= 500:
        error = Transient(text, retry_after_s=wait_s)
    elif (parameter := told.get("param")) in _PARAMETERS:
        error = NotTaken(f"{text}: the model does not take {parameter}", parameter)
    else:
        error = Refused(text)
    return coded(error, code)


def _wait_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that it asks us to wait: the vendor's own client looks at `retry-after-ms` first."""
    exact = headers.get("retry-after-ms", "").strip()
    if exact.isascii() and exact.isdigit() and len(exact) <= 7:
        return int(exact) / 1000
    return retry_after(headers, now)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

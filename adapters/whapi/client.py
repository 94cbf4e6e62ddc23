"""One call to Whapi, and what its answer means.

A failure is `{"error": {"code": …, "message": …, "details": …}}`, mostly with the HTTP status of its code, now and then
inside a 2xx. Nothing of Whapi's text is kept: it may quote what we sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from adapters.gate import Gate
from adapters.http import Reply, coded, lost, retry_after
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient

CHANNEL: Final = "whapi"

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403, 404, 405})
"""Token, plan or quota, access. A token that is not known is answered 404, Channel not found."""


class WhapiCalls:
    """The calls of one channel through *gate*. *token* gives its token, and is asked at each call."""

    def __init__(self, gate: Gate, base_url: str, token: Callable[[], str]) -> None:
        self._gate = gate
        self._base_url = base_url.rstrip("/")
        self._token = token

    async def ask(self, path: str, json: Mapping[str, Any], shape: Callable[[Any], bool]) -> Any:
        """POST a question, which changes nothing; returns the JSON object of a success. *shape*: whether an answer has
        the shape that the caller knows; another one is as good as none.

        Raises: Transient, ChannelDown, Refused as `judge` tells; what the gate raises without a request.
        """

        def judged(reply: Reply) -> Any:
            answer = judge(reply, now=datetime.now(UTC))
            if not shape(answer):
                raise coded(Transient(f"Whapi: HTTP {reply.status} with JSON of another shape"), "other-shape")
            return answer

        headers = {"Authorization": f"Bearer {self._token()}"}
        return await self._gate.request("POST", self._base_url + path, judged, headers=headers, json=json, asks=True)


def judge(reply: Reply, *, now: datetime) -> Any:
    """The JSON object of a successful answer to a question. *now*: with its time zone.

    Raises:
        Transient: we asked too often (limited); 5xx, 408, or a success that is not a JSON object.
        ChannelDown: token, plan, quota or access; a redirect or 404, which mean a wrong address or token.
        Refused: any other failure.
    """
    data = _parsed(reply.body)
    status = reply.status
    if 200 <= status < 300:
        if not isinstance(data, dict):
            raise coded(lost(f"Whapi: HTTP {status} with a body that is not a JSON object", write=False), "not-json")
        if data.get("error") is None:
            return data
    raise _failure(status, _code(data, status), retry_after(reply.headers, now))


def _failure(status: int, kind: int, wait_s: float | None) -> FerrymanError:
    """The error for an answer with *status* that means *kind*."""
    text, code = f"Whapi: HTTP {status}", f"http-{status}"
    if kind != status:
        text, code = f"{text}, error {kind}", f"{code}-error-{kind}"
    error: FerrymanError
    if kind == 429:
        error = Transient(text, retry_after_s=wait_s, limited=True)
    elif kind >= 500 or kind == 408:
        error = Transient(text, retry_after_s=wait_s)
    elif kind in _OF_THE_ACCOUNT or 300 <= kind < 400:
        error = ChannelDown(text, channel=CHANNEL)
    else:
        error = Refused(text)
    return coded(error, code)


def _code(data: Any, status: int) -> int:
    """What a failure means, as a status of HTTP: Whapi's own code where it is one, else the answer's."""
    error = data.get("error") if isinstance(data, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and not isinstance(code, bool) and 300 <= code <= 599 and status < 500:
        return code
    return status if status >= 300 else 500


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

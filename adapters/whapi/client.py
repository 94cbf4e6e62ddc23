"""One call to Whapi, and what its answer means.

A failure is `{"error": {"code": …, "message": …, "details": …}}`, mostly with the HTTP status of its code, now and then
inside a 2xx. Its text may quote what we sent, so it is masked before it is kept.

A token that is not known is answered 404, Channel not found; so is a chat that is not there, in other words. Where the
words do not tell the two apart, a look at the channel does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from adapters.gate import Gate, Look
from adapters.http import Part, Reply, coded, lost, retry_after
from adapters.masking import masked, texts_of, without_sent
from adapters.ports import Claim, FetchedFile
from adapters.uploads import UPLOAD_S
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient, Uncertain

CHANNEL: Final = "whapi"

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403, 405})
"""Token, plan or quota, access."""

_CHANNEL_WORDS: Final = re.compile(r"\b(?:channel|token)\b", re.I)
_OTHER_WORDS: Final = re.compile(r"\b(?:chat|contact|group|recipient|participant|number|media|file|message)\b", re.I)
_FILE_WORDS: Final = re.compile(r"\b(?:media|file)\b", re.I)
_STATES: Final = frozenset({"INIT", "LAUNCH", "QR", "STOP", "SYNC_ERROR", "ERROR", "NOT_INIT"})


OF_A_FILE: Final = "-file"
"""How the code of a refusal ends whose words are about a file."""


class _NotFound(ChannelDown):
    """The channel, or what the call was about, is not there."""


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
        headers = self._headers()
        judged = _judged(shape, [headers, json], write=False)
        return await self._gate.request("POST", self._base_url + path, judged, headers=headers, json=json, asks=True)

    async def read(self, path: str, params: Mapping[str, str], shape: Callable[[Any], bool]) -> Any:
        """GET something; returns the JSON object of a success. *shape*: as in `ask`. Raises as `ask`."""
        headers = self._headers()
        judged = _judged(shape, [headers], write=False)
        return await self._gate.request("GET", self._base_url + path, judged, headers=headers, params=params)

    async def send(
        self,
        path: str,
        json: Mapping[str, Any],
        shape: Callable[[Any], bool],
        method: str = "POST",
        *,
        claim: Claim,
        about: str,
    ) -> Any:
        """Send what is done at most once; returns the JSON object of a success. *claim*: see the gate. *about*: whom it
        goes to. *shape*: as in `ask`.

        Raises: Uncertain where Whapi may have done it; else as `ask`; what *claim* raises.
        """
        return await self._change(method, path, json, shape, about=about, claim=claim, asks=False)

    async def mark(self, path: str, shape: Callable[[Any], bool], *, about: str) -> Any:
        """PUT a mark, which changes nothing more when it is done again. *about*, *shape*: as in `send`. Raises as
        `ask`."""
        return await self._change("PUT", path, None, shape, about=about, claim=None, asks=True)

    async def _change(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None,
        shape: Callable[[Any], bool],
        *,
        about: str,
        claim: Claim | None,
        asks: bool,
    ) -> Any:
        """A call about one chat. What Whapi does not find there is no fault of the channel, unless that is not found
        either. *asks*: see the gate."""
        headers, health = self._headers(), self._base_url + "/health"
        judged, healthy = _judged(shape, [headers, json], write=not asks), _judged(_any, [headers], write=False)
        down: list[ChannelDown] = []

        def noted(reply: Reply) -> Any:
            try:
                return judged(reply)
            except ChannelDown as error:
                down.append(error)
                raise

        def confirmed(reply: Reply) -> None:
            healthy(reply)
            if not isinstance(down[-1], _NotFound):
                raise down[-1]  # a plan that is used up does not show in the channel's health

        return await self._gate.request(
            method,
            self._base_url + path,
            noted,
            headers=headers,
            json=json,
            look=lambda: Look(health, headers, confirmed),
            about=about,
            neutral=lambda: Look(health, headers, healthy),
            asks=asks,
            claim=claim,
        )

    async def upload(self, file: FetchedFile) -> str:
        """Give Whapi a file; returns its id. Its type is what its name says. Raises as `ask`."""
        headers = self._headers()
        judged = _judged(lambda answer: id_of_file(answer) is not None, [headers, {"name": file.name}], write=False)
        parts = [Part("media", file.body, file.name, file.content_type)]
        gate = replace(self._gate, timeout_s=UPLOAD_S)
        answer = await gate.request(
            "POST",
            self._base_url + "/media",
            judged,
            headers=headers,
            parts=parts,
            about=file.name,  # Whapi may fail over one file and take all others
            neutral=lambda: Look(self._base_url + "/health", headers, _judged(_any, [headers], write=False)),
            asks=True,
        )
        id = id_of_file(answer)
        assert id is not None
        return id

    def demand_open(self) -> None:
        """Raises: ChannelClosed where no message could be sent now."""
        self._gate.channel.check("write")

    async def demand_linked(self) -> None:
        """Look whether the channel can send now. An answer that does not tell counts as a yes.

        Raises: ChannelDown where it cannot; Transient; what the gate raises without a request.
        """

        headers = self._headers()

        def judged(reply: Reply) -> None:
            if reply.status in (404, 405) and not _CHANNEL_WORDS.search(_heard(_parsed(reply.body))):
                return  # a gateway without this question
            try:
                status = judge(reply, write=False, private=texts_of(headers), now=datetime.now(UTC)).get("status")
            except Refused:
                return
            state = status.get("text") if isinstance(status, dict) else status
            if isinstance(state, str) and state in _STATES:
                text = f"Whapi: the channel cannot send, its state is {state}: look at it in Whapi's dashboard"
                raise coded(ChannelDown(text, channel=CHANNEL), f"state-{state.lower()}")

        await self._gate.request("GET", self._base_url + "/health", judged, headers=headers)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}"}


def id_of_file(answer: Any) -> str | None:
    """The id of a file that was uploaded, in `{"media": [{"id": …}]}` or in the object itself; None: it has none."""
    media = answer.get("media")
    found = media[0] if isinstance(media, list) and media else media if isinstance(media, dict) else answer
    id = found.get("id") if isinstance(found, dict) else None
    return id.strip() or None if isinstance(id, str) else None


def _any(answer: Any) -> bool:
    return True


def _judged(shape: Callable[[Any], bool], sent: Any, *, write: bool) -> Callable[[Reply], Any]:
    def judged(reply: Reply) -> Any:
        answer = judge(reply, write=write, private=texts_of(sent), now=datetime.now(UTC))
        if not shape(answer):
            raise coded(lost(f"Whapi: HTTP {reply.status} with JSON of another shape", write=write), "other-shape")
        return answer

    return judged


def judge(reply: Reply, *, write: bool, private: Iterable[str], now: datetime) -> Any:
    """The JSON object of a successful answer. *write*: the request was to change something. *private*: texts of the
    request, which error texts must not repeat. *now*: with its time zone.

    Raises:
        Transient: we asked too often (limited); 408; a question was answered 5xx, or without a JSON object.
        Uncertain: a write was answered 5xx, or with a success that is not a JSON object.
        ChannelDown: token, plan, quota or access; a redirect, or a 404 that may mean a wrong address or token.
        Refused: any other failure.
    """
    data = _parsed(reply.body)
    status = reply.status
    if 200 <= status < 300:
        if not isinstance(data, dict):
            raise coded(lost(f"Whapi: HTTP {status} with a body that is not a JSON object", write=write), "not-json")
        if data.get("error") is None:
            return data
    heard = _heard(data)
    error = _failure(status, _code(data, status), heard, retry_after(reply.headers, now), write=write)
    error.said = masked(without_sent(heard, private) or "")
    raise error


def _failure(status: int, kind: int, heard: str, wait_s: float | None, *, write: bool) -> FerrymanError:
    """The error for an answer with *status* that means *kind*. *heard*: Whapi's words; they are kept nowhere."""
    text, code = f"Whapi: HTTP {status}", f"http-{status}"
    if kind != status:
        text, code = f"{text}, error {kind}", f"{code}-error-{kind}"
    if kind < 500 and _FILE_WORDS.search(heard):
        code += OF_A_FILE
    error: FerrymanError
    if kind == 429:
        error = Transient(text, retry_after_s=wait_s, limited=True)
    elif kind >= 500 and write:
        error = Uncertain(text)
    elif kind >= 500 or kind == 408:
        error = Transient(text, retry_after_s=wait_s)
    elif kind == 404 and _OTHER_WORDS.search(heard) and not _CHANNEL_WORDS.search(heard):
        error = Refused(f"{text}: it knows no such chat, message or file")
    elif kind == 404:
        error = _NotFound(text, channel=CHANNEL)
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


def _heard(data: Any) -> str:
    error = data.get("error") if isinstance(data, dict) else None
    texts = (error.get(name) for name in ("message", "details")) if isinstance(error, dict) else ()
    return " ".join(text for text in texts if isinstance(text, str))[:1000]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

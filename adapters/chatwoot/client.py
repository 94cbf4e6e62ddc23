"""One call to Chatwoot's application API, and what its answer means.

A failure has one of three shapes: `{"message": …, "attributes": […]}` where a record is not valid, `{"error": …}`, and
`{"errors": […]}`. Its words are in the language of the token's owner, so status and attributes decide. They may quote
what we sent, so they are masked before they are kept.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson

from adapters.gate import Gate, Look
from adapters.http import Part, Reply, coded, lost, retry_after
from adapters.masking import masked, texts_of, without_sent
from schemas.errors import ChannelDown, Exists, FerrymanError, Refused, Transient, Uncertain

T = TypeVar("T")

CHANNEL: Final = "chatwoot"

LONGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of an answer that are read. A message has up to 150,000 characters, and a page up to 25 conversations, each of
which shows its newest one twice: no customer's long texts must look like a wrong address. Asked for by time the list of
conversations comes whole, each of which has some 4,000."""

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403, 405, 407})
"""Token, role, plan, address. A missing role is answered 401 too."""

_UNTOLD: Final = frozenset({400, 403, 404, 405})
_UNIQUE: Final = frozenset({"phone_number", "identifier", "email", "source_id", "title"})
_FLOODED: Final = "Too many messages"
"""The only words that are in English whatever the language: more than 200 messages a minute in one conversation."""

_OF_THE_SERVER: Final = re.compile(
    r"redis|connect|time[d-]?\s?out|\bPG::|\bSSL|socket|broken pipe|reset by peer|end of file|\bEOF|READONLY|\bOOM",
    re.I,
)
"""A message whose creation fails is answered 422 with the words of whatever was raised, which may have been raised
after the message was stored: while it was put on the queue of those to be sent, say."""


class NotThere(Refused):
    """Chatwoot does not find what the call was about, because it was deleted or merged into another."""


class ChatwootCalls:
    """The calls of one account through *gate*. *account* gives its `url`, `account_id`, `inbox_id` and `token`, and is
    asked at each call, as the token may change."""

    def __init__(self, gate: Gate, account: Callable[[], Mapping[str, str]]) -> None:
        self._gate = gate
        self._account = account

    @property
    def inbox_id(self) -> int:
        """The inbox that messages go out by."""
        return int(self._account()["inbox_id"])

    async def ask(
        self,
        path: str,
        read: Callable[[Any], T | None],
        *,
        about: str | None,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        known: bool = False,
    ) -> T:
        """What *read* makes of the answer to a question; None from it means that the answer has another shape. With
        *json* the question goes by POST. *about*: whom it is about. *known*: the record in *path* was there before, so
        a 404 is its own; else it is the account's.

        Raises: Transient; ChannelDown; Refused, NotThere among them; what the gate raises without a request.
        """
        judged = self._judged(read, [params, json], write=False, known=known)
        method = "GET" if json is None else "POST"
        how = {"params": params, "json": json, "asks": True, "max_body": LONGEST_ANSWER}
        return await self._request(method, path, judged, about, **how)

    async def glance(self, path: str, read: Callable[[Any], T | None]) -> T | None:
        """What *read* makes of the answer to a question that is worth no failure: None where this installation does not
        tell. Raises: Transient; ChannelDown; what the gate raises without a request."""
        judged = self._judged(read, [], write=False, known=False)

        def told(reply: Reply) -> T | None:
            return None if reply.status in _UNTOLD else judged(reply)

        return await self._request("GET", path, told, None)

    async def make(
        self, path: str, json: Mapping[str, Any], read: Callable[[Any], T | None], *, about: str, known: bool = False
    ) -> T:
        """What *read* makes of the answer to the creation of a record. Raises: Exists where there is one by the same
        phone, identifier or address; Uncertain; else as `ask`."""
        judged = self._judged(read, [json], write=True, known=known)
        return await self._request("POST", path, judged, about, json=json)

    async def of_record(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T | None],
        *,
        about: str,
        json: Mapping[str, Any] | None = None,
        known: bool = True,
    ) -> T:
        """What *read* makes of the answer to a call on a record; a write may be done again. A refusal that may be the
        account's is the record's own where the inbox can be read: the token's owner may see other conversations, or may
        not do this. *known*: as of `ask`. Raises: as `ask`; Uncertain where a write may have been done."""
        judged = self._judged(read, [json], write=method != "GET", known=known)
        return await self._request(method, path, judged, about, json=json, look=self._inbox)

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | Sequence[Part],
        read: Callable[[Any], T | None],
        *,
        about: str,
        claim: Callable[[], Awaitable[None]],
    ) -> T:
        """Create a message, at most once: *body* as JSON, or as the parts of a form. *claim*: see the gate. A refusal
        that may be the account's is the message's own where the inbox can be read. Raises: Uncertain where it may have
        been created; else as `ask`; what *claim* raises."""
        parts, json = (None, body) if isinstance(body, Mapping) else (body, None)
        sent = [json, [one.value for one in parts or () if one.filename is None]]
        judged = self._judged(read, sent, write=True, known=True, creates_message=True)
        look = self._inbox
        return await self._request("POST", path, judged, about, json=json, parts=parts, claim=claim, look=look)

    async def _request(self, method: str, path: str, judged: Callable[[Reply], T], about: str | None, **how: Any) -> T:
        neutral = None if about is None else self._inbox
        url = self._base() + path
        return await self._gate.request(
            method, url, judged, headers=self._headers(), about=about, neutral=neutral, **how
        )

    def _inbox(self) -> Look:
        """A read that names no customer."""
        judged = self._judged(lambda data: data if isinstance(data, dict) else None, [], write=False, known=False)
        return Look(f"{self._base()}/inboxes/{self.inbox_id}", self._headers(), judged)

    def _base(self) -> str:
        account = self._account()
        return f"{account['url'].rstrip('/')}/api/v1/accounts/{account['account_id']}"

    def _headers(self) -> dict[str, str]:
        # nginx drops names with underscores, and Rails reads both spellings alike (chatwoot/chatwoot#1057)
        return {"Api-Access-Token": self._account()["api_access_token"]}

    def _judged(self, read: Callable[[Any], T | None], sent: Any, **how: bool) -> Callable[[Reply], T]:
        private = [self._account()["api_access_token"], *texts_of(sent)]
        return lambda reply: judge(reply, read, private=private, now=datetime.now(UTC), **how)


def judge(
    reply: Reply,
    read: Callable[[Any], T | None],
    *,
    private: Iterable[str],
    now: datetime,
    write: bool,
    known: bool,
    creates_message: bool = False,
) -> T:
    """What *read* makes of the JSON of a success. *private*: texts of the request, which error texts must not repeat.
    *now*: with its time zone. *write*: the request was to change something. *known*: see `ChatwootCalls.ask`.

    Raises:
        Transient: we asked too often (limited), or the conversation has too many messages for this minute (answered);
            408; a question was answered 5xx, or without the JSON that the caller reads.
        Uncertain: a write was answered 5xx, or with a success without that JSON; a message was refused for a reason
            that says nothing of whether it is stored.
        ChannelDown: 401, 402, 403, 405, 407; a redirect; a 404 that is the account's or the inbox's.
        NotThere: a 404 that is the record's. Exists: 422, as it would be there twice. Refused: any other failure.
    """
    data, status = _parsed(reply.body), reply.status
    if 200 <= status < 300:
        if (found := read(data)) is not None:
            return found
        raise coded(lost(f"Chatwoot: HTTP {status} with a body of another shape", write=write), "other-shape")
    heard = _heard(data)
    if status == 422:
        error = _invalid(data, heard, now, creates_message=creates_message)
    else:
        error = _failure(reply, data, now, write=write, known=known)
    error.said = masked(without_sent(heard, private) or "")
    raise error


def _invalid(data: Any, heard: str, now: datetime, *, creates_message: bool) -> FerrymanError:
    attributes = data.get("attributes") if isinstance(data, dict) else None
    named = {one for one in attributes if isinstance(one, str)} if isinstance(attributes, list) else set()
    if named & _UNIQUE:
        return coded(Exists("Chatwoot: HTTP 422, there is such a record or its values are not valid"), "http-422")
    if creates_message and _FLOODED in heard:
        error: FerrymanError = Transient("Chatwoot: too many messages in this conversation", retry_after_s=_next(now))
        error.answered = True
        return coded(error, "flooded")
    if creates_message and _OF_THE_SERVER.search(heard):
        return coded(Uncertain("Chatwoot: HTTP 422 for a failure of the server"), "http-422-server")
    return coded(Refused("Chatwoot: HTTP 422"), "http-422")


def _failure(reply: Reply, data: Any, now: datetime, *, write: bool, known: bool) -> FerrymanError:
    status, wait_s = reply.status, retry_after(reply.headers, now)
    text = f"Chatwoot: HTTP {status}"
    error: FerrymanError
    if status == 429:
        error = Transient(text, retry_after_s=_next(now) if wait_s is None else wait_s, limited=True)
    elif status == 408 or (status >= 500 and not write):
        error = Transient(text, retry_after_s=wait_s)
    elif status >= 500:
        error = Uncertain(text)
    elif status == 404 and known and isinstance(data, dict):
        error = NotThere(f"{text}: it is not there any more")
    elif status == 404:
        error = ChannelDown(f"{text}: check the address, the account and the inbox of Chatwoot", channel=CHANNEL)
    elif status in _OF_THE_ACCOUNT:
        advice = "check the access token, and that its owner is an agent of the inbox"
        error = ChannelDown(f"{text}: {advice}", channel=CHANNEL)
    elif 300 <= status < 400:
        error = ChannelDown(f"{text}: check CHATWOOT_BASE_URL", channel=CHANNEL)
    else:
        error = Refused(text)
    return coded(error, f"http-{status}")


def _next(now: datetime) -> float:
    """Seconds until the next minute of the clock, when Chatwoot counts anew; one more, as clocks differ."""
    return 61.0 - now.second


def _heard(data: Any) -> str:
    if not isinstance(data, dict):
        return ""
    texts = [data.get("message"), data.get("error")]
    several = data.get("errors")
    texts += several if isinstance(several, list) else []
    return ". ".join(text for text in texts if isinstance(text, str))[:1000]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

"""One call to CGB, in either style, and what its answer means.

CGB reports failures inside HTTP 200 as well, in two shapes (observed on the running service and on its
sibling hosts): `{"success": false, "error" | "message": "…"}` and `{"error": {"code": …, "message": "…"}}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from adapters.gate import Gate, Look
from adapters.http import Reply, coded, lost, retry_after
from adapters.masking import masked, texts_of, without_sent
from schemas.errors import ChannelDown, Exists, FerrymanError, Refused, Transient

_CHANNEL: Final = "cgb"
_NOBODY: Final = "/contacts/0"
_LIMITED: Final = re.compile(r"\b\d+ requests? (?:per|in|every) \d+ ?(?:s|m)|^too many requests\b", re.I)
"""How a refusal of the rate is worded, as it was observed, and as HTTP words it."""

_LOCKED: Final = re.compile(
    r"\btoken\b|\bapi[-_ ]?key\b|\bun(?:authori[sz]ed|authenticated)\b|\bnot authori[sz]ed\b|\bforbidden\b"
    r"|\bno access\b|\baccess (?:is )?(?:denied|forbidden|not allowed)\b|\bpermission denied\b"
    r"|\bpayment required\b"
    r"|\baccount\b.*\b(?:inactive|disabled|suspended|expired)\b",
    re.I,
)
_EXISTS: Final = re.compile(r"\balready\b|\bduplicate\b|(?<!not )(?<!n't )\bexists?\b", re.I)
_CODE: Final = re.compile(r"-?[0-9]{1,6}")
_CODES: Final = frozenset({"-1", "100", "190", "400", "401", "402", "403", "404", "409", "422", "429", "500"})
"""CGB's own codes that may be named in a log. CGB has no list of them: these are HTTP's, and those that were seen."""


class Rejection(Refused):
    """CGB understood and said no. *status*: of HTTP. *theirs*: CGB's own code as text, None where it gave none.
    *heard*: CGB's text without what we sent, to tell refusals apart by; it may be personal, so it is kept nowhere."""

    def __init__(self, text: str, *, status: int, theirs: str | None, heard: str) -> None:
        super().__init__(text)
        self.status = status
        self.theirs = theirs
        self.heard = heard

    @property
    def not_found(self) -> bool:
        """Whether the contact, or the call itself, does not exist."""
        return self.status == 404 or self.theirs == "404"

    @property
    def exists_already(self) -> bool:
        """Whether the contact to be made exists already."""
        return "409" in (str(self.status), self.theirs) or _EXISTS.search(self.heard) is not None

    def as_exists(self) -> Exists:
        """The same refusal, as the error that says what it means."""
        error = Exists(f"{self}: the contact exists already")
        error.said = self.said
        return coded(error, self.code)


class CgbCalls:
    """The calls of one account. *base_url* ends in `/api`; *headers* gives those with the key, and is asked at each
    call; all calls go through *gate*.

    *account*: a path that answers for the account alone; None: the style has none. Then `/contacts/0`, which is nobody,
    tells whether the key is taken.
    """

    def __init__(
        self, gate: Gate, base_url: str, headers: Callable[[], dict[str, str]], *, account: str | None
    ) -> None:
        self._gate = gate
        self._base_url = base_url.rstrip("/")
        self._headers = headers
        self._account = account

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        own: bool = False,
        about: str | None = None,
        shape: Callable[[Any], bool] = lambda answer: True,
    ) -> Any:
        """Send one request; returns the JSON object or array of a success ({} where HTTP says that it has no body).

        *own*: the path names nothing but the account, so that where HTTP does not find it the address is wrong.
        *about*: the customer whom the request is about, None for none. *shape*: whether an answer has the shape that
        the caller knows; another one is as good as none.
        Raises: Transient, Uncertain, ChannelDown, Rejection as `judge` tells; what the gate raises without a request.
        """
        headers = self._headers()
        judged = _judged(method, headers, params, json, form, own=own, shape=shape)
        look = None if path == self._account else self._look
        return await self._gate.request(
            method,
            self._base_url + path,
            judged,
            headers=headers,
            params=params,
            json=json,
            form=form,
            look=look,
            about=about,
            neutral=self._neutral,
        )

    def tell_lacks(self, names: Iterable[str]) -> None:
        """The account has no place for these names."""
        self._gate.channel.lacks = tuple(sorted(names))

    def _neutral(self) -> Look:
        """A look-up of nobody: it takes the way of a customer's look-up, and is about no customer."""
        headers = self._headers()
        return Look(self._base_url + _NOBODY, headers, _judged("GET", headers))

    def _look(self) -> Look:
        headers = self._headers()
        judged = _judged("GET", headers, own=self._account is not None)
        return Look(self._base_url + (self._account or _NOBODY), headers, judged)


def _judged(
    method: str,
    headers: Mapping[str, str],
    *sent: Any,
    own: bool = False,
    shape: Callable[[Any], bool] = lambda answer: True,
) -> Callable[[Reply], Any]:
    def judged(reply: Reply) -> Any:
        private = texts_of([list(headers.values()), *sent])
        write = method != "GET"
        answer = judge(reply, write=write, own=own, private=private, now=datetime.now(UTC))
        if not shape(answer):
            raise coded(lost(f"CGB: HTTP {reply.status} with JSON of another shape", write=write), "other-shape")
        return answer

    return judged


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What the body of a failure says. *heard*: the text without what was sent. *masked*: what of it may be kept."""

    code: str | None
    heard: str
    masked: str


def judge(reply: Reply, *, write: bool, private: Iterable[str], now: datetime, own: bool = False) -> Any:
    """The JSON of a successful answer.

    *private*: texts of the request, which error texts must not repeat. *now*: with its time zone. *own*: the path names
    nothing but the account.

    Raises:
        Transient: we asked too often (limited), however CGB says it; a read was answered 5xx or without JSON.
        Uncertain: a write was answered 5xx or without JSON.
        ChannelDown: token, access or payment; a redirect, or 404 on a path of the account, which mean a wrong address;
            a refusal of a read of the account, as no customer can be the cause.
        Rejection: any other 4xx or failure reported inside a 2xx.
    """
    if reply.status in (204, 205):
        return {}
    data = _parsed(reply.body)
    if 200 <= reply.status < 300:
        if not isinstance(data, dict | list):
            error = lost(f"CGB: HTTP {reply.status} with a body that is not JSON", write=write)
            raise coded(error, "not-json")
        if not _reports_failure(data):
            return data
    wait_s = retry_after(reply.headers, now)
    if reply.status >= 500 or reply.status == 408:
        error = lost(f"CGB: HTTP {reply.status}", write=write and reply.status != 408)
        if isinstance(error, Transient):
            error.retry_after_s = wait_s
        raise coded(error, f"http-{reply.status}")
    raise _refusal(reply.status, _complaint(data, private), wait_s, own=own, write=write)


def _refusal(status: int, complaint: _Complaint, wait_s: float | None, *, own: bool, write: bool) -> FerrymanError:
    """The error for an answer that says no, whatever its HTTP status."""
    kinds = {str(status), complaint.code}
    text, code = f"CGB: HTTP {status}", f"http-{status}"
    if complaint.code in _CODES:
        text, code = f"{text}, error {complaint.code}", f"{code}-error-{complaint.code}"
    error: FerrymanError
    if "429" in kinds or _is_limit(status, complaint):
        error = Transient(text, retry_after_s=wait_s, limited=True)
    elif own and (status in (404, 405) or not write):
        error = ChannelDown(f"{text} for the account itself: check CGB_API_URL", channel=_CHANNEL)
    elif kinds & {"401", "402", "403"} or 300 <= status < 400 or _LOCKED.search(complaint.heard):
        error = ChannelDown(text, channel=_CHANNEL)
    else:
        error = Rejection(text, status=status, theirs=complaint.code, heard=complaint.heard)
    error.said = complaint.masked
    return coded(error, code)


def _is_limit(status: int, complaint: _Complaint) -> bool:
    """Whether the words say so, in a place where CGB gives no better sign: inside a 2xx, or next to a code of its own
    that is none of HTTP's. The text of a validation (400, 422) may hold the same words."""
    own_code = complaint.code is not None and complaint.code not in _CODES
    return (200 <= status < 300 or own_code) and _LIMITED.search(complaint.heard) is not None


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _reports_failure(data: Any) -> bool:
    return isinstance(data, dict) and (data.get("success") is False or data.get("error") is not None)


def _complaint(data: Any, private: Iterable[str]) -> _Complaint:
    """What *data* says of a failure."""
    if not isinstance(data, dict):
        return _Complaint(None, "", "")
    error = data.get("error")
    code, text = data.get("code"), data.get("message")
    if isinstance(error, str):
        text = error
    elif isinstance(error, dict):
        code, text = error.get("code", code), error.get("message", text)
    known = isinstance(code, int | str) and not isinstance(code, bool) and _CODE.fullmatch(str(code))
    said = text if isinstance(text, str) else ""
    cleaned = without_sent(said, private)
    return _Complaint(str(code) if known else None, said[:2000] if cleaned is None else cleaned, masked(cleaned or ""))

"""One call to CGB, in either style, and what its answer means.

CGB reports failures inside HTTP 200 as well, in two shapes (observed on the running service and on its
sibling hosts): `{"success": false, "error" | "message": "…"}` and `{"error": {"code": …, "message": "…"}}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from adapters.gate import Gate
from adapters.http import Reply, lost, retry_after
from schemas.errors import ChannelDown, FerrymanError, Refused, Transient

_CHANNEL: Final = "cgb"
_LONGEST_TEXT: Final = 200
_LIMITED: Final = re.compile(r"exceed\w*\b.*\brequests?\b|too many requests|rate.?limit|requests per \d+ ?s", re.I)
_LOCKED: Final = re.compile(
    r"\btoken\b|\bapi[-_ ]?key\b|\bun(?:authori[sz]ed|authenticated)\b|\bnot authori[sz]ed\b|\bforbidden\b"
    r"|\bno access\b|\baccess (?:is )?(?:denied|forbidden|not allowed)\b|\bpermission denied\b"
    r"|\bpayment required\b"
    r"|\baccount\b.*\b(?:inactive|disabled|suspended|expired)\b",
    re.I,
)
_EXISTS: Final = re.compile(r"\balready\b|\bduplicate\b|(?<!not )(?<!n't )\bexists?\b", re.I)
_EMAIL: Final = re.compile(r"\S+@\S+")
_NUMBER: Final = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){4,}")
_NOT_PRIVATE: Final = frozenset({"action", "field_name", "recipient_type", "messaging_product", "type", "channel"})


class Rejection(Refused):
    """CGB understood and said no. *status*: of HTTP. *code*: CGB's own code as text, None where it gave none."""

    def __init__(self, text: str, *, status: int, code: str | None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    @property
    def not_found(self) -> bool:
        """Whether the contact, or the call itself, does not exist."""
        return self.status == 404 or self.code == "404"

    @property
    def exists_already(self) -> bool:
        """Whether the contact to be made exists already."""
        return "409" in (str(self.status), self.code) or _EXISTS.search(str(self)) is not None


class CgbCalls:
    """The calls of one account. *base_url* ends in `/api`; *headers* carry the key; all calls go through *gate*."""

    def __init__(self, gate: Gate, base_url: str, headers: Mapping[str, str]) -> None:
        self._gate = gate
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request; returns the JSON object or array of a success ({} where HTTP says that it has no body).

        Raises: Transient, Uncertain, ChannelDown, Rejection as `judge` tells; what the gate raises without a request.
        """

        def judged(reply: Reply) -> Any:
            private = _Private(self._headers, json, params, form)
            return judge(reply, write=method != "GET", private=private, now=datetime.now(UTC))

        return await self._gate.request(
            method, self._base_url + path, judged, headers=self._headers, params=params, json=json, form=form
        )


class _Private:
    """Every text and number of what was sent; gathered when an error text has to be cleaned, which is seldom."""

    def __init__(self, headers: Mapping[str, str], *sent: Any) -> None:
        self._headers = headers
        self._sent = sent

    def __iter__(self) -> Iterator[str]:
        yield from self._headers.values()
        for part in self._sent:
            yield from _values(part)


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What the body of a failure says, cleaned."""

    code: str | None
    text: str


def judge(reply: Reply, *, write: bool, private: Iterable[str], now: datetime) -> Any:
    """The JSON of a successful answer.

    *private*: texts of the request, which error texts must not repeat. *now*: with its time zone.

    Raises:
        Transient: we asked too often (limited), however CGB says it; a read was answered 5xx or without JSON.
        Uncertain: a write was answered 5xx or without JSON.
        ChannelDown: token, access or payment; or a redirect, which means a wrong address.
        Rejection: any other 4xx or failure reported inside a 2xx.
    """
    if reply.status in (204, 205):
        return {}
    data = _parsed(reply.body)
    if 200 <= reply.status < 300:
        if not isinstance(data, dict | list):
            raise lost(f"CGB: HTTP {reply.status} with a body that is not JSON", write=write)
        if not _reports_failure(data):
            return data
    wait_s = retry_after(reply.headers, now)
    if reply.status >= 500 or reply.status == 408:
        error = lost(f"CGB: HTTP {reply.status}", write=write and reply.status != 408)
        if isinstance(error, Transient):
            error.retry_after_s = wait_s
        raise error
    raise _refusal(reply.status, _complaint(data, private), wait_s)


def _refusal(status: int, complaint: _Complaint, wait_s: float | None) -> FerrymanError:
    """The error for an answer that says no, whatever its HTTP status."""
    kinds = {str(status), complaint.code}
    text = f"CGB: HTTP {status}"
    if complaint.code is not None:
        text += f", error {complaint.code}"
    if complaint.text:
        text += f": {complaint.text}"
    if "429" in kinds or _LIMITED.search(complaint.text):
        return Transient(text, retry_after_s=wait_s, limited=True)
    if kinds & {"401", "402", "403"} or 300 <= status < 400 or _LOCKED.search(complaint.text):
        return ChannelDown(text, channel=_CHANNEL)
    return Rejection(text, status=status, code=complaint.code)


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
        return _Complaint(None, "")
    error = data.get("error")
    code, text = data.get("code"), data.get("message")
    if isinstance(error, str):
        text = error
    elif isinstance(error, dict):
        code, text = error.get("code", code), error.get("message", text)
    cleaned = clean(text, private) if isinstance(text, str) else ""
    known = isinstance(code, int | str) and not isinstance(code, bool) and re.fullmatch(r"-?\w{1,24}", str(code))
    return _Complaint(clean(str(code), private) if known else None, cleaned)


def clean(text: str, private: Iterable[str]) -> str:
    """A provider's message without what we sent, e-mail addresses and numbers; at most 200 characters."""
    text = _EMAIL.sub("…", text[:2000])
    words = {word for value in private for word in (value, *value.split()) if len(word) > 2}
    if words:
        longest_first = sorted(words, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), "…", text, flags=re.I)
    text = _NUMBER.sub("…", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_TEXT]


def _values(sent: Any) -> Iterator[str]:
    """Every text and number of *sent* that may be personal."""
    if isinstance(sent, Mapping):
        for key, value in sent.items():
            if key not in _NOT_PRIVATE:
                yield from _values(value)
    elif isinstance(sent, list | tuple):
        for value in sent:
            yield from _values(value)
    elif isinstance(sent, str | int | float):
        yield str(sent)

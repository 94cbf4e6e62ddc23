"""One call to Twilio that makes a message, and what its answer means.

A failure is `{"code": 21211, "message": …, "more_info": …, "status": 400}`, or of newer services an RFC 9457 document
with `code`, `title` and `detail`. The code tells what it means; HTTP's status where it is none that we know.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson

from adapters.gate import Gate, Look
from adapters.http import MAX_RETRY_AFTER_S, Reply, coded, lost, retry_after
from adapters.masking import masked, without_sent
from adapters.ports import Claim
from schemas.errors import ChannelDown, FerrymanError, Refused, TemplateStopped, Transient, Uncertain
from schemas.messages import Taken
from schemas.webhooks.twilio import STATUSES
from schemas.webhooks.twilio_codes import MEANINGS, Class

CHANNEL: Final = "twilio"

DAY_S: Final = 86_400.0
"""For so long at least, Meta asks, nobody tries again with a person whom it holds marketing messages back from."""

_BY_STATUS: Final[Mapping[int, Class]] = {
    401: "down",
    402: "down",
    403: "down",
    404: "down",
    405: "down",
    408: "open",
    429: "often",
}
"""What a status of HTTP means where no code tells more. Others below 500 refuse the message."""

_MOST_DIGITS: Final = 6


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """What a call needs. *url*: of the API. *sid*, *token*: the name and the password."""

    url: str
    sid: str
    token: str

    @property
    def messages_url(self) -> str:
        """Where messages are made."""
        return f"{self.url.rstrip('/')}/2010-04-01/Accounts/{quote(self.sid, safe='')}/Messages.json"

    @property
    def own_url(self) -> str:
        """Where the account tells of itself."""
        return f"{self.url.rstrip('/')}/2010-04-01/Accounts/{quote(self.sid, safe='')}.json"

    @property
    def headers(self) -> dict[str, str]:
        """The proof of the account."""
        return {"Authorization": f"Basic {b64encode(f'{self.sid}:{self.token}'.encode()).decode()}"}


async def make_message(
    gate: Gate, account: Account, form: Mapping[str, str], claim: Claim, *, private: Iterable[str] = ()
) -> Taken:
    """Let Twilio make the message that *form* tells, by one POST. *private*: what no text repeats, besides what *form*
    holds.

    Raises: as `judge`; what the gate and *claim* raise before the request.
    """
    sent = (*private, *form.values(), account.sid, account.token)

    def judged(reply: Reply) -> Taken:
        return judge(reply, private=sent, now=datetime.now(UTC))

    def seen(reply: Reply) -> Mapping[str, Any]:
        return judge_read(reply, private=sent, now=datetime.now(UTC))

    return await gate.request(
        "POST",
        account.messages_url,
        judged,
        headers=account.headers,
        form=form,
        claim=claim,
        neutral=lambda: Look(account.own_url, account.headers, seen),
    )


def judge(reply: Reply, *, private: Iterable[str], now: datetime) -> Taken:
    """The message that Twilio has taken. *private*: what was sent, which no text repeats. *now*: with its time zone.

    Raises:
        Transient: nothing was sent: trouble, or we asked too often (limited).
        Uncertain: 5xx without a code that says more; a success without the message's id.
        ChannelDown: the account, its token or its sender; a redirect, or a 404, which mean a wrong address or account.
        Refused: any other failure; also a message that was made and has failed at once.
    """
    data = _parsed(reply.body)
    if not 200 <= reply.status < 300:
        raise _failure(reply.status, data, private, retry_after(reply.headers, now))
    sid = data.get("sid")
    if not isinstance(sid, str) or not sid.strip():
        raise coded(lost(f"Twilio: HTTP {reply.status} without a message's id", write=True), "no-id")
    if STATUSES.get(str(data.get("status"))) == "failed":  # no status follows by webhook
        raise _failure(
            reply.status, {"code": data.get("error_code"), "message": data.get("error_message")}, private, None
        )
    return Taken(sid.strip())


def judge_read(reply: Reply, *, private: Iterable[str], now: datetime) -> Mapping[str, Any]:
    """The JSON object of an answer to a question. Raises: as `judge`, but never Uncertain."""
    data = _parsed(reply.body)
    if not 200 <= reply.status < 300:
        error = _failure(reply.status, data, private, retry_after(reply.headers, now))
        raise coded(Transient(str(error)), error.code) if isinstance(error, Uncertain) else error
    if not data:
        raise coded(Transient(f"Twilio: HTTP {reply.status} with a body that is not a JSON object"), "not-json")
    return data


def _failure(status: int, data: Mapping[str, Any], private: Iterable[str], wait_s: float | None) -> FerrymanError:
    """The error for an answer that says no."""
    theirs = _code(data)
    meaning = None if theirs is None else MEANINGS.get(theirs)
    of: Class = _by_status(status) if meaning is None else meaning.of
    if of == "later" and status >= 500:
        of = "open"
    text, code = f"Twilio: HTTP {status}", f"http-{status}"
    if meaning is not None:
        text, code = f"Twilio: {meaning.text} (error {theirs})", f"twilio-{theirs}"
    error = coded(_error(of, text, wait_s), code)
    error.said = _said(data, theirs if meaning is None else None, private)
    return error


def _error(of: Class, text: str, wait_s: float | None) -> FerrymanError:
    match of:
        case "refused":
            return Refused(text)
        case "down":
            return ChannelDown(text, channel=CHANNEL)
        case "later":
            return Transient(text, retry_after_s=wait_s)
        case "often":
            return Transient(text, retry_after_s=wait_s, limited=True)
        case "today":
            return Transient(text, retry_after_s=wait_s or MAX_RETRY_AFTER_S, limited=True)
        case "person":
            error = Transient(text, retry_after_s=wait_s or DAY_S)
            error.answered = True  # the others go on
            return error
        case "stopped":
            return TemplateStopped(text)
    return Uncertain(text)


def _by_status(status: int) -> Class:
    if status >= 500:
        return "open"
    return "down" if 300 <= status < 400 else _BY_STATUS.get(status, "refused")


def _code(data: Mapping[str, Any]) -> str | None:
    code = data.get("code")
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    text = str(code).strip()
    return text if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _said(data: Mapping[str, Any], unknown: str | None, private: Iterable[str]) -> str:
    """What Twilio wrote, masked. *unknown*: its code, where we have no words for it."""
    told = next((text for name in ("message", "detail", "title") if isinstance(text := data.get(name), str)), "")
    words = masked(without_sent(told, private) or "")
    return " ".join(part for part in (f"error {unknown}" if unknown else "", words) if part)


def _parsed(body: bytes) -> Mapping[str, Any]:
    """The JSON object of an answer; an empty one where it is none."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}

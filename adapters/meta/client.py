"""One call to Meta's Cloud API, and what its answer means.

A failure is `{"error": {"code": …, "message": …, "error_data": {"details": …}}}` under almost any status of HTTP, so
the code decides. A success says only that the message is accepted: statuses tell the rest, hours later also.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from adapters.gate import Gate, Look
from adapters.http import MAX_RETRY_AFTER_S, Part, Reply, coded, lost, retry_after
from adapters.masking import masked, texts_of, without_sent
from adapters.ports import FetchedFile
from adapters.uploads import UPLOAD_S
from schemas.errors import ChannelDown, FerrymanError, PairLimited, Refused, TemplateStopped, Transient, Uncertain
from schemas.messages import Taken
from schemas.webhooks.meta_codes import CODES, Code, code_of

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403, 404, 405, 407})
"""What HTTP says, where Meta says nothing, of a wrong token or a wrong address."""

_USAGE: Final = "X-Business-Use-Case-Usage"
_NO_SUCH_OBJECT: Final = 33
"""The code, and next to the code 100 the subcode, for an id of a number that is wrong or not ours."""


_OF_A_FILE: Final = "media attachment ID"
"""In Meta's words for an id of a file that it does not know, which has the code of any wrong parameter."""

NO_SUCH_FILE: Final = "meta-100-file"
FILE_REFUSED: Final = "meta-131053"


class MetaCalls:
    """The calls of one sending number through *gate*. *account* gives its `url` (with the version of the API),
    `phone_number_id` and `access_token`, and is asked at each call."""

    def __init__(self, gate: Gate, account: Callable[[], Mapping[str, str]]) -> None:
        self._gate = gate
        self._account = account

    async def send(self, body: Mapping[str, Any], *, about: str, claim: Callable[[], Awaitable[None]] | None) -> Taken:
        """Send one message. *about*: its recipient. Raises as `judge` tells, what *claim* raises, and what the gate
        raises without a request."""
        found: Taken = await self._post(body, taken, write=True, about=about, claim=claim)
        return found

    async def mark(self, body: Mapping[str, Any], *, about: str) -> None:
        """Mark a message; done twice it is as done once, so nothing of it is ever uncertain. *about*: its id. Raises as
        `send`."""
        await self._post(body, marked, write=False, about=about)

    async def upload(self, file: FetchedFile) -> str:
        """Give Meta a file; returns its id, which is the sending number's. One that is given twice has two. Raises as
        `mark`."""
        account = self._account()
        headers = {"Authorization": f"Bearer {account['access_token']}"}
        parts = [
            Part("messaging_product", "whatsapp"),
            Part("type", file.content_type),
            Part("file", file.body, file.name, file.content_type),
        ]

        def judged(reply: Reply) -> Any:
            private = texts_of([list(headers.values()), account["phone_number_id"], file.name])
            return self._judge(reply, _id_of, write=False, private=private)

        number = _number(account)
        gate = replace(self._gate, timeout_s=UPLOAD_S)
        id: str = await gate.request(
            "POST",
            f"{number}/media",
            judged,
            headers=headers,
            parts=parts,
            about=file.name,  # Meta may fail over one file and take all others
            neutral=lambda: self._neutral(number, headers),
            asks=True,
        )
        return id

    def demand_open(self) -> None:
        """Raises: ChannelClosed where no message could be sent now."""
        self._gate.channel.check("write")

    async def _post(
        self,
        body: Mapping[str, Any],
        read: Callable[[Any], Any],
        *,
        write: bool,
        about: str | None = None,
        claim: Callable[[], Awaitable[None]] | None = None,
    ) -> Any:
        account = self._account()
        headers = {"Authorization": f"Bearer {account['access_token']}"}
        number = _number(account)

        def judged(reply: Reply) -> Any:
            private = texts_of([list(headers.values()), account["phone_number_id"], body])
            return self._judge(reply, read, write=write, private=private)

        return await self._gate.request(
            "POST",
            f"{number}/messages",
            judged,
            headers=headers,
            json={"messaging_product": "whatsapp", **body},
            about=about,
            neutral=lambda: self._neutral(number, headers),
            asks=not write,
            claim=claim,
        )

    def _neutral(self, number: str, headers: Mapping[str, str]) -> Look:
        return Look(f"{number}?fields=id", headers, lambda reply: self._judge(reply, _anything, write=False))

    def _judge(self, reply: Reply, read: Callable[[Any], Any], *, write: bool, private: Iterable[str] = ()) -> Any:
        channel = self._gate.channel.name
        return judge(reply, read, channel=channel, write=write, private=private, now=datetime.now(UTC))


def _number(account: Mapping[str, str]) -> str:
    """The address of the sending number."""
    return f"{account['url'].rstrip('/')}/{account['phone_number_id']}"


def judge(
    reply: Reply, read: Callable[[Any], Any], *, channel: str, write: bool, private: Iterable[str], now: datetime
) -> Any:
    """What *read* makes of the JSON of a success; None from it means that the answer is none.

    *write*: whether something may have happened. *private*: texts of the request, which error texts must not repeat.
    *now*: with its time zone.
    Raises: by Meta's code as `CODES` has it. Without a known code, by HTTP's status:
        Transient: 429 (limited), 408; of a question also 5xx and a success without a usable body.
        Uncertain: of a write 5xx, or a success without a usable body.
        ChannelDown: 401, 402, 403, 404, 405, 407, or a redirect: a wrong token or address.
        Refused: any other failure.
    """
    data = _parsed(reply.body)
    failure = data.get("error") if isinstance(data, dict) else None
    fine = 200 <= reply.status < 300
    if fine and (found := read(data)) is not None:
        return found
    if isinstance(failure, dict):
        error = _by_code(failure, reply, channel, now, write=write)
        error.said = _said(failure, private)
        raise error
    if fine:
        raise coded(lost(f"Meta: HTTP {reply.status} with a body that is no answer", write=write), "other-shape")
    raise _by_status(reply, channel, now, write=write)


def taken(data: Any) -> Taken | None:
    """What an answer says of a message; None where it does not name it."""
    message, contact = _first(data, "messages"), _first(data, "contacts")
    provider_id, wa_id = message.get("id"), contact.get("wa_id")
    if not isinstance(provider_id, str) or not provider_id:
        return None
    return Taken(provider_id, wa_id if isinstance(wa_id, str) and wa_id else None)


def marked(data: Any) -> bool | None:
    """Whether an answer says that it is done; None where it does not."""
    return True if isinstance(data, dict) and data.get("success") is True else None


def _id_of(data: Any) -> str | None:
    """The id of a file that an answer names; None where it names none."""
    id = data.get("id") if isinstance(data, dict) else None
    return id if isinstance(id, str) and id else None


def _anything(data: Any) -> bool | None:
    return True if isinstance(data, dict) and "error" not in data else None


def _by_code(failure: Mapping[str, Any], reply: Reply, channel: str, now: datetime, *, write: bool) -> FerrymanError:
    number = code_of(failure.get("code"))
    if number == 100 and code_of(failure.get("error_subcode")) == _NO_SUCH_OBJECT:
        number = _NO_SUCH_OBJECT
    code = None if number is None else CODES.get(number)
    if code is None:
        return _by_status(reply, channel, now, write=write)
    text = f"Meta: {code.means} (error {number})"
    of_file = number == 100 and _OF_A_FILE in str(failure.get("message"))
    error = _error(code, text, reply, channel, now, write=write)
    return coded(error, NO_SUCH_FILE if of_file else f"meta-{number}")


def _error(code: Code, text: str, reply: Reply, channel: str, now: datetime, *, write: bool) -> FerrymanError:
    asked_s = retry_after(reply.headers, now)
    match code.verdict:
        case "refused":
            return Refused(text)
        case "down":
            return ChannelDown(text, channel=channel)
        case "slow":
            wait_s = asked_s if asked_s is not None else _until_regained(reply.headers)
            return Transient(text, retry_after_s=code.wait_s if wait_s is None else wait_s, limited=True)
        case "wait":
            error = Transient(text, retry_after_s=code.wait_s if asked_s is None else asked_s)
            error.answered = True  # it is about this person or this flow: the others are served
            return error
        case "pair":
            return PairLimited(text, retry_after_s=asked_s)
        case "stopped":
            return TemplateStopped(text)
        case "again":
            return Transient(text, retry_after_s=asked_s)
    return lost(text, write=write and reply.status >= 500)


def _by_status(reply: Reply, channel: str, now: datetime, *, write: bool) -> FerrymanError:
    status, wait_s = reply.status, retry_after(reply.headers, now)
    text = f"Meta: HTTP {status}"
    error: FerrymanError
    if status == 429:
        error = Transient(text, retry_after_s=wait_s, limited=True)
    elif status == 408 or (status >= 500 and not write):
        error = Transient(text, retry_after_s=wait_s)
    elif status >= 500:
        error = Uncertain(text)
    elif status in _OF_THE_ACCOUNT or 300 <= status < 400:
        error = ChannelDown(f"{text}: check META_GRAPH_URL and the access token", channel=channel)
    else:
        error = Refused(text)
    return coded(error, f"http-{status}")


def _until_regained(headers: Mapping[str, str]) -> float | None:
    """Seconds until calls are taken again, as the header of the account's usage tells in minutes; None where it does
    not. At most MAX_RETRY_AFTER_S."""
    usage = _parsed(headers.get(_USAGE, "").encode(errors="replace"))
    found = usage.values() if isinstance(usage, dict) else ()
    rows = [row for several in found if isinstance(several, list) for row in several]
    told = [row.get("estimated_time_to_regain_access") for row in rows if isinstance(row, dict)]
    minutes = [one for one in told if isinstance(one, int | float) and not isinstance(one, bool) and one > 0]
    return min(max(minutes) * 60.0, MAX_RETRY_AFTER_S) if minutes else None


def _said(failure: Mapping[str, Any], private: Iterable[str]) -> str:
    """What Meta wrote, without what is personal in it."""
    data = failure.get("error_data")
    texts = [failure.get("message"), data.get("details") if isinstance(data, dict) else None]
    said = ". ".join(text for text in texts if isinstance(text, str))
    return masked(without_sent(said, private) or "")


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _first(data: Any, name: str) -> Mapping[str, Any]:
    """The first object in the list *name* of *data*; an empty one where there is none."""
    found = data.get(name) if isinstance(data, dict) else None
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}

"""What a simulator does wrong on purpose: a few times, for a while, for some paths or one person."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from aiohttp import web

Kind: TypeAlias = Literal[
    "hang", "reset", "html", "cut", "short", "long", "raw", "error", "limited", "bad_token", "slow"
]
"""hang: no answer until the client gives up. reset: the connection is reset. html: a proxy's HTML page
(status, default 502). cut: a 200 whose JSON ends half-way. short: the
connection closes before the promised length. long: the usual answer, filled up with blanks to *size* bytes.
raw: *body* with *status*, default 200. error: a failure in one of the two shapes.
limited: the rate refusal in one of its forms. bad_token: as if the key were wrong. slow: *seconds* late, then
as usual.
"""

_PERFORMING = frozenset({"hang", "cut", "short", "long"})


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault: what goes wrong, when, and for which requests.

    *times*: for that many requests, None: until cleared. *after_s*, *for_s*: the window, in seconds from
    being set. *method*, *path* (a regular expression, searched), *contact* (phone digits): only such
    requests. *performed*: whether the action is done all the same; by default for `hang`, `cut`,
    `short` and `long` only.
    *shape*: of `error` and `bad_token`; *status*, *code*, *message*: what they say. *retry_after*: the
    header's text. *seconds*: of `slow`, and the longest `hang`.
    """

    kind: Kind
    times: int | None = None
    after_s: float = 0.0
    for_s: float | None = None
    method: str | None = None
    path: str | None = None
    contact: str | None = None
    performed: bool | None = None
    status: int | None = None
    shape: Literal["flat", "nested"] = "flat"
    code: int | str | None = None
    message: str | None = None
    retry_after: str | None = None
    seconds: float = 3600.0
    size: int = 2 * 1024 * 1024
    body: str = ""
    set_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"no such fault: {self.kind}")

    @property
    def performs(self) -> bool:
        """Whether the action is done although the answer goes wrong."""
        return self.kind in _PERFORMING if self.performed is None else self.performed

    def hits(self, method: str, path: str, contact: str, now: float) -> bool:
        """Whether this request is one of those that it is about. *now*: monotonic seconds."""
        age = now - self.set_at - self.after_s
        return (
            self.times != 0
            and age >= 0
            and (self.for_s is None or age < self.for_s)
            and self.method in (None, method)
            and (self.path is None or re.search(self.path, path) is not None)
            and self.contact in (None, contact)
        )


class Faults:
    """The faults that are set, the earliest first; a request meets at most one of them."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def add(self, kind: Kind, **how: Any) -> Fault:
        """Set a fault; *how*: the attributes of `Fault`. Raises: ValueError, TypeError."""
        fault = Fault(kind=kind, **how)
        self.active.append(fault)
        return fault

    def clear(self) -> None:
        self.active.clear()

    def take(self, method: str, path: str, contact: str) -> Fault | None:
        """The fault that this request meets, counted down."""
        for fault in self.active:
            if fault.hits(method, path, contact, time.monotonic()):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """For `GET /_sandbox/faults`."""
        return [{k: v for k, v in asdict(f).items() if k != "set_at"} for f in self.active]


def fault_from_json(how: Mapping[str, Any]) -> Fault:
    """The fault that a control request describes. Raises: ValueError."""
    known = {f.name for f in fields(Fault)} - {"set_at"}
    if "kind" not in how or (unknown := set(how) - known):
        raise ValueError("a fault needs a kind" if "kind" not in how else f"unknown: {sorted(unknown)}")
    return Fault(**how)


def failure(
    text: str, *, shape: str = "flat", status: int = 200, code: int | str | None = None, headers: Any = None
) -> web.Response:
    """A failure in one of CGB's two shapes; HTTP 200 unless told otherwise."""
    if shape == "nested":
        body: dict[str, Any] = {"error": {"code": code if code is not None else 100, "message": text}}
    else:
        body = {"success": False, "error": text}
    return web.json_response(body, status=status, headers=headers)


def limited(form: str, retry_after: str | None, amount: int, window_s: float) -> web.Response:
    """The rate refusal: *form* "429" for that status, "200" for the code inside a 200."""
    text = f"You have exceeded the limit of {amount} requests per {window_s:g} seconds."
    headers = {"Retry-After": retry_after} if retry_after is not None else None
    status = 429 if form == "429" else 200
    return failure(text, shape="nested", status=status, code=429, headers=headers)


def html(status: int) -> web.Response:
    """The page of a proxy whose backend is away."""
    title = f"{status} Bad Gateway"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html")


def reset(request: web.Request) -> None:
    """Drop the connection with a TCP reset."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # A zero linger turns the close into a reset, as when a process dies behind a load balancer.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    transport.abort()


def cut(answer: web.StreamResponse) -> web.Response:
    """*answer* with a body that ends half-way, its length agreeing."""
    whole = _body(answer)
    return web.Response(body=whole[: len(whole) // 2] or b"{", content_type="application/json")


async def short(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """*answer*, but the connection closes before the last byte that its length promises."""
    whole = _body(answer)
    begun = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole) + 1)})
    await begun.prepare(request)
    await begun.write(whole)
    if request.transport is not None:
        request.transport.close()
    return begun


def long(answer: web.StreamResponse, size: int) -> web.Response:
    """*answer* with blanks before its end, *size* bytes long."""
    whole = _body(answer)
    return web.Response(body=whole[:-1].ljust(size - 1) + whole[-1:], content_type="application/json")


def raw(body: str, status: int) -> web.Response:
    """An answer that holds *body*, whatever it is."""
    return web.Response(body=body.encode(errors="surrogatepass"), status=status, content_type="application/json")


async def spoiled(request: web.Request, fault: Fault, done: web.StreamResponse) -> web.StreamResponse | None:
    """What becomes of the answer *done* by *fault*; None for the kinds that each system words in its own way."""
    match fault.kind:
        case "hang":
            await asyncio.sleep(fault.seconds)
            return done
        case "reset":
            reset(request)
            return done
        case "html":
            return html(fault.status or 502)
        case "cut":
            return cut(done)
        case "short":
            return await short(request, done)
        case "long":
            return long(done, fault.size)
        case "raw":
            return raw(fault.body, fault.status or 200)
    return None


def _body(answer: web.StreamResponse) -> bytes:
    return answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b"{}"


def body_json(body: bytes) -> Any:
    """The JSON of a request body; None where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None

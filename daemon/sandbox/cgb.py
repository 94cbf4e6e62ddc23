"""A simulator of ChatGPT Builder (CGB) in both styles: a real HTTP server with faults on demand.

Alone: `python -m daemon.sandbox.cgb --port 0 --style live` prints its address on one line and serves until it
is stopped. `daemon.sandbox.cgb_control` says how it is steered by HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final, Literal, Self, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.sandbox.cgb_account import MADE, Account, Switches, bare
from daemon.sandbox.cgb_control import control_routes
from daemon.sandbox.cgb_documented import DocumentedApi
from daemon.sandbox.cgb_live import LiveApi
from daemon.sandbox.cgb_statuses import Statuses
from daemon.sandbox.faults import Fault, Faults, body_json, failure, limited, spoiled
from daemon.sandbox.ledger import Asked, Ledger

Style: TypeAlias = Literal["live", "documented"]

TOKEN: Final = "100001.sandbox"  # noqa: S105 - the simulator's own

_ACTIONS: Final = (
    ("GET", r"/contacts/find_by", "search"),
    ("GET", r"/contacts/[^/]+$", "find"),
    ("GET", r"/custom_fields$", "fields"),
    ("GET", r"/whatsapp/validate/", "validate"),
    ("POST", r"/contacts$", "create"),
    ("PUT", r"/contacts/[^/]+$", "update"),
    ("POST", r"/contacts/[^/]+/custom_fields/", "update"),
    ("POST", r"/contacts/[^/]+/send/\d+$", "flow"),
    ("POST", r"/contacts/[^/]+/send", "send"),
    ("POST", r"/tags/", "tag"),
    ("DELETE", r"/tags/", "tag"),
)


class CgbSandbox:
    """The simulator, as an async context manager.

    *port* 0: any free one; *url* (ends in `/api`) is known once it runs. *token*: the one key that it takes.
    *callback_url*: where status webhooks go, signed with *callback_secret* as Meta signs. Attributes for
    tests: `ledger`, `faults`, `switches`, `account`, `statuses`, `connections` (how many TCP connections were
    used).
    """

    def __init__(
        self,
        style: Style = "live",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = TOKEN,
        callback_url: str | None = None,
        callback_secret: str | None = None,
        switches: Switches | None = None,
    ) -> None:
        self.style = style
        self.token = token
        self.ledger = Ledger()
        self.faults = Faults()
        self.switches = switches or Switches()
        self.account = Account()
        self.statuses = Statuses(callback_url, callback_secret)
        self._host = host
        self._port = port
        self._peers: set[tuple[str, int]] = set()
        self._recent: deque[float] = deque()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge])
        if self.style == "live":
            app.add_routes(LiveApi(self.account, self.switches, self.statuses).routes())
        else:
            app.add_routes(DocumentedApi(self.account, self.switches).routes())
        app.add_routes(control_routes(self))
        # A handler is cancelled when its client disconnects, so that a hanging answer ends with its client.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.statuses.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def root(self) -> str:
        """The address without `/api`: below it is `/_sandbox/`."""
        return f"http://{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """What to give as CGB_API_URL."""
        return f"{self.root}/api"

    @property
    def connections(self) -> int:
        return len(self._peers)

    def reset(self) -> None:
        """Forget everything that happened and every fault; switches back to their defaults."""
        self.ledger.clear()
        self.faults.clear()
        self.account.reset()
        self.statuses.accepted.clear()
        self.statuses.sent.clear()
        self._recent.clear()
        self._peers.clear()
        self.switch(asdict(Switches()))

    def switch(self, values: Mapping[str, Any]) -> None:
        """Set switches by name. Raises: ValueError for an unknown name, with nothing set."""
        if unknown := set(values) - {f.name for f in fields(Switches)}:
            raise ValueError(f"no such switch: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self.switches, name, value)

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its key, its rate and its fault, then perform it."""
        if request.path.startswith("/_sandbox/"):
            return await handler(request)
        if request.transport is not None and (peer := request.transport.get_extra_info("peername")):
            self._peers.add(peer[:2])
        body = body_json(await request.read())
        entry = self.ledger.open(
            method=request.method,
            path=request.path,
            action=_action(request.method, request.path, body),
            contact=_contact(request.path, body),
        )
        answer = await self._answer(request, handler, entry)
        entry.status = answer.status if request.transport is not None else None
        return answer

    async def _answer(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        if not self._authentic(request):
            return _bad_token(self.switches.bad_token_status, self.switches.error_shape)
        if self._over_limit():
            return self._limited(self.switches.limit_form, self.switches.limit_retry_after)
        fault = self.faults.take(request.method, request.path, entry.contact)
        if fault is None:
            return await self._perform(request, handler, entry)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return await self._perform(request, handler, entry)
        done = await self._perform(request, handler, entry) if fault.performs else web.json_response({})
        return await self._go_wrong(request, fault, done)

    async def _perform(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except web.HTTPException as refusal:  # no such route, no such method
            return web.json_response({"error": {"code": refusal.status, "message": "Not found"}}, status=404)
        refused = answer.status >= 400
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            said = body_json(answer.body)
            refused |= isinstance(said, dict) and (said.get("success") is False or "error" in said)
        entry.performed, entry.made = not refused, bool(request.get(MADE))
        return answer

    async def _go_wrong(self, request: web.Request, fault: Fault, done: web.StreamResponse) -> web.StreamResponse:
        if (answer := await spoiled(request, fault, done)) is not None:
            return answer
        match fault.kind:
            case "limited":
                form = "200" if fault.status == 200 else "429"
                return self._limited(form, fault.retry_after)
            case "bad_token":
                return _bad_token(fault.status or self.switches.bad_token_status, fault.shape)
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
        text = fault.message or "Something went wrong"
        return failure(text, shape=fault.shape, status=fault.status or 200, code=fault.code, headers=headers)

    def _authentic(self, request: web.Request) -> bool:
        if self.style == "live":
            return request.headers.get("X-ACCESS-TOKEN") == self.token
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    def _over_limit(self) -> bool:
        now, limit = time.monotonic(), self.switches.limit
        while self._recent and self._recent[0] <= now - self.switches.limit_window_s:
            self._recent.popleft()
        if limit is not None and len(self._recent) >= limit:
            return True
        self._recent.append(now)
        return False

    def _limited(self, form: str, retry_after: str | None) -> web.Response:
        return limited(form, retry_after, self.switches.limit or 100, self.switches.limit_window_s)


def _action(method: str, path: str, body: Any) -> str:
    """What a request is about; a `send_content` that only sets fields is an update."""
    names = (name for verb, form, name in _ACTIONS if verb == method and re.search(form, path))
    action = next(names, "other")
    if path.endswith("/send_content") and isinstance(body, dict) and not body.get("messages"):
        return "update"
    return action


def _contact(path: str, body: Any) -> str:
    if found := re.search(r"/(?:contacts|validate)/\+?(\d+)", path):
        return found[1]
    phone = body.get("phone") if isinstance(body, dict) else None
    return bare(phone) if isinstance(phone, str) else ""


def _bad_token(status: int, shape: str) -> web.Response:
    return failure("Invalid access token", shape=shape, status=status, code=status if status != 200 else 190)


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with CgbSandbox(
        arguments.style,
        port=arguments.port,
        token=arguments.token,
        callback_url=arguments.callback_url,
        callback_secret=arguments.callback_secret,
    ) as sandbox:
        sys.stdout.write(sandbox.url + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM or SIGINT; the address is the only line on standard output."""
    parser = argparse.ArgumentParser(prog="python -m daemon.sandbox.cgb", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--style", choices=("live", "documented"), default="live")
    parser.add_argument("--token", default=TOKEN, help=f"the one key that it takes: CGB_API_KEY ({TOKEN})")
    parser.add_argument("--callback-url")
    parser.add_argument("--callback-secret")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

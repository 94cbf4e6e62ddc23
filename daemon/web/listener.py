"""The listener: verifies a webhook's sender, makes its events durable, and only then answers 202. Decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import StreamReader, web

from adapters.json_guard import NotJson
from adapters.ports import NoIdentity, Source, Webhook
from daemon.bus.batcher import Full
from daemon.bus.intake import Intake, NotAccepted
from daemon.bus.worker import Clock
from daemon.telemetry.metrics import Metrics
from daemon.web.answer import Accepted, plain
from daemon.web.problems import problem
from daemon.web.refusals import Refusals
from schemas.errors import Malformed

BODY_TIMEOUT_S: Final = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """Why a request is not accepted. *reason*: from a closed set. *detail*: what the sender should do."""

    status: int
    reason: str
    detail: str
    body: bytes | None = None


class Listener:
    """Serves the webhook *sources*."""

    def __init__(
        self,
        intake: Intake,
        refusals: Refusals,
        metrics: Metrics,
        *,
        sources: Sequence[Source],
        secrets: Mapping[str, Sequence[str]],
        unsigned: Sequence[str],
        body_cap: int,
        public_url: str = "",
        now: Clock,
    ) -> None:
        self._intake = intake
        self._refusals = refusals
        self._metrics = metrics
        self.sources = sources
        self._secrets = secrets
        self._unsigned = frozenset(unsigned)
        self._body_cap = body_cap
        self._public_url = public_url
        self._now = now
        self._stopping = False

    def stop(self) -> None:
        """Accept no new request; requests under way may finish."""
        self._stopping = True

    def served(self, source: Source) -> bool:
        """Whether *source* has a secret to verify its sender by, or needs none."""
        return source.name in self._unsigned or any(self._secrets.get(name) for name in source.secrets)

    def handler(self, source: Source) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The request handler of *source*."""
        took = self._metrics.observer("ferryman_webhook_seconds", {"source": source.name})

        async def handle(request: web.Request) -> web.Response:
            began = time.perf_counter()
            try:
                outcome, answer = await self._answer(source, request)
            except Exception:
                log.exception("webhook.failed", source=source.name)
                outcome, answer = "error", problem(500, "this server failed and may not have kept it; send it again")
            self._metrics.inc("ferryman_webhooks_total", {"source": source.name, "outcome": outcome})
            took(time.perf_counter() - began)
            return answer

        return handle

    def challenge(self, source: Source) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler of a GET at the path of *source*, by which its sender finds out whether it may send there."""

        async def handle(request: web.Request) -> web.Response:
            assert source.challenge is not None
            try:
                answer = source.challenge(request.query, self._secrets)
            except Exception:
                log.exception("webhook.failed", source=source.name)
                return problem(500, "this server failed; ask again")
            if answer is None:
                return problem(403, f"this query is not a challenge of this source: {source.advice}")
            return plain(answer)

        return handle

    async def _answer(self, source: Source, request: web.Request) -> tuple[str, web.Response]:
        try:
            if self._stopping:
                return "unavailable", _unavailable("this process is stopping; send it again", 1)
            body = await self._body(request)
            asked = Webhook(request.headers, body, self._public_url + request.path_qs if self._public_url else "")
            if source.name not in self._unsigned and not source.verify(asked, self._secrets):
                raise Refusal(401, "signature", f"the sender could not be verified: {source.advice}", body)
            try:
                events = source.parse(asked, source.decode(body), self._now())
            except NotJson as exc:
                raise Refusal(400, "not_json", f"{exc}; send one JSON object in UTF-8", body) from exc
            except NoIdentity as exc:
                raise Refusal(400, "no_identity", f"{exc}; without it a repetition cannot be recognised", body) from exc
            except Malformed as exc:
                raise Refusal(400, "malformed", str(exc), body) from exc
            spooled = await self._intake.append(events)
        except Refusal as refusal:
            return "refused", self._refuse(source, request, refusal)
        except (NotAccepted, Full) as exc:
            return "unavailable", _unavailable(str(exc), exc.retry_after_s or 1)
        event_ids = [event.id for event in events]
        answer = Accepted(event_ids) if source.answer is None else plain(source.answer(event_ids))
        return ("spooled" if spooled else "accepted"), answer

    async def _body(self, request: web.Request) -> bytes:
        cap = self._body_cap
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refusal(415, "malformed", "send the body without Content-Encoding")
        if request.content_length is not None and request.content_length > cap:
            raise Refusal(413, "too_large", f"the body may have {cap} bytes at most")
        content = request.content
        try:
            if content.is_eof():  # the body came together with its header: no need to wait
                body = content.read_nowait()
            else:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await _read(content, cap)
        except TimeoutError:
            raise Refusal(408, "timeout", f"the body must arrive within {BODY_TIMEOUT_S:.0f} seconds") from None
        except (web.RequestPayloadError, ConnectionError):  # also when the sender went away
            raise Refusal(400, "malformed", "the body did not arrive whole; send it again") from None
        if len(body) > cap:
            raise Refusal(413, "too_large", f"the body may have {cap} bytes at most")
        return body

    def _refuse(self, source: Source, request: web.Request, refusal: Refusal) -> web.Response:
        self._refusals.note(
            source.name,
            refusal.reason,
            refusal.status,
            at=self._now(),
            remote=request.remote,
            headers=request.headers,
            body=refusal.body,
        )
        self._metrics.inc("ferryman_refused_total", {"source": source.name, "reason": refusal.reason})
        answer = problem(refusal.status, refusal.detail)
        if refusal.status in (408, 413, 415):
            answer.force_close()  # the rest of the body is not waited for
        return answer


async def _read(content: StreamReader, cap: int) -> bytes:
    """The whole of *content*, or a little more than *cap* bytes of it."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > cap:
            break
    return bytes(body)


def _unavailable(why: str, retry_after_s: float) -> web.Response:
    return problem(503, f"{why}; nothing was kept", headers={"Retry-After": str(max(1, round(retry_after_s)))})

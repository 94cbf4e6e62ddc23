"""The listener: verifies a webhook's sender, makes its events durable, and only then answers 202. Decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog
from aiohttp import web

from adapters.json_guard import NotJson, without_mark
from adapters.ports import NoIdentity, Source, Webhook
from daemon.bus.aside import LARGE_BYTES, Aside
from daemon.bus.batcher import Full
from daemon.bus.intake import ANSWER_S, Intake, NotAccepted
from daemon.bus.worker import Clock
from daemon.telemetry.metrics import OTHER, Metrics
from daemon.web import paths
from daemon.web.answer import Accepted, plain
from daemon.web.bodies import Bodies, Refusal, TooMuch
from daemon.web.problems import problem
from daemon.web.refusals import Refusals
from schemas.envelope import Event
from schemas.errors import Malformed

LARGE_S: Final = 2.0
"""What the stores have at least, where it has taken long to read a large body."""

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

log = structlog.get_logger(__name__)


class Listener:
    """Serves the webhook *sources*. *awaited*: whether secrets that count as much as those of a setting (by its name in
    lower case) are still to come: until then nobody is told for good that they are not proven."""

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
        awaited: Callable[[str], bool] = lambda setting: False,
    ) -> None:
        self._intake = intake
        self._refusals = refusals
        self._metrics = metrics
        self.sources = sources
        self.others: Sequence[str] = ()
        """What is served besides, for hints at paths."""
        self._secrets = secrets
        self._unsigned = frozenset(unsigned)
        self._bodies = Bodies(body_cap)
        self._aside = Aside()
        self._public_url = public_url
        self._now = now
        self._awaited = awaited
        self._stopping = False

    def take(self, secrets: Mapping[str, Sequence[str]]) -> None:
        """Verify senders by *secrets* from now on; a request under way keeps those that it began with."""
        self._secrets = secrets

    def stop(self) -> None:
        """Accept no new request; requests under way may finish."""
        self._stopping = True

    def served(self, source: Source) -> bool:
        """Whether *source* has what it needs to verify its sender, or needs nothing."""
        return not self.lacks(source)

    def lacks(self, source: Source) -> str:
        """What is to be set before *source* is served, "" where it is."""
        if source.name in self._unsigned:
            return ""
        return source.lacks(self._secrets, address_known=bool(self._public_url))

    def _unsettled(self, source: Source) -> bool:
        return any(self._awaited(name) for name in source.secrets)

    def handler(self, source: Source) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The request handler of *source*. While it is not served, nothing is at its path."""
        took = self._metrics.observer("ferryman_webhook_seconds", {"source": source.name})

        async def handle(request: web.Request) -> web.Response:
            if not self.served(source):
                return _not_yet() if self._unsettled(source) else await self.nowhere(request)
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
            if not self.served(source):
                return await self.nowhere(request)
            try:
                answer = source.challenge(request.query, self._secrets)
            except Exception:
                log.exception("webhook.failed", source=source.name)
                return problem(500, "this server failed; ask again")
            if answer is None:
                return problem(403, f"this query is not a challenge of this source: {source.advice}")
            return plain(answer)

        return handle

    @property
    def paths(self) -> list[str]:
        """The paths that are served."""
        return [source.path for source in self.sources if self.served(source)]

    async def nowhere(self, request: web.Request) -> web.Response:
        """The answer to a request for a path at which nothing is served. It names the path that may be meant."""
        await self.stray(request, 404)
        near = paths.nearest(request.path, [*self.paths, *self.others])
        if near is None:
            return problem(404, "there is nothing at this path; README.md lists the paths that are served")
        return problem(404, f"there is nothing at this path; the nearest one that is served is {near}")

    async def stray(self, request: web.BaseRequest, status: int) -> None:
        """Count a *request* that is answered with *status*, as its path (404) or its method (405) is not served.

        One with a body leaves a row. Where its header proves one of the sources, it may be an order: the row has the
        body then.
        """
        reason = "path" if status == 404 else "method"
        self._metrics.inc("ferryman_refused_total", {"source": OTHER, "reason": reason})
        if request.method not in _WITH_BODY:
            return
        proven = next((one for one in self.sources if one.early(request.headers, self._secrets)), None)
        body: bytes | None = None
        if proven is not None:
            try:
                body = await self._bodies.read(request, proven=True)
            except Refusal:
                body = None  # its length and type are among the headers
        self._refusals.note(
            OTHER if proven is None else proven.name,
            reason,
            status,
            at=self._now(),
            remote=request.remote,
            headers=request.headers,
            body=body,
            proven=proven is not None,
            path=request.path,
        )

    async def _answer(self, source: Source, request: web.Request) -> tuple[str, web.Response]:
        try:
            if self._stopping:
                return "unavailable", _unavailable("this process is stopping; nothing was kept", 1)
            asked = await self._proven(source, request)
            by = asyncio.get_running_loop().time() + ANSWER_S
            events = await self._events(source, asked, by)
            spooled = await self._kept(events, asked.body, by)
        except Refusal as refusal:
            return "refused", self._refuse(source, request, refusal)
        except TooMuch:
            answer = _unavailable("too many bodies are being received; nothing was kept", 1)
            answer.force_close()  # the rest of the body is not waited for
            return "unavailable", answer
        except NotAccepted as exc:
            known = "it is not known to be kept" if exc.perhaps else "nothing was kept"
            return "unavailable", _unavailable(f"{exc}; {known}", exc.retry_after_s or 1)
        except Full as exc:
            return "unavailable", _unavailable(f"{exc}; nothing was kept", exc.retry_after_s or 1)
        event_ids = [event.id for event in events]
        answer = Accepted(event_ids) if source.answer is None else plain(source.answer(event_ids))
        return ("spooled" if spooled else "accepted"), answer

    async def _proven(self, source: Source, request: web.BaseRequest) -> Webhook:
        """The request of a sender that is proven, or needs no proof. Where the header alone decides, a body without
        proof is not read. Raises: Refusal, also of a body that does not come whole; TooMuch."""
        open_to_all, secrets = source.name in self._unsigned, self._secrets
        early = None if open_to_all else source.early(request.headers, secrets)
        url = self._public_url + request.path_qs if self._public_url else ""
        body = b"" if early is False else await self._bodies.read(request, proven=early is True)
        asked = Webhook(request.headers, body, url)
        if not (open_to_all or early or (early is None and source.verify(asked, secrets))):
            if self._unsettled(source):
                raise NotAccepted("the secrets that prove its sender are being looked for", retry_after_s=1.0)
            detail = f"the sender could not be verified: {source.advice}"
            seen = None if early is False else body
            raise Refusal(401, source.doubt(asked, secrets), detail, seen)
        asked.body = without_mark(body)
        return asked

    async def _events(self, source: Source, asked: Webhook, by: float) -> list[Event]:
        """The events of a proven request. Raises: Refusal; NotAccepted when too many large bodies are in front."""

        def read() -> list[Event]:
            return source.parse(asked, source.decode(asked.body), self._now())

        try:
            if len(asked.body) <= LARGE_BYTES:
                return read()
            return await self._aside.run(read, by=by)  # however long it takes, or such a body would never be taken
        except NotJson as exc:
            raise Refusal(400, "not_json", f"{exc}; send one JSON object in UTF-8", asked.body, proven=True) from exc
        except NoIdentity as exc:
            detail = f"{exc}; without it a repetition cannot be recognised"
            raise Refusal(400, "no_identity", detail, asked.body, proven=True) from exc
        except Malformed as exc:
            raise Refusal(400, "malformed", str(exc), asked.body, proven=True) from exc
        except TimeoutError:
            raise NotAccepted("other large bodies are being read", retry_after_s=2.0) from None

    async def _kept(self, events: Sequence[Event], body: bytes, by: float) -> bool:
        """Make *events* durable; returns true when they are in the spool. Raises as `Intake.append`, but Refusal where
        a store cannot hold one of them."""
        if len(body) > LARGE_BYTES:
            by = max(by, asyncio.get_running_loop().time() + LARGE_S)
        try:
            return await self._intake.append(events, by=by)
        except Malformed as exc:
            raise Refusal(400, "malformed", f"{exc}; send it without odd characters", body, proven=True) from exc

    def _refuse(self, source: Source, request: web.Request, refusal: Refusal) -> web.Response:
        self._refusals.note(
            source.name,
            refusal.reason,
            refusal.status,
            at=self._now(),
            remote=request.remote,
            headers=request.headers,
            body=refusal.body,
            proven=refusal.proven,
        )
        self._metrics.inc("ferryman_refused_total", {"source": source.name, "reason": refusal.reason})
        headers = {"WWW-Authenticate": f'{source.scheme} realm="{source.name}"'} if refusal.status == 401 else None
        answer = problem(refusal.status, refusal.detail, headers=headers)
        if refusal.status in (408, 413, 415):
            answer.force_close()  # the rest of the body is not waited for
        return answer


def _not_yet() -> web.Response:
    return _unavailable("this process has just started; nothing was kept", 1)


def _unavailable(why: str, retry_after_s: float) -> web.Response:
    """A 503. *why*: ends with what is known of the request."""
    headers = {"Retry-After": str(max(1, round(retry_after_s)))}
    return problem(503, f"{why}; send it again", headers=headers)

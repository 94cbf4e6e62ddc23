"""`/api/v1/dead-letters`: groups of them, one, and what is done about them: again, again with other data, never.

What looks is imported when somebody first asks: a daemon starts without the operators' verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from adapters.json_guard import parse_object
from adapters.postgres.operator import dead_letters as stored
from adapters.postgres.operator.dead_letters import LetterFilter
from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.description import described
from daemon.api.requests import Handler, body_of, guarded, json_answer, number_of, query_of, read
from daemon.api.tokens import actor_of
from daemon.operator import masked
from daemon.operator.faults import Conflict, NotThere, Unusable
from schemas.api.bulk import BulkDone, EditIn, LettersIn, Shown, told
from schemas.api.lists import GroupFilter, LetterGroups

PATH: Final = "/api/v1/dead-letters"
_NUMBER: Final = "the letter's number"
NOT_OPEN: Final = "it is not open, or not there"
MOST_GROUPS: Final = 200


@dataclass(frozen=True, slots=True)
class DeadLettersApi:
    """The routes of dead letters, but their list."""

    pool: Pool
    access: Access

    def routes(self) -> Sequence[web.RouteDef]:
        """What is served."""
        again = self._bulk("Send dead letters again", again=True)
        never = self._bulk("Close dead letters for good", again=False)
        return [
            web.get(PATH + "/groups", guarded(self.access, self._groups, write=False)),
            web.get(PATH + "/{id}", guarded(self.access, self._get, write=False)),
            web.post(PATH + "/retry", guarded(self.access, again, write=True, role="operate")),
            web.post(PATH + "/discard", guarded(self.access, never, write=True, role="operate")),
            web.post(PATH + "/{id}/edit", guarded(self.access, self._edit, write=True, role="operate")),
        ]

    @described("Open dead letters by what is wrong, the largest group first", query=GroupFilter, gives=LetterGroups)
    async def _groups(self, request: web.Request) -> web.Response:
        """At most 200 groups. A group's `fingerprint` and `upto` are what its verbs take."""
        from daemon.operator import dead_letters

        asked = query_of(request, GroupFilter)
        wanted = LetterFilter(worker=asked.worker, error_class=asked.error_class, text=asked.text)
        found = await dead_letters.list_groups(self.pool, wanted)
        return json_answer({"data": found[:MOST_GROUPS], "next": None, "prev": None})

    @described("Show a dead letter, masked", named=_NUMBER, gives=Shown)
    async def _get(self, request: web.Request) -> web.Response:
        from daemon.operator import dead_letters

        found = await stored.find(self.pool, number_of(request, "dead letter"), None)
        if not found:
            raise NotThere("there is no such dead letter: see GET /api/v1/dead-letters")
        return json_answer(masked.letter(dead_letters.document(found[0])))

    def _bulk(self, summary: str, *, again: bool) -> Handler:
        @described(summary, takes=LettersIn, gives=BulkDone, problems=(409,))
        async def answer(request: web.Request) -> web.Response:
            """Those of *ids*, or all open ones that fit the rest. By a filter, ask with *dry_run* first and send the
            `upto` that it says: what comes later is left alone. One row of the audit log tells of all of them."""
            from daemon.operator import dead_letters

            plan = dead_letters.plan_retry if again else dead_letters.plan_discard
            do = dead_letters.retry_all if again else dead_letters.discard_all
            asked = read(LettersIn, parse_object, await body_of(request))
            if asked.ids is None and asked.upto is None and not asked.dry_run:
                raise Unusable("ask with dry_run first, and send the upto that it says: what comes later is left alone")
            wanted = _filter(asked)
            planned = await plan(self.pool, wanted)
            missing = 0 if asked.ids is None else len(set(asked.ids)) - planned.count - sum(planned.skipped.values())
            upto = asked.upto or planned.upto or None
            last = None if asked.ids else upto
            skipped = {**planned.skipped, NOT_OPEN: missing}
            if asked.dry_run:
                return json_answer({**told(planned.count, last, skipped), "done": None})
            done = await do(self.pool, wanted, upto or 0, actor_of(request), planned.count)
            skipped |= {one["reason"]: one["count"] for one in done["skipped"]}
            return json_answer({**told(planned.count, last, skipped), "done": done["done"]})

        return answer

    @described("Send a dead letter again with other data", named=_NUMBER, takes=EditIn, gives=BulkDone, problems=(409,))
    async def _edit(self, request: web.Request) -> web.Response:
        """The event keeps its id; its identity, like `order.id`, must stay as it was."""
        from daemon.operator import dead_letters

        asked, number = read(EditIn, parse_object, await body_of(request)), number_of(request, "dead letter")
        found = await stored.find(self.pool, number, None)
        if not found:
            raise NotThere("there is no such dead letter: see GET /api/v1/dead-letters")
        if found[0].state != "open":
            raise Conflict("this dead letter is not open any more: see GET /api/v1/dead-letters")
        event = await dead_letters.edited_event(self.pool, number, orjson.dumps(asked.data))
        done = None
        if not asked.dry_run:
            done = await dead_letters.retry(self.pool, [number], actor_of(request), lambda done, of: None, event=event)
        return json_answer({**told(1, None, {}), "done": done})


def _filter(asked: LettersIn) -> LetterFilter:
    return LetterFilter(
        ids=None if asked.ids is None else tuple(asked.ids),
        worker=asked.worker,
        error_class=asked.error_class,
        text=asked.text,
        fingerprint=asked.fingerprint,
        upto=asked.upto,
    )

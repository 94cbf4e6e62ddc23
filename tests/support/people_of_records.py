"""People who ask for records over HTTP, by tokens of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from adapters.postgres.pool import Pool
from tests.support.listening import Answer, check_problem
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from tests.integration.api.conftest import Served

PATH: Final = "/api/v1/records"
LEAD: Final = f"{PATH}/Lead/l-1"
NOA: Final = {"name": "Noa", "stage": "new"}


class Person:
    """Whoever asks by a token of their own."""

    def __init__(self, served: Served, headers: Mapping[str, str]) -> None:
        self._served = served
        self._headers = headers

    async def ask(self, method: str, path: str = LEAD, body: Any = None, **headers: str) -> Answer:
        """*headers*: with an underscore for each hyphen."""
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        return await self._served.ask(method, path, content, who="", headers={**self._headers, **headers})

    async def made(self, path: str = LEAD, body: Any = None) -> dict[str, Any]:
        """A record that they make."""
        answer = await self.ask("POST", path, NOA if body is None else body)
        assert answer.status == 201, answer.body
        return dict(answer.json)


async def person(served: Served, db: Pool, name: str = "alice", **more: Any) -> Person:
    return Person(served, await bearer(db, **({"edge": name} | more if "edge" in more else {"user": name} | more)))


def tagged(version: int) -> dict[str, str]:
    return {"If_Match": f'"{version}"'}


def refused(answer: Answer, status: int, reason: str) -> None:
    check_problem(answer, status, "reason", *(["record"] if reason == "version" else []))
    assert answer.json["reason"] == reason, answer.json

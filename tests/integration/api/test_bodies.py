"""A body that is compressed is refused by every route that reads one, whatever is in it."""

from __future__ import annotations

import gzip
import json
from typing import Any, Final

import pytest

from daemon.api.description import described_routes
from daemon.api.routes import routes_of
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from tests.integration.api.conftest import Served
from tests.support.listening import check_problem

NOBODY: Any = None
TAKES: Final = {
    f"{route.method} {route.path}": route
    for route in described_routes(routes_of(InForce(Settings()), NOBODY, NOBODY, NOBODY, "", NOBODY, NOBODY))
    if route.description.body_type is not None
}
PLACES: Final = {"{model}": "Lead", "{id}": "1", "{provider}": "meta", "{account}": "default"}
BODY: Final = json.dumps({"operations": []}).encode()


async def status_of(served: Served, name: str, body: bytes, **headers: str) -> Any:
    method, path = name.split()
    for place, value in PLACES.items():
        path = path.replace(place, value)
    if route := TAKES[name].description.headers:
        headers |= {"If_Match": '"1"'} if "If-Match" in route else {}
    return await served.ask(method, path, body, headers=headers)


def test_there_are_routes_that_read_bodies() -> None:
    assert {"POST /api/v1/sync/push", "POST /api/sync/pull", "POST /api/v1/messages"} <= TAKES.keys()


@pytest.mark.parametrize("name", TAKES)
async def test_a_compressed_body_is_told_to_come_plain(served: Served, name: str) -> None:
    for body, encoding in ((gzip.compress(BODY), "gzip"), (BODY, "GZIP"), (b"\0" * 40, "deflate"), (BODY, "other")):
        answer = await status_of(served, name, body, Content_Encoding=encoding)
        check_problem(answer, 415)
        assert (answer.json["type"], answer.headers["Accept-Encoding"]) == ("encoding", "identity")
        assert "without Content-Encoding" in answer.json["detail"]
    assert (await status_of(served, name, BODY, Content_Encoding="identity")).status != 415
    assert "415" in served.document["paths"][name.split()[1]][name.split()[0].lower()]["responses"]

"""Tokens of people and of edges: made, listed, revoked over HTTP, and what each kind may call."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import pytest

from adapters.postgres import tokens
from adapters.postgres.pool import Pool
from daemon.api import access
from daemon.api.access import MOST_FAILURES
from daemon.api.description import described_routes
from daemon.api.routes import routes_of
from daemon.api.stored_tokens import HOLD_S, StoredTokens
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from schemas.api.tokens import AccessToken, AccessTokenMade, AccessTokens
from schemas.tokens import digest_of, is_token, new_token
from tests.integration.api.conftest import TOKENS, Served
from tests.support.answers import check_fields
from tests.support.listening import Answer, check_problem
from tests.support.tokens import bearer, made, proof

PATH: Final = "/api/v1/tokens"
PLACE: Final = re.compile(r"\{\w+\}")
NOBODY: Any = None
ROUTES: Final = {
    f"{route.method} {route.path}": route
    for route in described_routes(routes_of(InForce(Settings()), NOBODY, NOBODY, NOBODY, "", NOBODY, NOBODY))
}

WHO: Final[Mapping[str, str]] = {
    "POST /api/v1/messages": "admin",
    "POST /api/send-message": "admin",
    "GET /api/v1/messages": "reader",
    "GET /api/v1/messages/{id}": "reader",
    "DELETE /api/v1/messages/{id}": "admin",
    "POST /api/v1/messages/{id}/read": "admin",
    "GET /api/v1/templates": "reader",
    "POST /api/v1/templates/sync": "admin",
    "POST /api/v1/campaigns": "admin",
    "GET /api/v1/campaigns": "reader",
    "GET /api/v1/campaigns/{id}": "reader",
    "GET /api/v1/campaigns/{id}/recipients": "reader",
    "POST /api/v1/campaigns/{id}/start": "admin",
    "POST /api/v1/campaigns/{id}/pause": "admin",
    "POST /api/v1/campaigns/{id}/resume": "admin",
    "POST /api/v1/campaigns/{id}/stop": "admin",
    "GET /api/v1/conversations": "reader",
    "GET /api/v1/conversations/{id}": "reader",
    "POST /api/v1/credentials": "admin",
    "GET /api/v1/credentials": "reader",
    "GET /api/v1/credentials/{provider}/{account}": "reader",
    "DELETE /api/v1/credentials/{provider}/{account}": "admin",
    "POST /api/token": "admin",
    "POST /api/v1/tokens": "admin",
    "GET /api/v1/tokens": "admin",
    "DELETE /api/v1/tokens/{id}": "admin",
    "GET /api/v1/content-orders/{id}": "reader",
    "POST /api/v1/content-orders/{id}/ready": "admin",
    "POST /api/v1/user-mappings": "admin",
    "GET /api/v1/user-mappings": "reader",
    "DELETE /api/v1/user-mappings/{id}": "admin",
    "PUT /api/v1/user-mappings/{id}/notify": "admin",
    "POST /api/v1/conversations/labels": "admin",
    "POST /api/v1/records/{model}": "writer",
    "GET /api/v1/records/{model}": "records",
    "GET /api/v1/records/{model}/{id}": "records",
    "POST /api/v1/records/{model}/{id}": "writer",
    "PUT /api/v1/records/{model}/{id}": "writer",
    "PATCH /api/v1/records/{model}/{id}": "writer",
    "DELETE /api/v1/records/{model}/{id}": "writer",
    "GET /api/v1/sync/stats": "records",
    "GET /api/v1/sync/pull": "records",
    "POST /api/v1/sync/pull": "records",
    "GET /api/sync/pull": "records",
    "POST /api/sync/pull": "records",
    "POST /api/v1/sync/push": "records",
    "POST /api/sync/push": "records",
    "GET /api/v1/sync/conflicts": "records",
    "GET /api/v1/sync/conflicts/{id}": "records",
    "POST /api/v1/sync/conflicts/{id}": "writer",
    "GET /api/v1/openapi.json": "anybody",
    "GET /api/v1/docs": "anybody",
}
"""Every route, and whose token it asks for. A new route needs a row."""

INSTALLATION: Final = frozenset({"admin", "readonly"})
STORED: Final = frozenset({"user read", "user operate", "user admin", "edge read", "edge operate"})
LET_IN: Final[Mapping[str, frozenset[str]]] = {
    "reader": INSTALLATION | {"user admin"},
    "admin": frozenset({"admin", "user admin"}),
    "records": INSTALLATION | STORED,
    "writer": frozenset({"admin", "user operate", "user admin", "edge operate"}),
}
ENDED: Final = ("nobody", "wrong", "revoked", "expired")


async def headers_of(db: Pool, kind: str) -> Mapping[str, str]:
    """What a bearer of *kind* sends."""
    if kind in INSTALLATION:
        return {"Authorization": f"Bearer {TOKENS['admin' if kind == 'admin' else 'reader']}"}
    if kind == "nobody":
        return {}
    if kind == "wrong":
        return {"Authorization": f"Bearer {new_token()}"}
    if kind in STORED:
        whose, role = kind.split()
        return await bearer(db, **{whose: "u-1"}, role=role, owners=["u-1"] if whose == "edge" else [])
    token = await made(db, user="u-1", role="admin")
    column = "revoked_at" if kind == "revoked" else "expires_at"
    await db.execute(f"UPDATE tokens SET {column} = now() WHERE id = $1", token["id"])
    return proof(token)


def test_every_route_has_its_row() -> None:
    assert {name: route.who for name, route in ROUTES.items()} == dict(WHO)


@pytest.mark.parametrize("name", ROUTES)
async def test_every_kind_of_token_is_answered_as_the_table_says(served: Served, db: Pool, name: str) -> None:
    method, path = name.split()
    for kind in (*INSTALLATION, *STORED, *ENDED):
        answer = await served.ask(method, PLACE.sub(str(uuid4()), path), who="", headers=await headers_of(db, kind))
        if WHO[name] == "anybody":
            assert answer.status == 200, kind
        elif kind in ENDED:
            check_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        elif kind in LET_IN[WHO[name]]:
            assert answer.status not in (401, 403, 429, 500), (kind, answer.body)
        else:
            check_problem(answer, 403)


async def asked(served: Served, method: str, path: str = PATH, body: Any = None, status: int = 200) -> Any:
    answer = await served.ask(method, path, None if body is None else json.dumps(body).encode())
    assert answer.status == status, answer.body
    return answer.json


async def test_a_token_is_shown_once_and_only_its_digest_is_stored(served: Served, db: Pool) -> None:
    body = json.dumps({"user": "u-1", "branch": "north", "role": "read", "expires_days": 9}).encode()
    answer = await served.ask("POST", PATH, body)
    token = answer.json["token"]
    assert (answer.status, answer.headers["Cache-Control"], is_token(token)) == (201, "no-store", True)
    wanted = {"kind": "user", "name": "u-1", "branch": "north", "role": "read", "owners": [], "state": "active"}
    assert {name: answer.json[name] for name in wanted} == wanted
    assert await db.fetchval("SELECT digest FROM tokens") == digest_of(token)
    everywhere = [await db.fetch(f"SELECT t::text FROM {table} t") for table in ("tokens", "audit_log")]
    assert token.removeprefix("fmt_")[:20] not in str(everywhere)
    (listed,) = (await asked(served, "GET"))["tokens"]
    assert listed == {name: value for name, value in answer.json.items() if name != "token"}
    assert listed["hint"] == token[-4:]
    assert 8.99 < await db.fetchval("SELECT extract(epoch FROM expires_at - now()) / 86400 FROM tokens") <= 9


async def test_who_makes_and_revokes_is_in_the_audit_log(served: Served, db: Pool) -> None:
    headers = await bearer(db, user="boss", role="admin")
    made_ = await served.ask("POST", PATH, b'{"edge": "e-1", "owners": ["u-1", "u-2"]}', who="", headers=headers)
    assert made_.status == 201
    id = made_.json["id"]
    revoked = await asked(served, "DELETE", f"{PATH}/{id}")
    assert (revoked["state"], revoked["revoked_by"], revoked["created_by"]) == ("revoked", "api", "user:boss")
    again = await asked(served, "DELETE", f"{PATH}/{id}")
    assert again == revoked
    rows = await db.fetch("SELECT actor, action, subject FROM audit_log WHERE actor <> 'test' ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("user:boss", "token.created", f"token:{id}"),
        ("api", "token.revoked", f"token:{id}"),
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "a user or for an edge"),
        ({"user": "a", "edge": "b"}, "a user or for an edge"),
        ({"user": "a", "owners": ["b"]}, "owners"),
        ({"user": " "}, "user"),
        ({"user": "a\nb"}, "user"),
        ({"user": "a", "role": "king"}, "role"),
        ({"user": "a", "expires_days": 0}, "expires_days"),
        ({"edge": "e"}, "owners or branch"),
        ({"edge": "e", "owners": []}, "owners or branch"),
        ({"edge": "e", "owners": [" "]}, "owners"),
        ({"edge": "e", "owners": ["a"], "role": "admin"}, "role"),
        ({"user": "a", "admin": True}, "admin"),
    ],
)
async def test_what_is_no_token_is_refused(served: Served, db: Pool, body: Any, says: str) -> None:
    answer = await served.ask("POST", PATH, json.dumps(body).encode())
    check_problem(answer, 422)
    assert says in answer.json["detail"]
    assert await db.fetchval("SELECT count(*) FROM tokens") == 0


@pytest.mark.parametrize("id", ["0", "x", "٣", "9" * 30, "77c54121-94e8-4c95-a5fa-bc7aaaa12a87"])
async def test_a_token_that_is_not_there_is_not_revoked(served: Served, id: str) -> None:
    check_problem(await served.ask("DELETE", f"{PATH}/{id}"), 404)


async def look(served: Served, headers: Mapping[str, str]) -> Answer:
    return await served.ask("GET", PATH, who="", headers=headers)


async def test_a_token_ends_within_five_seconds_in_every_process(db: Pool) -> None:
    at = 100.0
    processes = [StoredTokens(db, lambda: at) for _ in range(2)]
    revoked, expiring = await made(db, user="u-1"), await made(db, user="u-2")
    await db.execute("UPDATE tokens SET expires_at = now() + interval '1.5 s' WHERE name = 'u-2'")
    for process in processes:
        for token in (revoked, expiring):
            found = await process.find(token["token"])
            assert found is not None
            assert (found.ended, found.principal.name) == (False, token["name"])
    await db.execute("UPDATE tokens SET revoked_at = now() WHERE name = 'u-1'")
    await db.execute("UPDATE tokens SET expires_at = now() WHERE name = 'u-2'")
    at = 101.6
    for process in processes:
        held, expired = await process.find(revoked["token"]), await process.find(expiring["token"])
        assert held is not None
        assert expired is not None
        assert (held.ended, expired.ended) == (False, True)
    at = 100.0 + HOLD_S
    assert HOLD_S < 5
    for process in processes:
        found = await process.find(revoked["token"])
        assert found is not None
        assert found.ended


async def test_the_last_use_is_written_once_a_minute(db: Pool) -> None:
    token = await made(db, user="u-1")
    at = 0.0
    stored = StoredTokens(db, lambda: at)

    async def used(ago: str = "0") -> Any:
        nonlocal at
        await db.execute(f"UPDATE tokens SET used_at = used_at - interval '{ago} s'")
        before = await db.fetchval("SELECT used_at FROM tokens")
        at += HOLD_S
        await stored.find(token["token"])
        return before, await db.fetchval("SELECT used_at FROM tokens")

    before, after = await used()
    assert (before, after is None) == (None, False)
    before, after = await used("50")
    assert before == after
    before, after = await used("11")
    assert before < after


async def test_a_token_that_ended_is_not_used(db: Pool) -> None:
    token = await made(db, user="u-1")
    await db.execute("UPDATE tokens SET revoked_at = now()")
    assert (await StoredTokens(db).find(token["token"])) is not None
    assert await db.fetchval("SELECT used_at FROM tokens") is None


async def test_whoever_guesses_waits_and_the_devices_beside_them_go_on(served: Served, db: Pool) -> None:
    """Also a device that was not seen before. A token of the settings is one that somebody might guess."""
    known, unseen = await bearer(db, user="u-1", role="admin"), await bearer(db, user="u-2", role="admin")
    assert (await look(served, known)).status == 200
    await guessed(served, db)
    for headers in (known, unseen):
        assert (await look(served, headers)).status == 200
    for kind in ("admin", "wrong"):
        answer = await look(served, await headers_of(db, kind))
        check_problem(answer, 429)
        assert 0 < int(answer.headers["Retry-After"]) <= 61
    for kind in ("revoked", "expired"):
        check_problem(await look(served, await headers_of(db, kind)), 401)


async def guessed(served: Served, db: Pool) -> None:
    """Their address has sent too many wrong tokens."""
    for _ in range(MOST_FAILURES):
        assert (await look(served, await headers_of(db, "wrong"))).status == 401


async def test_many_who_guess_take_one_connection_of_the_store(
    served: Served, db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = await bearer(db, user="u-1", role="admin")
    await guessed(served, db)
    at_once, most, asked = 0, 0, tokens.bearer

    async def counted(pool: Pool, digest: bytes) -> Any:
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        try:
            return await asked(pool, digest)
        finally:
            at_once -= 1

    monkeypatch.setattr(tokens, "bearer", counted)
    wrong = [look(served, await headers_of(db, "wrong")) for _ in range(40)]
    answers = await asyncio.gather(*wrong, look(served, unseen))
    assert [answer.status for answer in answers] == [429] * 40 + [200]
    assert most == 1


async def test_a_store_that_stands_still_keeps_who_guesses_waiting_for_two_seconds_at_most(
    served: Served, db: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await guessed(served, db)
    monkeypatch.setattr(access, "LOOK_UP_S", 0.2)
    async with db.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE tokens")
        async with asyncio.timeout(1.5):  # one after another they would take 0.2 s each
            answers = await asyncio.gather(*(look(served, proof({"token": new_token()})) for _ in range(20)))
    assert {answer.status for answer in answers} == {429}


async def test_a_device_whose_token_ended_keeps_nobody_out(served: Served, db: Pool) -> None:
    for kind in ("revoked", "expired"):
        headers = await headers_of(db, kind)
        for _ in range(MOST_FAILURES + 1):
            check_problem(await look(served, headers), 401)
    assert (await look(served, await headers_of(db, "admin"))).status == 200


@pytest.mark.parametrize("given", ["", "fmt_", "fmt_" + "x" * 42, "fmt_" + "ü" * 43, "FMT_" + "x" * 43, "x" * 47])
async def test_only_what_looks_like_a_token_is_searched_for(served: Served, db: Pool, given: str) -> None:
    await db.execute("DROP TABLE tokens")
    headers = {"Authorization": b"Bearer ".decode() + given}
    assert (await look(served, headers)).status == 401


async def test_whether_a_token_is_known_the_store_answers(served: Served, db: Pool) -> None:
    await db.execute("ALTER TABLE tokens RENAME TO gone")
    answer = await look(served, {"Authorization": f"Bearer {new_token()}"})
    check_problem(answer, 503)
    assert (await served.ask("GET", "/api/v1/messages")).status == 200, "the installation's tokens need no store"


async def test_the_answers_have_the_fields_that_the_document_names(served: Served) -> None:
    made_ = await asked(served, "POST", body={"edge": "e-1", "branch": "north"}, status=201)
    check_fields(AccessTokenMade, made_)
    check_fields(AccessTokens, await asked(served, "GET"))
    check_fields(AccessToken, await asked(served, "DELETE", f"{PATH}/{made_['id']}"))

"""`/api/v1/credentials` and `/api/token` over HTTP, on a real Postgres: who may, what is taken, and that no value is
anywhere in full."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.fernet import Fernet
from pydantic import SecretStr

from adapters.postgres.pool import Pool
from daemon.api.access import Access
from daemon.api.credentials import PATH, TOKEN_PATH, CredentialsApi
from daemon.operator import credentials as operating
from daemon.operator.credentials import NotUsable, rotate
from daemon.operator.sending import NotSendable, check
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.seal import Seal, key_id
from schemas.api.messages import MessageIn
from tests.support.toy import NOON

ADMIN: Final = "admin-token-0123456789"
READONLY: Final = "readonly-token-0123456789"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
META: Final = {
    "access_token": "EAAcanary0123456789",
    "phone_number_id": "106000123456789",
    "app_secret": "canary-app-1",
}
ASKED: Final = {"provider": "meta", "account": "second", "secret": META}
SID: Final = "AC0123456789abcdef0123456789abcdef"
SEED: Final = {"token": SID, "secret": "canary-auth-token", "phoneNumber": "+15550001234", "provider": "twilio"}


def settings(*keys: str, **given: Any) -> Settings:
    url = SecretStr("postgresql://db.example/f")
    return Settings(database_url=url, ferryman_secret_key=tuple(map(SecretStr, keys)), **given)


class Client:
    """The API as a program sees it. *in_force*: its settings, which a test may change."""

    def __init__(self, http: TestClient[web.Request, web.Application], in_force: InForce) -> None:
        self._http = http
        self.in_force = in_force

    async def ask(
        self, method: str, path: str = PATH, body: Any = None, token: str | None = ADMIN
    ) -> tuple[int, Any, str]:
        proof = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self._http.request(method, path, data=data, headers=proof) as answer:
            text = await answer.text()
            return answer.status, json.loads(text), text


@pytest.fixture
async def client(db: Pool) -> AsyncIterator[Client]:
    in_force = InForce(settings(NEW))
    access = Access({"admin": lambda: [ADMIN], "readonly": lambda: [READONLY]})
    app = web.Application()
    app.add_routes(CredentialsApi(db, in_force, access).routes())
    async with TestClient(TestServer(app)) as http:
        yield Client(http, in_force)


async def everything(db: Pool) -> str:
    """The text of every row of every table; bytes both as they are and in hex."""
    names = await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    rows = [row for (name,) in names for row in await db.fetch(f'SELECT * FROM "{name}"')]
    cells = [cell for row in rows for cell in row.values()]
    return "\n".join(repr(cell) + (cell.hex() if isinstance(cell, bytes) else "") for cell in cells)


async def test_an_account_is_stored_shown_masked_replaced_and_deleted(client: Client, db: Pool) -> None:
    status, stored, _ = await client.ask("POST", body=ASKED)
    assert status == 201
    masked = {"access_token": "***6789", "phone_number_id": "***6789", "app_secret": "***pp-1"}
    wanted = {"provider": "meta", "account": "second", "secret": masked, "error": None, "key_id": key_id(NEW)}
    assert {name: stored[name] for name in wanted} == wanted
    status, listed, _ = await client.ask("GET", token=READONLY)
    assert (status, listed) == (200, {"credentials": [stored], "settings": {}})
    assert await client.ask("GET", f"{PATH}/meta/second") == (200, stored, json.dumps(stored, separators=(",", ":")))
    status, replaced, _ = await client.ask(
        "POST", body=ASKED | {"secret": META | {"access_token": "EAAcanary-another"}}
    )
    assert (status, replaced["secret"]["access_token"]) == (200, "***ther")
    assert replaced["created_at"] == stored["created_at"] < replaced["updated_at"]
    status, deleted, _ = await client.ask("DELETE", f"{PATH}/meta/second")
    assert (status, deleted) == (200, {"provider": "meta", "account": "second", "deleted": True})
    assert (await client.ask("GET", f"{PATH}/meta/second"))[0] == 404
    assert (await client.ask("DELETE", f"{PATH}/meta/second"))[0] == 404
    audited = await db.fetch("SELECT actor, action, subject, detail::text FROM audit_log ORDER BY id")
    assert [(row["actor"], row["action"], row["subject"]) for row in audited] == [
        ("api", f"credentials.{action}", "credentials:meta/second") for action in ("stored", "replaced", "deleted")
    ]
    assert json.loads(audited[0]["detail"]) == {"fields": sorted(META)}


async def test_no_value_is_in_the_database_or_in_an_answer(client: Client, db: Pool) -> None:
    answers = [
        await client.ask("POST", body=ASKED),
        await client.ask("POST", TOKEN_PATH, SEED),
        await client.ask("GET"),
        await client.ask("POST", body=ASKED | {"secret": META | {"access_token": ["EAAcanary0123456789"]}}),
        await client.ask("POST", body=ASKED | {"secret": META | {"EAA canary0123456789": 1}}),
        await client.ask("POST", body=ASKED | {"secret": "EAAcanary0123456789"}),
        await client.ask("POST", body=ASKED | {"account": "canary canary"}),
        await client.ask("POST", TOKEN_PATH, SEED | {"secret": "canary\nX: y"}),
    ]
    assert [status for status, _, _ in answers] == [201, 200, 200, 422, 422, 422, 422, 422]
    held = await everything(db)
    assert "second" in held
    for value in (*META.values(), SID, "canary", SEED["phoneNumber"]):
        assert value not in held
        assert value.encode().hex() not in held
        assert not any(value in text for _, _, text in answers)


async def test_an_administrator_alone_may_write(client: Client) -> None:
    await client.ask("POST", body=ASKED)
    for method, path, body in (
        ("POST", PATH, ASKED),
        ("DELETE", f"{PATH}/meta/second", None),
        ("POST", TOKEN_PATH, SEED),
    ):
        assert (await client.ask(method, path, body, READONLY))[0] == 403
        assert (await client.ask(method, path, body, None))[0] == 401
    assert (await client.ask("GET", token=None))[0] == 401
    assert (await client.ask("GET", f"{PATH}/meta/second", token=READONLY))[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"[]", 400, "no JSON object"),
        (b"{", 400, "no JSON object"),
        ({}, 422, "provider"),
        (ASKED | {"provider": "pigeon"}, 422, "provider must be one of"),
        (ASKED | {"secret": {}}, 422, "secret.access_token is missing"),
        (ASKED | {"secret": META | {"colour": "red"}}, 422, "secret.colour is no field of meta"),
        (ASKED | {"secret": {str(n): n for n in range(30)}}, 422, "secret"),
        (ASKED | {"account": ""}, 422, "account"),
        (ASKED | {"account": "a/b"}, 422, "account"),
        (ASKED | {"account": "../x"}, 422, "account"),
        (ASKED | {"account": "x" * 61}, 422, "account"),
        (ASKED | {"colour": "red"}, 422, "colour"),
        (json.dumps(ASKED).encode().replace(b"EAAcanary", b"EAA\\u000a"), 422, "secret.access_token must be"),
        (json.dumps(ASKED).encode().replace(b"EAAcanary", b"\\u0000"), 400, "U+0000"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_kept(
    client: Client, db: Pool, body: Any, status: int, says: str
) -> None:
    answered, document, _ = await client.ask("POST", body=body)
    assert (answered, says in document["detail"]) == (status, True), document
    assert await db.fetchval("SELECT count(*) FROM credentials") == 0


@pytest.mark.parametrize(
    ("body", "provider", "fields"),
    [
        (SEED, "twilio", ["account_sid", "auth_token", "whatsapp_number"]),
        ({"token": f"{SID}:tok:+15550001234:twilio"}, "twilio", ["account_sid", "auth_token", "whatsapp_number"]),
        ({"token": "EAAx:106:whatsapp-business-api"}, "meta", ["access_token", "phone_number_id"]),
        ({"token": "whapi-token"}, "whapi", ["token"]),
    ],
)
async def test_the_older_program_stores_the_account_default(
    client: Client, body: Any, provider: str, fields: list[str]
) -> None:
    status, document, _ = await client.ask("POST", TOKEN_PATH, body)
    assert (status, document["success"], document["provider"], document["account"]) == (200, True, provider, "default")
    assert list(document["secret"]) == fields
    assert (await client.ask("POST", TOKEN_PATH, body))[0] == 200


async def test_a_sid_without_its_token_is_not_taken_for_another_provider_s(client: Client) -> None:
    status, document, _ = await client.ask("POST", TOKEN_PATH, {"token": SID})
    assert (status, "secret.auth_token is missing" in document["detail"]) == (422, True)


@pytest.mark.parametrize(
    "path", ["meta/%00", "%00/second", "pigeon/second", "meta/%F0%9F%90%A6", "meta/a%2Fb", "meta/default"]
)
async def test_an_account_that_cannot_be_is_not_there(client: Client, path: str) -> None:
    for method in ("GET", "DELETE"):
        assert (await client.ask(method, f"{PATH}/{path}"))[0] == 404


async def test_without_a_key_nothing_is_stored_and_the_answer_says_what_to_do(client: Client, db: Pool) -> None:
    await client.ask("POST", body=ASKED)
    client.in_force.settings = settings()
    status, document, _ = await client.ask("POST", body=ASKED | {"account": "third"})
    assert (status, "FERRYMAN_SECRET_KEY" in document["detail"]) == (422, True)
    status, listed, _ = await client.ask("GET")
    (one,) = listed["credentials"]
    assert (status, one["secret"], "FERRYMAN_SECRET_KEY" in one["error"]) == (200, None, True)


async def test_a_wrong_key_is_said_and_does_not_keep_an_account_from_being_replaced(client: Client) -> None:
    await client.ask("POST", body=ASKED)
    client.in_force.settings = settings(OLD)
    _, one, _ = await client.ask("GET", f"{PATH}/meta/second")
    assert (one["secret"], one["error"]) == (None, "no key of FERRYMAN_SECRET_KEY decrypts it")
    status, again, _ = await client.ask("POST", body=ASKED)
    assert (status, again["error"], again["key_id"]) == (200, None, key_id(OLD))


async def test_a_rotation_encrypts_by_the_first_key_and_names_what_is_lost(client: Client, db: Pool) -> None:
    client.in_force.settings = settings(OLD)
    await client.ask("POST", body=ASKED)
    lost = Seal([Fernet.generate_key().decode()]).close("whapi", "lost", {"token": "x"})
    await db.execute("INSERT INTO credentials VALUES ('whapi', 'lost', $1, 'gone', now(), now(), 'me')", lost)
    both = settings(NEW, OLD)
    assert await rotate(db, both, "me", dry_run=True) == (["meta/second"], ["whapi/lost"])
    assert await rotate(db, both, "me", dry_run=False) == (["meta/second"], ["whapi/lost"])
    assert await rotate(db, both, "me", dry_run=False) == ([], ["whapi/lost"])
    client.in_force.settings = settings(NEW)
    assert (await client.ask("GET", f"{PATH}/meta/second"))[1]["secret"]["access_token"] == "***6789"
    with pytest.raises(NotUsable, match="FERRYMAN_SECRET_KEY"):
        await rotate(db, settings(), "me", dry_run=False)


async def test_on_an_embedded_database_the_key_is_made_at_the_first_account(
    client: Client, tmp_path: Path, db: Pool
) -> None:
    client.in_force.settings = Settings(ferryman_data_dir=tmp_path)
    assert (await client.ask("GET"))[0] == 200
    assert list(tmp_path.iterdir()) == []
    assert (await client.ask("POST", body=ASKED))[0] == 201
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("secret-key", 0o600)]
    assert (await client.ask("GET"))[1]["credentials"][0]["error"] is None


def message(**given: Any) -> MessageIn:
    return MessageIn.model_validate({"to": "+972505550142", "text": "hello", "provider": "meta"} | given)


STORED: Final = {("meta", "second"), ("meta", "third"), ("twilio", "default")}
SET: Final = {"meta_phone_number_id": "106", "meta_access_token": "EAAx"}


@pytest.mark.parametrize(
    ("given", "of_settings", "says"),
    [
        ({"account": "second"}, {}, None),
        ({"account": "second"}, SET, None),
        ({}, SET, None),
        ({"provider": "twilio"}, {}, None),
        ({}, {}, r"set META_PHONE_NUMBER_ID, META_ACCESS_TOKEN, or store it: `ferryman credentials set meta`"),
        ({"account": "fourth"}, {}, "of meta there are: second, third$"),
        ({"account": "fourth"}, SET, "of meta there are: default, second, third$"),
        ({"account": "second", "provider": "twilio"}, {}, "of twilio there are: default$"),
        ({"account": "second", "provider": "whapi"}, {}, "of whapi there are: none$"),
        ({"provider": "cgb"}, {"cgb_api_style": "documented"}, "set CGB_API_STYLE=live$"),
    ],
)
def test_a_message_is_taken_for_an_account_that_there_is(given: Any, of_settings: Any, says: str | None) -> None:
    def run() -> None:
        check(Settings(**of_settings), message(**given), NOON, accounts=STORED)

    refused(run, says)


def refused(run: Callable[[], None], says: str | None) -> None:
    if says is None:
        run()
        return
    with pytest.raises(NotSendable, match=says):
        run()


def test_an_account_shows_no_value_in_its_repr() -> None:
    assert "canary" not in repr(operating.given("meta", "second", META))

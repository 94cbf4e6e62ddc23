"""`/api/v1/user-mappings` over HTTP: who a person is, said, listed, forgotten; and what is archived follows."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import orjson
import pytest

from adapters.postgres.pool import Pool
from daemon.conversations.archive.names import bucket_name
from tests.integration.api.conftest import Served
from tests.support.listening import Answer, check_problem

PATH: Final = "/api/v1/user-mappings"
ONE: Final = {"user_id": "u1", "whatsapp_number": "+1 (202) 555-0143"}


def problem_of(answer: Answer, status: int, told: str) -> None:
    """The answer is a problem document whose words have *told* in them."""
    check_problem(answer, status)
    assert told in answer.json["detail"]


async def ask(served: Served, method: str, path: str = PATH, body: Any = None, who: str = "admin") -> tuple[int, Any]:
    answer = await served.ask(method, path, None if body is None else orjson.dumps(body), who=who)
    return answer.status, orjson.loads(answer.body)


async def note(pool: Pool, line: str) -> None:
    await pool.execute("INSERT INTO meeting_notes (message_key, line, event_id) VALUES ($1, $1, $1)", line)


async def test_a_mapping_is_made_once_and_what_is_archived_follows(served: Served, db: Pool) -> None:
    await note(db, "+12025550143")
    await note(db, "+46701740605")
    status, made = await ask(served, "POST", body=ONE)
    assert (status, made["whatsapp_number"], made["reassigned"], made["notify_on_ready"]) == (
        201, "+12025550143", 1, False,
    )  # fmt: skip
    rows = await db.fetch("SELECT user_id FROM meeting_notes ORDER BY line")
    assert [row["user_id"] for row in rows] == ["u1", None]
    status, again = await ask(served, "POST", body={**ONE, "is_verified": True, "notify_on_ready": True})
    assert (status, again["id"], again["is_verified"], again["notify_on_ready"]) == (200, made["id"], True, True)
    assert again["bucket_name"] == bucket_name("pacelane-whatsapp", "u1")
    actions = await db.fetch("SELECT action FROM audit_log ORDER BY id")
    assert [row["action"] for row in actions] == ["user_mapping.added", "user_mapping.changed"]
    assert "12025550143" not in str(await db.fetch("SELECT * FROM audit_log"))


async def test_a_contact_is_one_users_alone(served: Served) -> None:
    contact = {"chatwoot_contact_id": 905, "chatwoot_account_id": "3"}
    status, made = await ask(served, "POST", body={"user_id": "u1", **contact})
    assert (status, made["chatwoot_contact_id"], made["chatwoot_account_id"]) == (201, "905", "3")
    answer = await served.ask("POST", PATH, orjson.dumps({"user_id": "u2", **contact}))
    problem_of(answer, 409, "mapped to another user")
    status, both = await ask(served, "POST", body={**ONE, **contact})
    assert (status, both["id"], both["whatsapp_number"]) == (200, made["id"], "+12025550143")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"user_id": "u1"}, "whatsapp_number"),
        ({"user_id": "u1", "whatsapp_number": "0701740605"}, "country code"),
        ({"user_id": "u1", "whatsapp_number": "hello"}, "country code"),
        ({"user_id": "u1", "chatwoot_contact_id": "905"}, "go together"),
        ({"user_id": "u1", "chatwoot_contact_id": "x", "chatwoot_account_id": "3"}, "number of Chatwoot's"),
        ({"user_id": "account_3", "whatsapp_number": "+12025550143"}, "account_"),
        ({"user_id": "  ", "whatsapp_number": "+12025550143"}, "user_id"),
        ({**ONE, "phone": "+12025550143"}, "phone"),
    ],
)
async def test_what_makes_no_sense_is_refused(served: Served, db: Pool, body: dict[str, Any], told: str) -> None:
    problem_of(await served.ask("POST", PATH, orjson.dumps(body)), 422, told)
    assert await db.fetchval("SELECT count(*) FROM whatsapp_user_mapping") == 0


async def test_mappings_are_listed_page_by_page_and_removed(served: Served, db: Pool) -> None:
    for n in range(3):
        await ask(served, "POST", body={"user_id": f"u{n}", "whatsapp_number": f"+4670174060{n}"})
    _, first = await ask(served, "GET", f"{PATH}?limit=2", who="reader")
    _, rest = await ask(served, "GET", f"{PATH}?limit=2&cursor={first['next']}", who="reader")
    assert [one["user_id"] for one in first["mappings"] + rest["mappings"]] == ["u0", "u1", "u2"]
    assert rest["next"] is None
    _, of_one = await ask(served, "GET", f"{PATH}?user_id=u1")
    (one,) = of_one["mappings"]
    assert await ask(served, "DELETE", f"{PATH}/{one['id']}") == (200, {"id": one["id"], "deleted": True})
    for id in (one["id"], "x", 10**30):
        problem_of(await served.ask("DELETE", f"{PATH}/{id}"), 404, "no mapping with this id")
    problem_of(await served.ask("GET", f"{PATH}?cursor=x"), 400, "cursor")
    problem_of(await served.ask("DELETE", f"{PATH}/1", who="reader"), 403, "")
    assert await db.fetchval("SELECT count(*) FROM whatsapp_user_mapping") == 2


async def test_a_user_is_told_when_something_is_ready_or_not(served: Served, db: Pool) -> None:
    user = "u/1 ä"
    await ask(served, "POST", body={**ONE, "user_id": user})
    path = f"{PATH}/{quote(user, safe='')}/notify"
    for on in (True, False, True):
        told = {"user_id": user, "notify_on_ready": on}
        assert await ask(served, "PUT", path, {"notify_on_ready": on}) == (200, told)
        assert await db.fetchval("SELECT notify_on_ready FROM user_bucket_mapping WHERE user_id = $1", user) is on
    problem_of(await served.ask("PUT", f"{PATH}/nobody/notify", b'{"notify_on_ready": true}'), 404, "add one first")
    problem_of(await served.ask("PUT", path, b'{"notify_on_ready": "maybe"}'), 422, "notify_on_ready")

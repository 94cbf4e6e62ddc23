"""`/api/v1/conversations` over HTTP on real stores."""

from __future__ import annotations

from typing import Final

import pytest

from tests.integration.api.conftest import Served
from tests.support.conversations import PHONE, archived, asking, chatwoot_chat, direct_chat
from tests.support.listening import check_problem

PATH: Final = "/api/v1/conversations"
SECRET: Final = "canary of what was said"


async def test_a_list_goes_on_page_by_page_and_has_what_is_asked_for(served: Served) -> None:
    db = served.rig.db
    for number in range(5):
        await chatwoot_chat(db, number, minutes=number, context_json=asking("tone") if number == 2 else {})
    found, cursor = list[str](), ""
    for _ in range(3):
        page = (await served.ask("GET", f"{PATH}?limit=2{cursor}", who="reader")).json
        found += [one["id"] for one in page["conversations"]]
        cursor = f"&cursor={page['next']}"
    assert (found, page["next"]) == ([f"chatwoot:3:{number}" for number in (4, 3, 2, 1, 0)], None)
    for query in ("open=true", "q=3:2", "q=2"):
        (one,) = (await served.ask("GET", f"{PATH}?{query}")).json["conversations"]
        assert (one["id"], one["question"]) == ("chatwoot:3:2", "tone")


async def test_only_the_admin_token_reveals_and_that_is_written_down(served: Served) -> None:
    db = served.rig.db
    await chatwoot_chat(db, 481)
    await archived(db, 9001, 481, SECRET)
    masked = await served.ask("GET", f"{PATH}/3:481", who="reader")
    assert (masked.status, masked.json["phone"], masked.json["revealed"]) == (200, "+…42", False)
    assert SECRET not in masked.body.decode()
    assert PHONE not in masked.body.decode()
    for path in (f"{PATH}/3:481?reveal=true", f"{PATH}?reveal=true"):
        check_problem(await served.ask("GET", path, who="reader"), 403)
        assert await db.fetchval("SELECT count(*) FROM audit_log") == 0
    whole = await served.ask("GET", f"{PATH}/3:481?reveal=true")
    assert (whole.json["phone"], whole.json["timeline"][0]["content"]) == (PHONE, {"text": SECRET})
    assert (await served.ask("GET", f"{PATH}?reveal=true")).json["conversations"][0]["phone"] == PHONE
    rows = await db.fetch("SELECT actor, action, subject FROM audit_log")
    assert [tuple(row) for row in rows] == [("api", "conversation.revealed", "conversation:chatwoot:3:481")] * 2


@pytest.mark.parametrize("who", ["admin", "reader"])
async def test_what_names_none_or_several_is_said(served: Served, who: str) -> None:
    db = served.rig.db
    await chatwoot_chat(db, 481)
    await direct_chat(db, "meta", PHONE[1:])
    check_problem(await served.ask("GET", f"{PATH}/482", who=who), 404)
    several = await served.ask("GET", f"{PATH}/%2B{PHONE[1:]}", who=who)
    check_problem(several, 409)
    assert "chatwoot:3:481" in several.json["detail"]
    assert PHONE[1:] not in several.json["detail"]
    for wrong in ("?limit=0", "?opn=true", "?cursor=x", "?q="):
        check_problem(await served.ask("GET", PATH + wrong, who=who), 400)

"""Who may see and do what at the pages: every route for every role, sessions, cookies, links."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.operator import logins, users
from daemon.pages.routes import RANK, ROUTES, PageRoute
from daemon.settings.model import Settings
from tests.support.browsers import PASSWORD, Office, opened_office

FORM: Final = "application/x-www-form-urlencoded"
ROLES: Final = ("read", "operate", "admin")
PLACES: Final = {"{token}": "nothing", "{name}": "nothing.css", "{id}": "nothing", "{model}": "Lead"}
COOKIE: Final = "ferryman"


def path_of(route: PageRoute) -> str:
    path = route.path
    for place, value in PLACES.items():
        path = path.replace(place, value)
    return path


@pytest.mark.parametrize("route", ROUTES, ids=lambda one: f"{one.method} {one.path}")
async def test_every_route_answers_every_role_as_the_table_says(office: Office, route: PageRoute) -> None:
    nobody = office.browser()
    answer = await (nobody.peek(path_of(route)) if route.method == "GET" else nobody.post(path_of(route), csrf=""))
    if route.role != "anybody":
        assert (answer.status, answer.leads_to.partition("?")[0]) == (303, "/login")
    for role in ROLES:
        browser = await office.logged_in(role)
        answer = await (browser.peek(path_of(route)) if route.method == "GET" else browser.post(path_of(route)))
        if RANK[role] >= RANK[route.role]:
            assert answer.status not in (401, 403, 421, 500), (role, answer.text)
        else:
            assert answer.status == 403
            assert f"This is for the role {route.role}" in answer.text


async def test_what_a_role_may_not_do_is_absent(office: Office) -> None:
    admin, reader = await office.logged_in("admin"), await office.logged_in("read")
    assert 'href="/users"' in (await admin.get("/account")).text
    assert 'href="/users"' not in (await reader.get("/account")).text


async def test_a_login_gives_a_session_that_the_browser_alone_knows(office: Office) -> None:
    browser = await office.logged_in("read", "Noa")
    (row,) = await office.db.fetch("SELECT * FROM operator_sessions")
    assert row["digest"] == logins.digest_of(browser.jar[COOKIE])
    assert browser.jar[COOKIE] not in str(dict(row))
    assert len(browser.jar[COOKIE]) >= 43
    assert "Noa" in (await browser.get("/account")).text


async def test_the_cookie_of_plain_http_is_for_the_server_alone(office: Office) -> None:
    await office.operator("Noa")
    (cookie,) = (await office.browser().log_in("Noa")).cookies
    assert cookie.startswith("ferryman=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=86400"} == set(cookie.split("; ")[1:])


async def test_the_cookie_of_https_is_bound_to_the_host(redis: Redis, db: Pool, settings: Settings) -> None:
    public = settings.model_copy(update={"ferryman_public_url": "https://ferry.example"})
    async with opened_office(redis, db, public) as office:
        await office.operator("Noa")
        browser = office.browser(Host="ferry.example")
        answer = await browser.log_in("Noa")
        (cookie,) = answer.cookies
        assert cookie.startswith("__Host-ferryman=")
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=Lax"} < set(cookie.split("; "))
        assert (await browser.get("/account")).status == 200


async def test_a_session_that_was_there_before_a_login_is_of_no_use_after_it(office: Office) -> None:
    await office.operator("Noa")
    browser = office.browser()
    browser.jar[COOKIE] = "planted-by-somebody-else"
    await browser.log_in("Noa")
    first = browser.jar[COOKIE]
    assert first != "planted-by-somebody-else"
    assert (await browser.post("/login", {"name": "Noa", "password": PASSWORD})).status == 303
    assert browser.jar[COOKIE] != first
    browser.jar[COOKIE] = first
    assert (await browser.get("/account")).status == 303


async def test_a_logout_ends_the_session_at_the_server(office: Office) -> None:
    browser = await office.logged_in()
    token = browser.jar[COOKIE]
    assert (await browser.post("/logout")).leads_to == "/login"
    assert COOKIE not in browser.jar
    browser.jar[COOKIE] = token
    assert (await browser.get("/account")).status == 303


@pytest.mark.parametrize("change", ["role", "disable", "password"])
async def test_what_changes_somebody_ends_their_sessions(office: Office, change: str) -> None:
    await office.operator("boss")
    browser = await office.logged_in("admin", "Noa")
    if change == "role":
        await users.set_role(office.db, "Noa", "read", "boss")
    elif change == "disable":
        await users.disable(office.db, "noa", "boss")
    else:
        await users.set_password(office.db, office.passwords, "Noa", PASSWORD + "2", "boss")
    assert (await browser.get("/account")).status == 303


async def test_another_password_of_ones_own_rotates_the_session(office: Office) -> None:
    browser, other = await office.logged_in("read", "Noa"), office.browser()
    await other.log_in("Noa")
    before = browser.jar[COOKIE]
    answer = await browser.post("/account/password", {"old": PASSWORD, "new": PASSWORD + " 2"})
    assert answer.status == 303
    assert browser.jar[COOKIE] != before
    assert "Your other sessions have ended" in (await browser.get("/account")).text
    assert (await other.get("/account")).status == 303
    assert (await office.browser().log_in("Noa")).status == 422
    assert (await office.browser().log_in("Noa", PASSWORD + " 2")).status == 303


async def test_one_sees_ones_sessions_and_ends_the_others(office: Office) -> None:
    browser, other = await office.logged_in("read", "Noa"), office.browser(User_Agent="<b>Lynx</b>")
    await other.log_in("Noa")
    stranger = await office.logged_in("read", "Dan")
    html = (await browser.get("/account")).text
    assert html.count('data-label="Seen"') == 2
    assert "&lt;b&gt;Lynx&lt;/b&gt;" in html
    assert (await browser.post("/account/sessions")).leads_to == "/account"
    assert [(await one.get("/account")).status for one in (browser, other, stranger)] == [200, 303, 200]


@pytest.mark.parametrize(("column", "hours"), [("seen_at", 8), ("created_at", 24)])
async def test_a_session_ends_when_it_is_idle_and_a_day_after_its_login(
    office: Office, column: str, hours: int
) -> None:
    browser = await office.logged_in()
    move = f"UPDATE operator_sessions SET {column} = now() - $1::interval"
    await office.db.execute(move, timedelta(hours=hours, minutes=-1))
    assert (await browser.get("/account")).status == 200
    await office.db.execute(move, timedelta(hours=hours, minutes=1))
    assert (await browser.get("/account")).status == 303


async def test_use_keeps_a_session_and_is_written_once_a_minute(office: Office) -> None:
    browser = await office.logged_in()
    await office.db.execute("UPDATE operator_sessions SET seen_at = now() - interval '7 h'")
    await browser.get("/account")
    seen = await office.db.fetchval("SELECT seen_at FROM operator_sessions")
    await browser.get("/account")
    assert seen > datetime.now(UTC) - timedelta(hours=1)
    assert await office.db.fetchval("SELECT seen_at FROM operator_sessions") == seen


async def test_whoever_is_not_logged_in_comes_back_to_the_page_after_the_login(office: Office) -> None:
    await office.operator("Noa")
    browser = office.browser()
    answer = await browser.get("/users")
    assert answer.leads_to == "/login?next=%2Fusers"
    fields = {"name": "Noa", "password": PASSWORD, "next": "/users"}
    assert (await browser.post("/login", fields, csrf="")).leads_to == "/users"


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nX: y"])
async def test_a_login_leads_to_no_other_site(office: Office, next: str) -> None:
    await office.operator("Noa")
    fields = {"name": "Noa", "password": PASSWORD, "next": next}
    assert (await office.browser().post("/login", fields, csrf="")).leads_to == "/"


async def test_the_link_of_the_first_operator_makes_an_admin_once(office: Office) -> None:
    token = await logins.first_link(office.db)
    browser = office.browser()
    for _ in range(2):  # looking changes nothing
        assert (await browser.get(f"/link/{token}")).status == 200
    answer = await browser.post(f"/link/{token}", {"name": "Noa", "password": "short"}, csrf="")
    assert answer.status == 422
    answer = await browser.post(f"/link/{token}", {"name": "Noa", "password": PASSWORD}, csrf="")
    assert (answer.status, answer.leads_to) == (303, "/")
    assert (await browser.get("/users")).status == 200
    for method in ("get", "post"):
        other = office.browser()
        again = await (other.get(f"/link/{token}") if method == "get" else other.post(f"/link/{token}", csrf=""))
        assert again.status == 410
    assert await logins.first_link(office.db) is None


async def test_a_link_of_the_first_operator_is_of_no_use_once_there_is_one(office: Office) -> None:
    token = await logins.first_link(office.db)
    await office.operator("Noa")
    fields = {"name": "Eve", "password": PASSWORD}
    assert (await office.browser().post(f"/link/{token}", fields, csrf="")).status == 410
    assert await office.db.fetchval("SELECT count(*) FROM operators") == 1


async def test_a_link_ends_after_a_quarter_of_an_hour_and_when_its_operator_is_disabled(office: Office) -> None:
    await office.operator("boss")
    token = await logins.demo_link(office.db, "demo", "test")
    await office.db.execute("UPDATE operator_links SET expires_at = expires_at - interval '15 min'")
    assert (await office.browser().post(f"/link/{token}", csrf="")).status == 410
    token = await logins.demo_link(office.db, "demo", "test")
    await users.disable(office.db, "demo", "boss")
    assert (await office.browser().post(f"/link/{token}", csrf="")).status == 410


async def test_only_the_digest_of_a_link_is_stored(office: Office) -> None:
    token = await logins.first_link(office.db)
    assert token is not None
    (row,) = await office.db.fetch("SELECT * FROM operator_links")
    assert row["digest"] == logins.digest_of(token)


async def test_a_reveal_is_for_one_session_and_ten_minutes_and_is_written_down(office: Office) -> None:
    browser = await office.logged_in("operate", "Noa")
    subject = "contact:7b0f"
    answer = await browser.post("/reveal", {"subject": subject, "reason": "a call", "back": "/account"})
    assert (answer.status, answer.leads_to) == (303, "/account")
    token = browser.jar[COOKIE]
    assert await logins.revealed(office.db, token) == {subject}
    (row,) = await office.db.fetch("SELECT actor, subject, detail FROM audit_log WHERE action = 'person.revealed'")
    assert (row["actor"], row["subject"]) == ("Noa", subject)
    assert "a call" in row["detail"]
    other = office.browser()
    await other.log_in("Noa")
    assert await logins.revealed(office.db, other.jar[COOKIE]) == frozenset()
    await office.db.execute("UPDATE operator_reveals SET until = until - interval '10 min'")
    assert await logins.revealed(office.db, token) == frozenset()


@pytest.mark.parametrize(
    "fields", [{"subject": "contact:1", "reason": " "}, {"subject": "nothing", "reason": "a call"}]
)
async def test_a_reveal_needs_a_subject_and_a_reason(office: Office, fields: dict[str, str]) -> None:
    browser = await office.logged_in("operate")
    assert (await browser.post("/reveal", fields)).status == 422
    assert await office.db.fetchval("SELECT count(*) FROM operator_reveals") == 0


async def test_the_only_admin_stays_one(office: Office) -> None:
    browser = await office.logged_in("admin", "Noa")
    for path, fields in (("/users/role", {"role": "read"}), ("/users/disable", {})):
        assert (await browser.post(path, {"name": "Noa", **fields})).status == 409
    assert (await browser.get("/users")).status == 200


async def test_an_admin_adds_changes_and_disables_somebody(office: Office) -> None:
    browser = await office.logged_in("admin", "Noa")
    fields = {"name": "Dan", "role": "read", "password": PASSWORD}
    assert (await browser.post("/users", fields)).leads_to == "/users"
    assert "Dan may log in, with the role read." in (await browser.get("/users")).text
    assert (await browser.post("/users", fields)).status == 422
    await browser.post("/users/role", {"name": "Dan", "role": "operate"})
    await browser.post("/users/disable", {"name": "Dan"})
    assert (await office.browser().log_in("Dan")).status == 422
    await browser.post("/users/enable", {"name": "Dan"})
    assert (await office.browser().log_in("Dan")).status == 303
    rows = await office.db.fetch(
        "SELECT action FROM audit_log WHERE actor = 'Noa' AND subject <> 'operator:1' ORDER BY id"
    )
    done = ["added", "role", "disabled", "enabled"]
    assert [row["action"] for row in rows] == [f"operator.{what}" for what in done]


async def test_every_secret_stays_out_of_the_audit_log(office: Office) -> None:
    browser = await office.logged_in("admin", "Noa")
    await office.browser().log_in(PASSWORD, "Noa")
    rows = await office.db.fetch("SELECT * FROM audit_log")
    told = " ".join(str(dict(row)) for row in rows)
    assert PASSWORD not in told
    assert browser.jar[COOKIE] not in told
    assert {row["actor"] for row in rows if row["action"] == "operator.login_failed"} == {"unknown"}

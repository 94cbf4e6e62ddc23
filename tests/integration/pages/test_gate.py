"""What stands before every page: host, origin, forms, tries to log in, and what a browser is told to allow."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.operator import passwords as passwords_module
from daemon.operator.passwords import AT_ONCE, Passwords
from daemon.pages.routes import ROUTES
from daemon.pages.visit import LARGEST_FORM
from daemon.settings.model import Settings
from tests.support.browsers import PASSWORD, SAME, Browser, Office, field_of, opened_office

FORM: Final = "application/x-www-form-urlencoded"
POSTS: Final = sorted({route.path for route in ROUTES if route.method == "POST"})
HOSTILE: Final = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e"


async def posted(browser: Browser, path: str, csrf: str, **headers: str) -> Any:
    return await browser.ask("POST", path, urlencode({"csrf": csrf, "name": "x"}), Content_Type=FORM, **headers)


async def csrf_of(browser: Browser) -> str:
    return field_of((await browser.get("/account")).text, "csrf")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "SELF"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", POSTS)
async def test_a_form_of_another_site_changes_nothing(office: Office, path: str, headers: dict[str, str]) -> None:
    browser = await office.logged_in("admin", "Noa")
    token = await csrf_of(browser)
    sent = {name: office.url if value == "SELF" else value for name, value in headers.items()}
    before = await office.db.fetchval("SELECT count(*) FROM audit_log")
    answer = await posted(browser, path.replace("{token}", "x").replace("{id}", "x"), token, **sent)
    assert (answer.status, "another site" in answer.text) == (403, True)
    assert await office.db.fetchval("SELECT count(*) FROM audit_log") == before


@pytest.mark.parametrize("headers", [{"Sec_Fetch_Site": "same-origin"}, {"Origin": "SELF"}], ids=str)
async def test_a_form_of_ours_is_taken_with_and_without_fetch_metadata(office: Office, headers: dict[str, str]) -> None:
    browser = await office.logged_in("admin", "Noa")
    sent = {name: office.url if value == "SELF" else value for name, value in headers.items()}
    assert (await posted(browser, "/logout", await csrf_of(browser), **sent)).leads_to == "/login"


@pytest.mark.parametrize("path", [path for path in POSTS if path not in ("/login", "/zone", "/link/{token}")])
async def test_a_form_needs_the_token_of_its_own_session(office: Office, path: str) -> None:
    browser, other = await office.logged_in("admin", "Noa"), await office.logged_in("admin", "Eve")
    for token in ("", "0" * 64, await csrf_of(other)):
        answer = await posted(browser, path.replace("{id}", "x"), token, **SAME)
        assert (answer.status, "another session" in answer.text) == (403, True)


async def test_the_token_of_a_form_does_not_tell_the_session(office: Office) -> None:
    browser = await office.logged_in()
    assert browser.jar["ferryman"] not in (await browser.get("/account")).text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x=" + b"y" * LARGEST_FORM, FORM, 413),
        (b"\xff=1", FORM, 400),
        (b'{"name": "x"}', "application/json", 415),
        (b"&".join(b"a%d=1" % n for n in range(1100)), FORM, 400),
    ],
)
async def test_what_is_no_form_is_refused(office: Office, body: bytes, kind: str, status: int) -> None:
    answer = await office.browser().ask("POST", "/login", body, Content_Type=kind, **SAME)
    assert answer.status == status
    assert "text/html" in answer.headers["Content-Type"]


async def test_every_answer_says_what_a_browser_may_do_with_it(office: Office) -> None:
    browser = await office.logged_in()
    for path in ("/", "/account", "/users", "/login", "/link/nothing", "/static/nothing.css"):
        headers = (await browser.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} < set(
            policy.split("; ")
        )
        assert "unsafe" not in policy
        assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


async def test_files_are_kept_by_a_browser_and_have_their_digest_in_the_name(office: Office) -> None:
    browser = office.browser()
    html = (await browser.get("/login")).text
    found = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert len(found) == 5
    for path in found:
        answer = await browser.get(path)
        assert answer.status == 200
        assert re.fullmatch(r"/static/[\w-]+\.[0-9a-f]{12}\.(css|js|svg)", path)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("public", "host", "status"),
    [
        ("", "evil.example", 421),
        ("", "localhost:8080", 200),
        ("", "127.0.0.1", 200),
        ("", "[::1]:99", 200),
        ("", "[", 421),
        ("https://ferry.example", "ferry.example", 200),
        ("https://ferry.example", "FERRY.example:443", 200),
        ("https://ferry.example", "ferry.example:444", 421),
        ("https://ferry.example", "evil.example", 421),
        ("http://ferry.example:8080", "ferry.example:8080", 200),
        ("https://ferry.example", "127.0.0.1:8080", 200),
    ],
)
async def test_a_page_is_served_by_its_own_names_alone(
    redis: Redis, db: Pool, settings: Settings, public: str, host: str, status: int
) -> None:
    named = settings.model_copy(update={"ferryman_public_url": public or None})
    async with opened_office(redis, db, named) as office:
        assert (await office.browser(Host=host).get("/login")).status == status


async def test_where_every_address_is_served_no_name_is_known_to_be_wrong(
    redis: Redis, db: Pool, settings: Settings
) -> None:
    everywhere = settings.model_copy(update={"ferryman_host": "0.0.0.0"})
    async with opened_office(redis, db, everywhere) as office:
        assert (await office.browser(Host="ferry.lan:8080").get("/login")).status == 200


async def moved(db: Pool, seconds: float) -> None:
    """As if *seconds* had gone by."""
    await db.execute("UPDATE login_failures SET at = at - $1::interval", timedelta(seconds=seconds))


async def test_a_name_has_five_tries_and_then_waits_twice_as_long_after_each(office: Office) -> None:
    await office.operator("Noa")
    browser = office.browser()
    for _ in range(5):
        assert (await browser.log_in("Noa", "wrong wrong wrong")).status == 422
    for wait_s in (1, 2, 4, 8):
        answer = await browser.log_in("NOA")
        assert answer.status == 429, "also the right password waits"
        assert int(answer.headers["Retry-After"]) <= wait_s + 1
        await moved(office.db, wait_s)
        assert (await browser.log_in("noa", "wrong wrong wrong")).status == 422
    await office.db.execute("UPDATE login_failures SET failures = 100")
    assert 880 < int((await browser.log_in("Noa")).headers["Retry-After"]) <= 901
    await moved(office.db, 901)
    assert (await browser.log_in("Noa")).status == 303
    rows = await office.db.fetch("SELECT failures FROM login_failures")
    assert [row["failures"] for row in rows] == [100], "the name is free again; others from this address wait"


async def test_an_address_has_five_tries_whatever_the_names(office: Office) -> None:
    await office.operator("Noa")
    for n in range(5):
        assert (await office.browser().log_in(f"name-{n}", "wrong wrong wrong")).status == 422
    assert (await office.browser().log_in("Noa")).status == 429


async def test_tries_at_the_same_time_count_each(office: Office) -> None:
    await office.operator("Noa")
    answers = await asyncio.gather(*(office.browser().log_in("Noa", "wrong wrong wrong") for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [422] * 5 + [429] * 7


async def test_a_proxy_that_is_trusted_says_whose_tries_they_are(redis: Redis, db: Pool, settings: Settings) -> None:
    behind = settings.model_copy(update={"ferryman_trusted_proxies": (ip_network("127.0.0.0/8"),)})
    async with opened_office(redis, db, behind) as office:
        await office.operator("Noa")
        for n in range(5):
            bad = office.browser(X_Forwarded_For="6.6.6.6, 203.0.113.7")
            assert (await bad.log_in(f"name-{n}", "wrong wrong wrong")).status == 422
        assert (await office.browser(X_Forwarded_For="1.1.1.1, 203.0.113.7").log_in("Noa")).status == 429
        assert (await office.browser(X_Forwarded_For="203.0.113.8").log_in("Noa")).status == 303
        secure = office.browser(X_Forwarded_Proto="https", X_Forwarded_For="203.0.113.9")
        (cookie,) = (await secure.log_in("Noa")).cookies
        assert cookie.startswith("__Host-ferryman=")


async def test_what_nobody_trusted_forwards_counts_for_nothing(office: Office) -> None:
    await office.operator("Noa")
    for n in range(5):
        await office.browser(X_Forwarded_For=f"203.0.113.{n}").log_in(f"name-{n}", "wrong wrong wrong")
    assert (await office.browser(X_Forwarded_For="203.0.113.9").log_in("Noa")).status == 429


async def test_an_unknown_name_is_answered_as_a_wrong_password_and_costs_a_hash_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    check: Callable[[str, str], bool] = passwords_module._check

    def counted(password: str, phc: str) -> bool:
        hashed.append(phc.rpartition("$")[0].rpartition("$")[0])
        return check(password, phc)

    monkeypatch.setattr(passwords_module, "_check", counted)
    await office.operator("Noa")
    await office.operator("Dan")
    await office.db.execute("UPDATE operators SET disabled_at = now() WHERE name = 'Dan'")
    texts = set()
    for name in ("Noa", "Dan", "nobody", "\x00", "x" * 300):
        answer = await office.browser().log_in(name, "wrong wrong wrong")
        assert answer.status == 422
        texts.add(re.sub(r'value="[^"]*"', "", answer.text))
    assert len(texts) == 1
    assert hashed == ["$argon2id$v=19$m=19456,t=2,p=1"] * 5


async def test_so_many_hashes_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    gate = asyncio.Event()

    async def in_thread(work: Any, *of: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return "x"

    monkeypatch.setattr(asyncio, "to_thread", in_thread)
    passwords = Passwords()
    tasks = [asyncio.create_task(passwords.hashed("p")) for _ in range(6)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*tasks)
    assert most == AT_ONCE


async def test_hostile_text_is_text_wherever_it_stands(redis: Redis, db: Pool, settings: Settings) -> None:
    named = settings.model_copy(update={"ferryman_name": "<b>Ferry</b>"})
    async with opened_office(redis, db, named) as office:
        await db.execute("INSERT INTO operators (name, role, created_by) VALUES ($1, 'read', $1)", HOSTILE)
        browser = await office.logged_in("admin", "Noa <i>")
        pages = [
            await browser.get("/users"),
            await browser.post("/users", {"name": HOSTILE, "role": "read", "password": "x"}),
            await browser.post("/users/role", {"name": HOSTILE, "role": HOSTILE}),
            await office.browser().log_in(HOSTILE, "wrong wrong wrong"),
            await office.browser().get(f"/login?next={HOSTILE}".replace("\u202e", "")),
        ]
        for page in pages:
            assert "<script>alert" not in page.text
            assert "<img" not in page.text
            assert "<b>" not in page.text
            assert "<i>" not in page.text
            assert "\u202e" not in page.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0].text


async def test_nobody_puts_words_on_our_pages(office: Office) -> None:
    browser = await office.logged_in()
    await browser.post("/users", {"name": "Dan", "role": "read", "password": PASSWORD})
    kept = browser.jar["ferryman-said"]
    other = await office.logged_in()
    other.jar["ferryman-said"] = kept
    assert "Dan may log in" not in (await other.get("/account")).text
    assert "Dan may log in" in (await browser.get("/account")).text
    assert "Dan may log in" not in (await browser.get("/account")).text


async def test_an_error_has_an_id_and_tells_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("secret-0d41")

    browser = await office.logged_in()
    monkeypatch.setattr("daemon.operator.users.listed", fails)
    answer = await browser.get("/users")
    assert answer.status == 500
    assert "secret-0d41" not in answer.text
    found = re.search(r"<code>([0-9a-f]{8})</code>", answer.text)
    assert found is not None
    assert found[1] in capsys.readouterr().out


async def test_a_get_reads_in_transactions_that_change_nothing(office: Office) -> None:
    pool = office.pages._read
    with pytest.raises(Exception, match="read-only transaction"):
        await pool.execute("DELETE FROM operators")
    assert await pool.fetchval("SHOW statement_timeout") == "3s"

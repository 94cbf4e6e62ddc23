"""What all pages share, in a real browser: the way in, keys, zones, what moves by itself, and verbs without script."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from daemon.operator.logins import demo_link
from tests.browser.conftest import Installation
from tests.support.browsers import PASSWORD
from tests.support.screens import PHONE, PLAIN, WIDE, View, screen


@pytest.mark.parametrize("view", [WIDE, PLAIN], ids=lambda view: view.name)
async def test_a_link_logs_in_once_by_a_button_and_the_session_is_out_of_reach_of_scripts(
    chromium: Browser, installation: Installation, view: View
) -> None:
    link = f"/link/{await demo_link(installation.db, 'Dana', 'test')}"
    async with screen(chromium, installation.url, view) as tab:
        await tab.open(link)
        await tab.open(link)  # looking at it changes nothing
        await tab.press("Log in")
        assert await tab.heading() == "Overview"
        cookies = await tab.page.context.cookies()
        assert [(cookie["name"], cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [
            ("ferryman", True, "Lax")
        ]
        assert tab.take() == []
        assert await tab.open(link) == 410
        await tab.open("/")
        await tab.press("Log out")
        assert await tab.heading() == "Log in"
        await tab.open("/users")
        assert await tab.heading() == "Log in"


async def test_the_first_stop_of_the_tab_key_leads_to_the_content_and_focus_is_seen(
    chromium: Browser, installation: Installation
) -> None:
    async with screen(chromium, installation.url, WIDE, installation.state) as tab:
        await tab.open("/account")
        await tab.page.keyboard.press("Tab")
        await expect(tab.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        assert await tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await tab.page.keyboard.press("Enter")
        await tab.page.keyboard.press("Tab")
        assert await tab.page.evaluate("document.activeElement.closest('main') !== null")


async def test_keys_open_pages_and_pause_but_not_while_somebody_types(
    chromium: Browser, installation: Installation
) -> None:
    async with screen(chromium, installation.url, WIDE, installation.state) as tab:
        await tab.open("/users")
        await tab.page.get_by_label("Name", exact=True).press("g")
        await tab.page.get_by_label("Name", exact=True).press("o")
        assert await tab.heading() == "Users"
        await tab.page.get_by_label("Name", exact=True).blur()
        await tab.page.keyboard.press("g")
        async with tab.page.expect_navigation():
            await tab.page.keyboard.press("o")
        assert await tab.heading() == "Overview"
        async with tab.page.expect_navigation():
            await tab.page.keyboard.press(".")
        await expect(tab.page.get_by_role("link", name="Go on")).to_be_visible()


async def test_times_are_shown_in_the_readers_own_zone_once_it_is_chosen(
    chromium: Browser, installation: Installation
) -> None:
    async with screen(chromium, installation.url, PHONE, installation.state) as tab:
        await tab.open("/account")
        await tab.page.get_by_label("Times in").select_option("Asia/Jerusalem")
        await tab.press("Show")
        title = await tab.page.locator("main time").first.get_attribute("title")
        assert title is not None
        assert "Asia/Jerusalem" in title or "+02" in title or "IST" in title


async def test_the_overview_tells_what_changes_and_keeps_what_the_reader_has_there(
    chromium: Browser, installation: Installation
) -> None:
    async with screen(chromium, installation.url, WIDE, installation.state) as tab:
        await tab.open("/")
        await tab.page.evaluate("window.marked = true")
        await installation.db.execute("INSERT INTO pauses (name, by, reason) VALUES ('crm-labels', 'Noa', 'a look')")
        told = tab.page.get_by_text("crm-labels is paused by Noa").first
        await expect(told).to_be_visible(timeout=20_000)
        assert await tab.page.evaluate("window.marked") is True, "the page was loaded anew"
        assert tab.take() == []


@pytest.mark.parametrize("view", [WIDE, PLAIN], ids=lambda view: view.name)
async def test_somebody_is_added_given_a_role_and_disabled_by_forms_alone(
    chromium: Browser, installation: Installation, view: View
) -> None:
    name = f"Rivka {view.name}"
    async with screen(chromium, installation.url, view, installation.state) as tab:
        await tab.open("/users")
        await tab.page.get_by_label("Name", exact=True).fill(name)
        await tab.page.get_by_label("Password").fill(PASSWORD)
        await tab.press("Add")
        await expect(tab.page.get_by_role("status")).to_have_text(f"{name} may log in, with the role read.")
        row = tab.page.get_by_role("row").filter(has_text=name)
        await row.get_by_role("combobox").select_option("operate")
        async with tab.page.expect_navigation():
            await row.get_by_role("button", name="Set role").click()
        await expect(tab.page.get_by_role("status")).to_contain_text("has the role operate")
        async with tab.page.expect_navigation():
            await row.get_by_role("button", name="Disable").click()
        await expect(row).to_contain_text("disabled")
        assert tab.take() == []
    found = await installation.db.fetch("SELECT action FROM audit_log WHERE actor = 'Noa' ORDER BY id DESC LIMIT 3")
    assert [row["action"] for row in found] == ["operator.disabled", "operator.role", "operator.added"]


async def test_a_form_of_another_site_changes_nothing(chromium: Browser, installation: Installation) -> None:
    async with screen(chromium, installation.url, WIDE, installation.state) as tab:
        await tab.open("/users")
        other = tab.url.replace("127.0.0.1", "localhost")
        await tab.page.route(
            f"{other}/evil", lambda route: route.fulfill(body=_EVIL.format(url=tab.url), content_type="text/html")
        )
        await tab.page.goto(f"{other}/evil")
        async with tab.page.expect_navigation():
            await tab.page.get_by_role("button").click()
        assert await tab.heading() in ("403", "Log in")
    assert await installation.db.fetchval("SELECT count(*) FROM operators WHERE name = 'Mallory'") == 0


_EVIL = """<form method="post" action="{url}/users"><input name="name" value="Mallory"><input name="role" value="admin">
<input name="password" value="correct horse battery"><button>Win</button></form>"""

"""From what somebody tells about themselves to their page, with script and without."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from daemon.operator.logins import demo_link
from tests.browser.conftest import Installation
from tests.support.filled import HOSTILE, phone
from tests.support.screens import PHONE, PLAIN, View, screen


@pytest.mark.parametrize("view", [PHONE, PLAIN], ids=lambda view: view.name)
async def test_a_person_is_found_by_a_phone_masked_until_revealed_for_a_reason(
    chromium: Browser, installation: Installation, view: View
) -> None:
    why = f"they called ({view.name})"
    async with screen(chromium, installation.url, view) as tab:  # what is revealed is revealed to one session
        await tab.open(f"/link/{await demo_link(installation.db, 'Noa', 'test')}")
        await tab.press("Log in")
        await tab.open("/find")
        await tab.page.get_by_role("textbox").fill("050-555-0000")
        await tab.press("Find")
        assert await tab.heading() == "Person"
        assert "555" not in tab.page.url, "an address stands in histories and logs"
        assert phone(0) not in await tab.page.content()
        await tab.page.get_by_text("reveal", exact=True).first.click()
        await tab.page.get_by_label("Why?").first.fill(why)
        await tab.press("Show for ten minutes")
        await expect(tab.page.get_by_role("status")).to_contain_text("Shown for ten minutes")
        await expect(tab.page.locator("main")).to_contain_text(phone(0))
        await expect(tab.page.locator("main")).to_contain_text(HOSTILE[:40])
        assert [*await tab.stored(), *tab.take()] == []
    told = await installation.db.fetchval("SELECT actor FROM audit_log WHERE detail->>'reason' = $1", why)
    assert told == "Noa"

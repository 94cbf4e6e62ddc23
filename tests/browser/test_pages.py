"""Every page of the route table in a real browser, on an installation whose stored texts are hostile."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.browser.conftest import Installation
from tests.support.crawled import is_of, page_routes
from tests.support.screens import PHONE, PLAIN, WIDE, Screen, View, axe_source, screen


@pytest.mark.parametrize("view", [PHONE, WIDE], ids=lambda view: view.name)
@pytest.mark.timeout(300)
async def test_every_page_is_whole_accessible_and_fits_and_shows_stored_text_as_text(
    chromium: Browser, installation: Installation, view: View
) -> None:
    """Nothing on the console, no CSP report, no other host, no serious fault by axe, no scrolling sideways."""
    axe, faults = axe_source(), []
    async with screen(chromium, installation.url, view, installation.state) as tab:
        for path in installation.pages:
            faults += [f"{path}: {one}" for one in await _looked_at(tab, path, axe)]
    assert not faults, "\n".join([*faults, *installation.daemon.failed()])


async def _looked_at(tab: Screen, path: str, axe: str) -> list[str]:
    status = await tab.open(path)
    found = [] if status == 200 else [f"answers {status}"]
    found += await tab.unfit() + await tab.stored() + await tab.inaccessible(axe)
    await tab.picture(path.strip("/").replace("/", "-")[:60] or "overview")
    return found + tab.take()


def test_every_route_of_a_page_is_reached_by_a_link(installation: Installation) -> None:
    missed = [
        route.path
        for route in page_routes()
        if "{" in route.path and not any(is_of(route, path) for path in installation.pages)
    ]
    assert not missed


async def test_every_page_can_be_read_without_script(chromium: Browser, installation: Installation) -> None:
    async with screen(chromium, installation.url, PLAIN, installation.state) as tab:
        for path in installation.pages:
            assert await tab.open(path) == 200, path
            assert await tab.heading(), path
        assert tab.take() == []


@pytest.mark.parametrize("path", ["/login", "/link/used"])
async def test_pages_for_strangers_are_whole_and_accessible(
    chromium: Browser, installation: Installation, path: str
) -> None:
    axe = axe_source()
    async with screen(chromium, installation.url, PHONE) as tab:
        await tab.open(path)
        found = await tab.unfit() + await tab.inaccessible(axe)
        found += [one for one in tab.take() if "status of 4" not in one]  # Chromium says so of each
        assert found == []

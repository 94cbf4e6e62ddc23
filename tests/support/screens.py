"""A real browser's page, and everything that it has to complain about."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, Request

SCREENSHOTS: Final = "SCREENSHOTS"
"""The environment variable that names a folder for pictures of each page."""

_REPORTS: Final = """
addEventListener("securitypolicyviolation", (e) => console.error(`CSP report: ${e.violatedDirective} ${e.blockedURI}`));
"""
_AXE: Final = """
async () => (await axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})).violations
  .filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 150)).join(" | ")}`)
"""
_FIT: Final = """
() => document.documentElement.scrollWidth <= innerWidth ? "" : [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5).slice(0, 3)
  .map((one) => one.outerHTML.slice(0, 120)).join(" | ") || "the page itself"
"""
_FOREIGN: Final = """
() => [
  window.ran === undefined ? "" : "a stored text ran as script",
  ...[...document.querySelectorAll(".hostile, plaintext, main img")]
    .map((one) => `stored: ${one.outerHTML.slice(0, 99)}`),
  ...[...document.querySelectorAll("a[href]")].filter((one) => !["http:", "https:"].includes(one.protocol))
    .map((one) => `a link to ${one.protocol}`),
  /[\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.textContent)
    ? "a bidi control in the text" : "",
].filter(Boolean)
"""
_NAMELESS: Final = """
() => [...document.querySelectorAll("button, a[href], summary")]
  .filter((one) => !(one.getAttribute("aria-label") || one.textContent).trim())
  .map((one) => one.outerHTML.slice(0, 120))
"""

TALLEST: Final = 6000
"""Pixels of a picture: Chromium takes none of a page that is very tall."""


def axe_source() -> str:
    """The script of axe-core."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


@dataclass(frozen=True)
class View:
    """How somebody looks at the pages. *script*: whether it may run."""

    name: str
    width: int
    height: int
    scheme: str
    script: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


PHONE: Final = View(
    "phone-dark", 360, 740, "dark", options={"reduced_motion": "reduce", "timezone_id": "Asia/Jerusalem"}
)
WIDE: Final = View("wide-light", 1600, 900, "light")
PLAIN: Final = View("plain", 1024, 768, "light", script=False)


class Screen:
    """One tab. *faults*: what has gone wrong in it since the last `take`."""

    def __init__(self, page: Page, url: str, view: View) -> None:
        self.page = page
        self.url = url
        self.view = view
        self._faults: list[str] = []
        page.on("console", lambda said: self._faults.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: self._faults.append(f"script: {error}"))
        page.on("request", self._asked)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self._faults.append(f"asked another host: {request.url[:200]}")

    def take(self) -> list[str]:
        """What has gone wrong; from now on it is forgotten."""
        found, self._faults = self._faults, []
        return found

    async def open(self, path: str) -> int:
        """Open a page, and let what it streams come once; its status."""
        answer = await self.page.goto(self.url + path)
        assert answer is not None
        return answer.status

    async def press(self, name: str) -> None:
        """Press the first button of this name, and wait for the page that it leads to."""
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name=name, exact=True).first.click()

    async def heading(self) -> str:
        """What the page says that it is."""
        return (await self.page.locator("h1").inner_text()).strip()

    async def unfit(self) -> list[str]:
        """What is wider than the screen."""
        found = await self.page.evaluate(_FIT)
        return [f"wider than the screen: {found}"] if found else []

    async def stored(self) -> list[str]:
        """Stored texts that are more than text here."""
        found: list[str] = await self.page.evaluate(_FOREIGN)
        return found

    async def inaccessible(self, axe: str) -> list[str]:
        """Serious faults by axe, whose source is *axe*, and controls without a name. By `evaluate`, as the policy of
        the pages lets no script of others in."""
        await self.page.evaluate(axe)
        found: list[str] = await self.page.evaluate(_AXE)
        nameless: list[str] = await self.page.evaluate(_NAMELESS)
        return [f"axe: {one}" for one in found] + [f"without a name: {one}" for one in nameless]

    async def picture(self, name: str) -> None:
        """Keep a picture, where somebody wants one."""
        if folder := os.environ.get(SCREENSHOTS):
            tall = await self.page.evaluate("document.documentElement.scrollHeight")
            await self.page.screenshot(
                path=Path(folder) / f"{name}-{self.view.name}.png",
                full_page=True,
                clip={"x": 0, "y": 0, "width": self.view.width, "height": min(tall, TALLEST)},
            )


@asynccontextmanager
async def screen(browser: Browser, url: str, view: View, state: Any = None) -> AsyncIterator[Screen]:
    """A tab of a browser that nobody has used, or that has the cookies of *state*."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": view.width, "height": view.height},
        color_scheme=view.scheme,  # type: ignore[arg-type]
        java_script_enabled=view.script,
        storage_state=state,
        **view.options,
    )
    context.set_default_timeout(15_000)
    try:
        await context.add_init_script(_REPORTS)
        yield Screen(await context.new_page(), url, view)
    finally:
        await context.close()

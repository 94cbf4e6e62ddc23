"""`ferryman demo --keep`: its page, by a real HTTP client, as a browser without scripts uses it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, FormData

from tests.support.kept_demos import kept_demo
from tests.support.until import until

SPITEFUL: Final = "<script>alert(1)</script> & “so on”"
AUDIO: Final = b"OggS" + b"\0" * 24 + b"OpusHead" + b"\2" * 4000


class Page:
    """The page at *url*, and who uses it."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url, self._session = url, session

    async def html(self) -> str:
        async with self._session.get(self.url) as answer:
            assert answer.status == 200
            return await answer.text()

    async def post(self, path: str, fields: Any, headers: Mapping[str, str] | None = None) -> int:
        """Send a form; the status of what it leads to."""
        async with self._session.post(f"{self.url}{path}", data=fields, headers=headers) as answer:
            return answer.status

    async def chat(self) -> list[tuple[str, str, str]]:
        """(who, text, what stands beneath) of each message."""
        found = re.findall(r"<li id=\"m\d+\" class=(\w+)>(.*?)</li>", await self.html(), re.S)
        return [(who, *self._lines(told)) for who, told in found]

    def _lines(self, told: str) -> tuple[str, str]:
        texts = re.findall(r"<p class=(?:text dir=auto|dim)>(.*?)</p>", told, re.S)
        return unescape(texts[0]), unescape(texts[1]) if len(texts) > 1 else ""

    async def says(self, words: str) -> None:
        """Wait until the bot's words are the last ones."""

        async def said() -> bool:
            who, text, _ = (await self.chat())[-1]
            return who == "bot" and words in text

        await until(said, f"the bot to say: {words}")

    async def tap(self, title: str) -> None:
        """Tap a button of the last question."""
        form = re.findall(r"<form class=buttons.*?</form>", await self.html(), re.S)[-1]
        assert f'value="{title}"' in form
        (question,) = re.findall(r'name=question value="(\d+)"', form)
        assert await self.post("tap", {"question": question, "title": title}) == 200


@asynccontextmanager
async def kept(cwd: Path) -> AsyncIterator[Page]:
    """The page of a demonstration that goes on, and ends well when it is told to."""
    async with kept_demo(cwd, "--orders", "1") as demo, ClientSession() as session:
        (line,) = [line for line in demo.lines if line.startswith("chat ")]
        assert "Write a post" in line
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/", line)
        yield Page(url, session)


@pytest.mark.timeout(240)
async def test_one_writes_as_the_customer_taps_and_sees_what_comes_of_it(tmp_path: Path) -> None:
    async with kept(tmp_path) as page:
        before = await page.chat()
        assert await page.post("say", {"text": SPITEFUL}) == 200
        await until(lambda: ends_with(page, "customer", SPITEFUL, "archived, a note"), "the note to be kept")
        assert len(await page.chat()) == len(before) + 1

        assert await page.post("say", {"text": "Write a post about sailing", "voice": "1"}) == 200
        await page.says("platform")
        for title, then in (("Blog", "long"), ("Long", "tone"), ("Casual", "sailing")):
            await page.tap(title)
            await page.says(then)
        shown = await page.chat()
        assert ("customer", "Casual", "archived, an answer") in shown
        spoken = [beneath for who, text, beneath in shown if who == "customer" and text.endswith("sailing")]
        assert spoken == ["voice note, transcription completed, archived, an order"]
        html = await page.html()
        side = html[html.index("<aside") :]
        for told in (
            "interest-volkswagen",
            "interested_in_make",
            "<dd dir=auto>blog</dd>",
            "<dd dir=auto>sailing</dd>",
        ):
            assert told in side

        form = FormData()
        form.add_field("file", AUDIO, filename="a.ogg", content_type="audio/ogg")
        assert await page.post("file", form) == 200
        heard = f"a voice note of {len(AUDIO)} bytes"
        await until(lambda: ends_with(page, "customer", heard, "transcription completed"), "the file to be heard")

        await harmless(page)
        await refused(page)


async def ends_with(page: Page, who: str, text: str, beneath: str) -> bool:
    """Whether this is the last message."""
    last = (await page.chat())[-1]
    return last[:2] == (who, text) and beneath in last[2]


async def harmless(page: Page) -> None:
    """The page runs nothing of what was written, and asks no other host; what changes is told once."""
    assert "<script>alert" not in await page.html()
    async with ClientSession() as session:
        for path in ("", "parts", "page.css", "page.js", "nowhere"):
            async with session.get(page.url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'")
                assert "unsafe" not in policy
                assert "http" not in policy
                assert answer.status == (404 if path == "nowhere" else 200)
        async with session.get(f"{page.url}parts") as answer:
            tag = answer.headers["ETag"]
        async with session.get(f"{page.url}parts", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304


async def refused(page: Page) -> None:
    """Other sites can neither read nor write here, and what no form of the page sends changes nothing."""
    before = await page.chat()
    assert await page.post("say", {"text": "hi"}, {"Origin": "http://example.com"}) == 403
    assert await page.post("say", {"text": "hi"}, {"Origin": "null"}) == 403
    assert await page.post("say", {"text": "hi"}, {"Sec-Fetch-Site": "cross-site"}) == 403
    assert await page.post("say", {"text": "hi"}, {"Host": "example.com"}) == 403
    assert await page.post("say", {"text": "  "}) == 400
    assert await page.post("say", {"text": "a" * 4097}) == 400
    assert await page.post("tap", {"question": "1", "title": "Blog"}) == 400
    assert await page.post("tap", {"title": "Blog"}) == 400
    assert await page.post("file", {"file": "no file"}) == 400
    async with ClientSession() as session, session.get(page.url, headers={"Host": "example.com"}) as answer:
        assert answer.status == 403
    assert await page.chat() == before

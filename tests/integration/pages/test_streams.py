"""What moves on a page: one rendering for all who look, and no stream that holds up the end of the process."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import pytest

from adapters.postgres.bus import workers
from daemon.pages import broadcast
from daemon.pages.broadcast import MOST_STREAMS
from daemon.workers import WORKERS
from tests.support.browsers import Office
from tests.support.until import until

LIVE: Final = "/overview/live"


async def test_a_stream_begins_with_the_part_as_it_is(office: Office) -> None:
    browser = await office.logged_in("read")
    await workers.register(office.db, [worker.entry for worker in WORKERS], [])
    answer = await browser.peek(LIVE)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert "contact-sync" in answer.text
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_all_who_look_share_one_rendering(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = 0

    async def counted(_: object) -> str:
        nonlocal rendered
        rendered += 1
        return "<p>same</p>"

    monkeypatch.setattr("daemon.pages.overview._part", counted)
    browser = await office.logged_in("read")
    cookie = {"Cookie": f"ferryman={browser.jar['ferryman']}"}
    answers = [await office.rig.session.get(office.url + LIVE, headers=cookie) for _ in range(5)]
    for answer in answers:
        assert b"same" in await answer.content.readuntil(b"\r\n\r\n")
    assert rendered == 1
    for answer in answers:
        answer.close()


async def test_streams_end_at_once_when_the_process_stops(office: Office) -> None:
    browser = await office.logged_in("read")
    answer = await office.rig.session.get(office.url + LIVE, headers={"Cookie": f"ferryman={browser.jar['ferryman']}"})
    await answer.content.readuntil(b"\r\n\r\n")
    stop = asyncio.Event()
    running = asyncio.create_task(office.pages.run(stop))
    began = time.monotonic()
    stop.set()
    await running
    await answer.content.read()
    assert time.monotonic() - began < 1
    assert (await browser.get(LIVE)).status == 503


async def test_no_more_streams_than_the_process_can_bear(office: Office) -> None:
    browser = await office.logged_in("read")
    cookie = {"Cookie": f"ferryman={browser.jar['ferryman']}"}
    answers = [await office.rig.session.get(office.url + LIVE, headers=cookie) for _ in range(MOST_STREAMS)]
    refused = await browser.get(LIVE)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    for answer in answers:
        answer.close()


async def test_a_stream_ends_with_its_session(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "RECHECK_S", 0.05)
    monkeypatch.setattr(broadcast, "LOOK_S", 0.05)
    browser = await office.logged_in("read")
    answer = await office.rig.session.get(office.url + LIVE, headers={"Cookie": f"ferryman={browser.jar['ferryman']}"})
    await answer.content.readuntil(b"\r\n\r\n")
    await browser.post("/logout")

    async def ended() -> bool:
        await answer.content.readany()
        return answer.content.at_eof()

    await until(ended, "the stream to end")

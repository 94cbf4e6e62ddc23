"""Files that providers keep for those alone who have the token: what is asked, and where the token goes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from adapters.channel import Channels
from adapters.conversation_ports import MediaSource
from adapters.files import open_files
from adapters.registry import MEDIA
from daemon.conversations.archive.fetching import FILE_CHANNELS, Fetching
from daemon.settings.model import Settings
from schemas.errors import ChannelDown, Refused, Transient
from tests.support.file_server import JPEG, FileServer, answering, redirect

TOKEN = "token-0123456789"
BASIC = "Basic " + b64encode(f"AC01:{TOKEN}".encode()).decode()
BEARER = f"Bearer {TOKEN}"


@pytest.fixture
async def provider() -> AsyncIterator[FileServer]:
    async with FileServer() as running:
        yield running


@pytest.fixture
async def elsewhere() -> AsyncIterator[FileServer]:
    async with FileServer() as running:
        running.files["/a.jpg"] = JPEG
        yield running


def account(server: FileServer) -> dict[str, str]:
    return {
        "url": server.url, "access_token": TOKEN, "token": TOKEN, "account_sid": "AC01", "auth_token": TOKEN,
    }  # fmt: skip


class Opened:
    """The sources of all providers, which are at *server*."""

    def __init__(self, files: Any, server: FileServer) -> None:
        self.sources: dict[str, MediaSource] = {
            name: maker()(files, account=lambda: account(server)) for name, maker in MEDIA.items()
        }
        self.channels = Channels()
        self.fetching = Fetching(files, self.channels, Settings(), self.sources)


@pytest.fixture
async def opened(provider: FileServer, elsewhere: FileServer) -> AsyncIterator[Opened]:
    async with open_files(own=[provider.url, elsewhere.url]) as files:
        yield Opened(files, provider)


def demanding(proof: str, body: bytes = JPEG) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body) if request.headers.get("Authorization") == proof else web.Response(status=401)

    return answer


async def test_meta_is_asked_for_the_place_and_then_for_the_file(opened: Opened, provider: FileServer) -> None:
    provider.files |= {"/106": demanding(BEARER, orjson.dumps({"url": f"{provider.url}/at?x=1"}))}
    provider.files |= {"/at": demanding(BEARER)}
    found = await opened.fetching.fetch("meta", None, "106")
    assert found is not None
    assert (found.body, found.content_type) == (JPEG, "image/jpeg")


@pytest.mark.parametrize(
    "place", ["https://evil.example.test/a", "https://fbsbx.com.evil.test/a", "file:///x", None, 7]
)
async def test_the_token_goes_to_no_place_that_is_not_metas(opened: Opened, provider: FileServer, place: Any) -> None:
    provider.files |= {"/106": demanding(BEARER, orjson.dumps({"url": place}))}
    with pytest.raises(Refused):
        await opened.fetching.fetch("meta", None, "106")


async def test_whapi_is_asked_for_a_file_by_its_id(opened: Opened, provider: FileServer) -> None:
    provider.files |= {"/media/jpeg-0a1b": demanding(BEARER)}
    found = await opened.fetching.fetch("whapi", None, "jpeg-0a1b")
    assert found is not None
    assert found.body == JPEG


async def test_twilio_is_asked_with_its_password_alone(
    opened: Opened, provider: FileServer, elsewhere: FileServer
) -> None:
    provider.files |= {"/m": demanding(BASIC), "/r": redirect(f"{elsewhere.url}/a.jpg")}
    for path in ("/m", "/r"):
        found = await opened.fetching.fetch("twilio", provider.url + path, None)
        assert found is not None
        assert found.body == JPEG
    assert "Authorization" not in elsewhere.headers  # a redirect elsewhere gets no password


async def test_an_address_of_somebody_else_gets_no_password(opened: Opened, elsewhere: FileServer) -> None:
    found = await opened.fetching.fetch("twilio", f"{elsewhere.url}/a.jpg", None)
    assert found is not None
    assert found.body == JPEG
    assert "Authorization" not in elsewhere.headers


@pytest.mark.parametrize("media_id", ["../x", "a/b", "..", "", "a" * 300, "a?b", "a#b", "ä"])
@pytest.mark.parametrize("system", ["meta", "whapi"])
async def test_an_id_that_is_none_is_asked_for_nowhere(
    opened: Opened, provider: FileServer, system: str, media_id: str
) -> None:
    assert await opened.fetching.fetch(system, None, media_id) is None
    assert provider.asked == {}


async def test_a_system_without_a_token_here_is_not_asked(opened: Opened) -> None:
    assert await opened.fetching.fetch("360dialog", None, "106") is None


CASES: dict[str, tuple[str | None, str | None]] = {"meta": (None, "f"), "whapi": (None, "f"), "twilio": ("/f", None)}


@pytest.mark.parametrize("system", CASES)
@pytest.mark.parametrize(
    ("status", "kind"), [(401, ChannelDown), (404, Refused), (400, Refused), (500, Transient), (503, Transient)]
)
async def test_an_answer_says_what_to_do_next(
    opened: Opened, provider: FileServer, system: str, status: int, kind: type[Exception]
) -> None:
    provider.files |= dict.fromkeys(("/f", "/media/f"), answering(status))
    path, id = CASES[system]
    with pytest.raises(kind) as caught:
        await opened.fetching.fetch(system, path and provider.url + path, id)
    assert type(caught.value) is kind
    assert TOKEN not in str(caught.value)
    state = opened.channels[FILE_CHANNELS[system]].state.word
    assert state == ("refused" if status == 401 else "up")

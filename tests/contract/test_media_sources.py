"""Files that providers keep for those alone who have the token: what is asked, and where the token goes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiohttp import web

from adapters.channel import Channels
from adapters.files import open_files
from daemon.conversations.archive.fetching import FILE_CHANNELS, Fetching
from daemon.conversations.archive.media import Media, chosen
from daemon.settings.load import load_settings
from daemon.stores.credentials import Held
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


def settings_of(server: FileServer) -> dict[str, str]:
    return {
        "META_GRAPH_URL": server.url, "META_ACCESS_TOKEN": TOKEN, "META_PHONE_NUMBER_ID": "501",
        "TWILIO_API_URL": server.url, "TWILIO_ACCOUNT_SID": "AC01", "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_WHATSAPP_NUMBER": "+15550001234", "WHAPI_API_URL": server.url, "WHAPI_TOKEN": TOKEN,
    }  # fmt: skip


class Stored:
    """The stored accounts as a process has them."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    async def of(self, provider: str, account: str, *, expected: bool) -> Held | None:
        return None

    def accounts(self, provider: str) -> list[Held]:
        return [one for one in self.held if one.provider == provider]


class Opened:
    """The sources of all providers, which are at *server*."""

    def __init__(self, files: Any, server: FileServer) -> None:
        self.channels, self.stored = Channels(), Stored()
        given = load_settings(settings_of(server), None, known={})
        outside: Any = SimpleNamespace(
            settings=given, secret=lambda name: getattr(given, name).get_secret_value(), credentials=self.stored
        )
        self.fetching = Fetching(files, self.channels, given, Media(outside, files).source)


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


async def test_a_file_is_fetched_with_the_token_of_the_account_that_it_came_by(
    opened: Opened, provider: FileServer
) -> None:
    opened.stored.held = [
        Held("meta", "second", {"access_token": "second-token", "phone_number_id": "502"}),
        Held("twilio", "second", {"account_sid": "AC02", "auth_token": "second-token"}),
        Held("meta", "sealed", error="it cannot be decrypted"),
    ]
    place = orjson.dumps({"url": f"{provider.url}/at"})
    provider.files |= {"/at": JPEG, "/2010/AC01/m": demanding(BASIC)}
    second = "Basic " + b64encode(b"AC02:second-token").decode()
    provider.files |= {"/2010/AC02/m": demanding(second), "/7": demanding("Bearer second-token", place)}
    assert await opened.fetching.fetch("meta", None, "7", "502") is not None
    for sid in ("AC01", "AC02"):
        assert await opened.fetching.fetch("twilio", f"{provider.url}/2010/{sid}/m", None) is not None
    provider.files |= {"/8": demanding(BEARER, place)}
    for number in ("501", "599", None):
        assert await opened.fetching.fetch("meta", None, "8", number) is not None, "that of the settings"


async def test_an_account_whose_token_is_refused_stops_itself_alone(opened: Opened, provider: FileServer) -> None:
    opened.stored.held = [Held("meta", "second", {"access_token": "old", "phone_number_id": "502"})]
    provider.files |= {"/7": demanding(BEARER, orjson.dumps({"url": f"{provider.url}/at"})), "/at": JPEG}
    with pytest.raises(ChannelDown) as caught:
        await opened.fetching.fetch("meta", None, "7", "502")
    assert caught.value.channel == "meta-files/second"
    assert await opened.fetching.fetch("meta", None, "7", "501") is not None


async def test_of_several_accounts_none_is_guessed(opened: Opened) -> None:
    one, other = {"access_token": "a", "phone_number_id": "1"}, {"access_token": "b", "phone_number_id": "2"}
    assert chosen("meta", {"a": one, "b": other}, "3", None) is None
    assert chosen("meta", {"a": one, "b": other}, "2", None) == "b"
    assert chosen("meta", {"a": one}, None, None) == "a"
    assert chosen("whapi", {}, None, None) is None
    assert chosen("twilio", {"a": {"account_sid": "AC01"}}, None, "https://[") == "a"


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

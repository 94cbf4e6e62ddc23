"""What `WebFiles` fetches, and what it does not, over real HTTP: no request of it may reach our own network."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import files as module
from adapters.files import WebFiles, name_of, open_files
from schemas.errors import FerrymanError, Refused, Transient
from tests.support.file_server import (
    HTML,
    JPEG,
    PDF,
    PNG,
    FileServer,
    Names,
    answering,
    broken,
    endless,
    internet,
    redirect,
)

PUBLIC = "20.0.0.7"
MOST = 1024 * 1024

PRIVATE = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1", "0x7f.1", "0x7f000001", "0", "0.0.0.0",
    "127.0.0.1.", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "192.88.99.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "１２７.０.０.１", "127。0。0。1",
    "%31%32%37.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%25eth0]",
    "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[::ffff:0:127.0.0.1]", "[2001:db8::1]", "[3fff::1]",
)  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    async with FileServer() as running:
        running.files["/a.jpg"] = JPEG
        yield running


@pytest.fixture
def names() -> Names:
    return Names(
        files_example_test=[[PUBLIC]],
        localhost=[["127.0.0.1"]],
        inside_example_test=[["10.1.2.3"]],
        mapped_example_test=[["::ffff:10.1.2.3"]],
        mixed_example_test=[[PUBLIC, "192.168.0.9"]],
        turning_example_test=[[PUBLIC], ["127.0.0.1"]],
    )


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> list[str]:
    return internet(monkeypatch, server)


@pytest.fixture
async def files(names: Names) -> AsyncIterator[WebFiles]:
    async with open_files(resolver=names) as opened:
        yield opened


async def failing(files: WebFiles, url: str, most: int = MOST) -> FerrymanError:
    """The error of a file, whose text has nothing of its address."""
    with pytest.raises(FerrymanError) as caught:
        await files.fetch(url, most)
    error = caught.value
    assert error.__suppress_context__ or error.__context__ is None
    assert not any(part in f"{error} {error!r} {error.code}" for part in ("example", "127", "token", PUBLIC))
    return error


# what is never reached


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_address_of_an_own_network_is_dialled(
    files: WebFiles, dialled: list[str], scheme: str, host: str
) -> None:
    error = await failing(files, f"{scheme}://{host}/latest/token")
    assert (type(error), error.code, dialled) == (Refused, "not-public", [])


@pytest.mark.parametrize("host", PRIVATE)
async def test_no_redirect_leads_into_an_own_network(
    files: WebFiles, server: FileServer, dialled: list[str], host: str
) -> None:
    server.files["/go"] = redirect(f"http://{host}/a.jpg")
    error = await failing(files, "http://files.example.test/go")
    assert (type(error), error.code) == (Refused, "not-public")
    assert (dialled, server.asked) == ([PUBLIC], {"/go": 1})


@pytest.mark.parametrize("host", ["localhost", "localhost.", "inside.example.test", "mapped.example.test"])
async def test_no_name_leads_into_an_own_network(files: WebFiles, dialled: list[str], host: str) -> None:
    error = await failing(files, f"http://{host}/a.jpg")
    assert (type(error), error.code, dialled) == (Refused, "not-public", [])


async def test_a_name_with_one_private_address_among_others_is_refused(files: WebFiles, dialled: list[str]) -> None:
    assert (await failing(files, "http://mixed.example.test/a.jpg")).code == "not-public"
    assert dialled == []


async def test_a_name_that_changes_its_answer_gains_nothing(
    files: WebFiles, names: Names, server: FileServer, dialled: list[str]
) -> None:
    server.files["/go"] = redirect("/a.jpg")
    assert (await failing(files, "http://turning.example.test/go")).code == "not-public"
    assert (dialled, names.asked["turning.example.test"]) == (
        [PUBLIC],
        2,
    )  # each address that was asked for was dialled


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://files.example.test/a.jpg", "no-url"),
        ("file:///etc/passwd", "no-url"),
        ("gopher://files.example.test/", "no-url"),
        ("//files.example.test/a.jpg", "no-url"),
        ("http:///a.jpg", "no-url"),
        ("http://[files/a.jpg", "no-url"),
        ("http://files.example.test:99999/", "no-url"),
        ("http://token@files.example.test/a.jpg", "no-url"),
        ("http://files.example.test:token@files.example.test/a.jpg", "no-url"),
        ("http://files.example.test\\@localhost/", "no-url"),
        ("http://localhost#@files.example.test/", "not-public"),
        ("http://localhost?@files.example.test/", "not-public"),
        ("http://files.example.test:8080/a.jpg", "port"),
        ("https://files.example.test:6379/a.jpg", "port"),
        ("", "no-url"),
    ],
)
async def test_an_address_that_is_no_sound_one_of_the_web_is_refused(
    files: WebFiles, server: FileServer, dialled: list[str], url: str, code: str
) -> None:
    assert (await failing(files, url)).code == code
    assert dialled == []
    if "://" in url and not url.startswith("http:///"):  # a reference that is relative to its page
        server.files["/go"] = redirect(url)
        assert (await failing(files, "http://files.example.test/go")).code == code
        assert dialled == [PUBLIC]


async def test_a_name_that_can_be_none_is_refused() -> None:
    async with open_files() as files:
        for url in (f"http://{'a' * 70}.test/a.jpg", f"http://{'a.' * 200}test/a.jpg", "http://a..test/a.jpg"):
            assert isinstance(await failing(files, url), Refused | Transient)


@given(
    address=st.sampled_from([0x7F000001, 0x0A000001, 0xC0A80001, 0xA9FEA9FE, 0]),
    parts=st.integers(1, 4),
    forms=st.lists(st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "00{:o}"]), min_size=4, max_size=4),
    end=st.sampled_from(["", ".", "..", ":80", "%20"]),
)
def test_no_way_to_write_a_private_address_is_dialled(address: int, parts: int, forms: list[str], end: str) -> None:
    """Systems take one to four numbers, in three notations, the last of which fills what is left."""
    first = [(address >> 24 - 8 * n) & 0xFF for n in range(parts - 1)]
    numbers = [*first, address & ((1 << 8 * (5 - parts)) - 1)]
    host = ".".join(form.format(number) for form, number in zip(forms, numbers, strict=False))

    async def fetch() -> list[str]:
        async with FileServer() as server, open_files(resolver=Names()) as files:
            with pytest.MonkeyPatch.context() as patch:
                dialled = internet(patch, server)
                with pytest.raises(FerrymanError):
                    await files.fetch(f"http://{host}{end}/", MOST)
                return dialled

    assert asyncio.run(fetch()) == []


# own servers


async def test_an_own_server_may_be_private_by_its_exact_origin(server: FileServer, names: Names) -> None:
    server.files["/go"] = redirect("/a.jpg")
    async with open_files(own=[f"{server.url}/chat"], resolver=names) as files:
        assert (await files.fetch(f"{server.url}/go", MOST)).body == JPEG
        for other in (f"https://127.0.0.1:{server.port}", f"http://localhost:{server.port}", "http://127.0.0.1"):
            assert isinstance(await failing(files, f"{other}/a.jpg"), Refused)


async def test_a_name_that_begins_as_an_own_one_is_none(server: FileServer, names: Names, dialled: list[str]) -> None:
    names.answers["chat.local.evil.example"] = [["10.0.0.1"]]
    async with open_files(own=["http://chat.local"], resolver=names) as files:
        assert (await failing(files, "http://chat.local.evil.example/a.jpg")).code == "not-public"
    assert dialled == []


async def test_nobody_else_s_server_may_redirect_to_an_own_one(
    server: FileServer, names: Names, dialled: list[str]
) -> None:
    names.answers["chat.local"] = [["10.0.0.1"]]
    server.files["/go"] = redirect("http://chat.local/a.jpg")
    async with open_files(own=["http://chat.local"], resolver=names) as files:
        assert (await files.fetch("http://chat.local/a.jpg", MOST)).body == JPEG
        assert (await failing(files, "http://files.example.test/go")).code == "not-public"
    assert dialled == ["10.0.0.1", PUBLIC]


async def test_an_own_server_may_redirect_to_the_internet_but_to_no_other_server_inside(
    server: FileServer, names: Names, dialled: list[str]
) -> None:
    names.answers["chat.local"] = [["10.0.0.1"]]
    server.files |= {"/out": redirect("http://files.example.test/a.jpg"), "/in": redirect("http://10.0.0.2/a.jpg")}
    async with open_files(own=["http://chat.local"], resolver=names) as files:
        assert (await files.fetch("http://chat.local/out", MOST)).body == JPEG
        assert (await failing(files, "http://chat.local/in")).code == "not-public"
    assert dialled == ["10.0.0.1", PUBLIC, "10.0.0.1"]


# what comes


@pytest.fixture
async def own(server: FileServer) -> AsyncIterator[WebFiles]:
    async with open_files(own=[server.url]) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "body", "name", "found"),
    [
        ("/a.jpg", JPEG, "a.jpg", "image/jpeg"),
        ("/visa%20of%20Noa.pdf?v=2", PDF, "visa of Noa.pdf", "application/pdf"),
        ("/a.jpg", PNG, "a.jpg.png", "image/png"),
        ("/", PDF, "file.pdf", "application/pdf"),
        ("/photo.jpg", HTML, "photo.jpg", "text/html"),
    ],
)
async def test_a_file_is_what_its_bytes_are_and_has_a_fitting_name(
    own: WebFiles, server: FileServer, path: str, body: bytes, name: str, found: str
) -> None:
    server.files["/" + path.partition("?")[0][1:].replace("%20", " ")] = body
    file = await own.fetch(server.url + path, MOST)
    assert (file.name, file.content_type, file.body) == (name, found, body)


async def test_nothing_of_ours_goes_along(own: WebFiles, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def with_cookie(request: Any) -> Any:
        answer = await redirect("/b.jpg")(request)
        answer.headers["Set-Cookie"] = "session=1"
        return answer

    server.files |= {"/go": with_cookie, "/b.jpg": JPEG}
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    await own.fetch(f"{server.url}/go", MOST)
    assert {name.lower() for name in server.headers} == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
    }
    assert server.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("handler", "wanted"),
    [
        (b"", "empty"),
        (JPEG * 10_000, "too-large"),
        (endless(), "too-large"),
        (answering(body=gzip.compress(JPEG), Content_Encoding="gzip"), "compressed"),
        (answering(body=gzip.compress(b"\0" * 50_000_000), Content_Encoding="br"), "compressed"),
        (answering(404), "http-404"),
        (answering(403), "http-403"),
        (answering(206, JPEG), "http-206"),
        (answering(204), "http-204"),
        (answering(304), "http-304"),
        (redirect("/loop"), "redirects"),
    ],
)
async def test_what_is_no_usable_file_is_refused(own: WebFiles, server: FileServer, handler: Any, wanted: str) -> None:
    server.files["/loop"] = handler
    error = await failing(own, f"{server.url}/loop")
    assert (type(error), error.code) == (Refused, wanted)
    assert server.asked["/loop"] == (4 if wanted == "redirects" else 1)


async def test_a_file_of_just_the_most_bytes_is_taken(own: WebFiles, server: FileServer) -> None:
    server.files["/a"] = JPEG
    assert (await own.fetch(f"{server.url}/a", len(JPEG))).body == JPEG
    assert (await failing(own, f"{server.url}/a", len(JPEG) - 1)).code == "too-large"


@pytest.mark.parametrize(
    ("handler", "wanted", "wait_s"),
    [
        (answering(500), "http-500", None),
        (answering(503, Retry_After="7"), "http-503", 7.0),
        (answering(429, Retry_After="9"), "http-429", 9.0),
        (broken(), "connection-broke", None),
        (endless(pause_s=30.0), "no-answer", None),
    ],
)
async def test_what_may_come_later_is_transient(
    own: WebFiles, server: FileServer, monkeypatch: pytest.MonkeyPatch, handler: Any, wanted: str, wait_s: float | None
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.5)
    server.files["/a"] = handler
    error = await failing(own, f"{server.url}/a")
    assert isinstance(error, Transient)
    assert (error.code, error.retry_after_s) == (wanted, wait_s)


async def test_a_server_that_is_not_there_is_asked_again_later() -> None:
    async with open_files(own=["http://127.0.0.1:1"]) as files:
        error = await failing(files, "http://127.0.0.1:1/a.jpg")
    assert (type(error), error.code) == (Transient, "no-connection")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.test/../../etc/passwd", "passwd.pdf"),
        ("https://x.test/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "etcpasswd.pdf"),
        ("https://x.test/a%00b.PDF", "ab.PDF"),
        ("https://x.test/a%0d%0aX-Header%3a b.pdf", "a X-Header b.pdf"),
        ("https://x.test/" + "n" * 4096 + ".pdf", "n" * 100 + ".pdf"),
        ("https://x.test/.pdf", "pdf.pdf"),
        ("https://x.test/a.b" + "c" * 50, "a.b" + "c" * 50 + ".pdf"),
        ("http://[x", "file.pdf"),
    ],
)
def test_a_name_is_fit_for_a_file(url: str, name: str) -> None:
    assert name_of(url, "application/pdf") == name

"""Which files are uploaded, when, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from adapters import permit, uploads
from adapters.permit import Permit
from adapters.ports import FetchedFile
from adapters.uploads import FRESH_S, LIFE_S, MOST_REMEMBERED, PATIENCE_S, Uploaded, Uploads, is_ours
from schemas.errors import FerrymanError, LeaseLost, Refused, Transient
from schemas.media import MOST_BYTES, TAKEN
from schemas.messages import MediaType
from tests.support.file_server import HTML, JPEG, PDF, PNG
from tests.support.made_up_files import MadeUpFiles

URL = "https://files.example.test/a.jpg"
GIF = b"GIF89a" + bytes(50)
ZIP = b"PK\x03\x04" + bytes(50)
PROGRAM = b"\x7fELF" + bytes(50)
MOV = b"\0\0\0\x14ftypqt  " + bytes(50)


class World:
    """Uploads, what they fetch, and the provider that takes them. *error*: what the next upload raises."""

    def __init__(self, *, taken: Mapping[MediaType, frozenset[str]] = TAKEN) -> None:
        self.files = MadeUpFiles()
        self.files.files[URL] = JPEG
        self.given: list[FetchedFile] = []
        self.permits: list[Permit | None] = []
        self.error: FerrymanError | None = None
        self.now = 1000.0
        self.go = asyncio.Event()
        self.go.set()
        self.uploads = Uploads(self.files, self._upload, taken=taken, clock=lambda: self.now)

    async def _upload(self, file: FetchedFile) -> str:
        self.permits.append(permit.current.get())
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.given.append(file)
        return f"id-{len(self.given)}"

    async def of(self, url: str = URL, kind: MediaType = "image") -> Uploaded | None:
        return await self.uploads.of(url, kind)

    async def id(self, url: str = URL, kind: MediaType = "image") -> str:
        found = await self.of(url, kind)
        assert found is not None
        return found.id


async def test_a_file_that_many_ask_for_is_uploaded_once() -> None:
    world = World()
    found = await asyncio.gather(*(world.of() for _ in range(50)))
    assert set(found) == {Uploaded("id-1", "a.jpg", remembered=False)}
    assert await world.of() == Uploaded("id-1", "a.jpg", remembered=True)
    assert (world.files.fetched[URL], [file.body for file in world.given]) == (1, [JPEG])
    assert world.files.caps == [MOST_BYTES["image"]]


async def test_an_address_is_fetched_again_later_and_its_file_uploaded_again_only_where_it_has_changed() -> None:
    world = World()
    await world.id()
    world.now += FRESH_S
    assert await world.of() == Uploaded("id-1", "a.jpg", remembered=True)
    assert (world.files.fetched[URL], len(world.given)) == (2, 1)
    world.files.files[URL] = PNG
    assert await world.id() == "id-1"  # it is believed for a while
    world.now += FRESH_S
    assert await world.id() == "id-2"


async def test_the_same_bytes_at_another_address_have_the_same_id() -> None:
    world = World()
    world.files.files[f"{URL}?2"] = JPEG
    assert [await world.id(), await world.id(f"{URL}?2")] == ["id-1", "id-1"]


async def test_an_id_is_used_for_less_than_its_life() -> None:
    world = World()
    await world.id()
    world.now += LIFE_S - 1
    assert await world.id() == "id-1"
    world.now += 1
    assert await world.id() == "id-2"


async def test_an_id_that_the_provider_has_dropped_is_not_used_again() -> None:
    world = World()
    world.uploads.forget(await world.id())
    world.uploads.forget("id-of-another")
    assert await world.of() == Uploaded("id-2", "a.jpg", remembered=False)
    world.uploads.forget("id-1")  # of a message that was sent before
    assert await world.id() == "id-2"


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (GIF, "image", "image/gif, and WhatsApp takes JPEG or PNG as image"),
        (PDF, "image", "application/pdf"),
        (JPEG, "video", "MP4 or 3GP"),
        (MOV, "video", "video/quicktime"),
        (JPEG, "audio", "OGG with Opus"),
        (HTML, "image", "a web page"),
        (HTML, "document", "a web page"),
        (PROGRAM, "image", "a program"),
        (PROGRAM, "document", "a program"),
    ],
)
async def test_a_file_that_whatsapp_does_not_carry_is_refused(body: bytes, kind: MediaType, why: str) -> None:
    world = World()
    world.files.files[URL] = body
    with pytest.raises(Refused, match=why) as caught:
        await world.of(kind=kind)
    assert ("example" in str(caught.value), world.given) == (False, [])


@pytest.mark.parametrize(
    ("body", "kind"), [(JPEG, "image"), (PNG, "image"), (PDF, "document"), (JPEG, "document"), (b"a;b\n", "document")]
)
async def test_a_file_that_whatsapp_carries_is_uploaded(body: bytes, kind: MediaType) -> None:
    world = World()
    world.files.files[URL] = body
    assert await world.id(kind=kind) == "id-1"


async def test_a_document_that_is_not_taken_by_upload_goes_by_its_address() -> None:
    world = World()
    world.files.files[URL] = ZIP
    assert [await world.of(kind="document"), await world.of(kind="document")] == [None, None]
    assert (world.files.fetched[URL], world.given) == (1, [])


@pytest.mark.parametrize(
    ("body", "kind", "taken"),
    [(GIF, "image", True), (MOV, "video", True), (ZIP, "document", True), (PDF, "image", False), (GIF, "video", False)],
)
async def test_a_provider_that_takes_all_types_takes_them_of_their_kind(
    body: bytes, kind: MediaType, taken: bool
) -> None:
    world = World(taken={})
    world.files.files[URL] = body
    if taken:
        assert await world.id(kind=kind) == "id-1"
    else:
        with pytest.raises(Refused):
            await world.of(kind=kind)


@pytest.mark.parametrize("error", [Transient("no answer"), Refused("too large")], ids=repr)
async def test_a_failure_is_that_of_all_who_wait_and_is_not_remembered(error: FerrymanError) -> None:
    world = World()
    world.files.files[URL] = error
    found = await asyncio.gather(*(world.of() for _ in range(5)), return_exceptions=True)
    assert found == [error] * 5
    world.files.files[URL], world.error = JPEG, error
    found = await asyncio.gather(*(world.of() for _ in range(2)), return_exceptions=True)
    assert found == [error] * 2
    world.error = None
    assert await world.id() == "id-1"
    assert world.files.fetched[URL] == 3


@pytest.mark.parametrize(("asked_s", "wait_s"), [(None, 30.0), (7.0, 30.0), (60.0, 60.0), (3600.0, 300.0)])
async def test_a_server_that_is_away_costs_a_message_nothing_for_an_hour(asked_s: float | None, wait_s: float) -> None:
    async def failing() -> Transient:
        world.files.files[URL] = Transient("the file's server answers HTTP 503", retry_after_s=asked_s)
        with pytest.raises(Transient) as caught:
            await world.of()
        return caught.value

    world = World()
    for _ in range(2):
        for passed_s in (0.0, PATIENCE_S - 1):
            world.now += passed_s
            error = await failing()
            assert (error.answered, error.retry_after_s) == (True, wait_s)
        world.now += 1
        error = await failing()
        assert (error.answered, error.retry_after_s) == (False, asked_s)
        world.files.files[URL] = JPEG + str(world.now).encode()
        await world.id()
        world.now += FRESH_S


async def test_one_that_is_canceled_takes_nothing_from_the_others() -> None:
    world = World()
    world.go.clear()
    first, second = asyncio.create_task(world.of()), asyncio.create_task(world.of())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    world.go.set()
    assert await second == Uploaded("id-1", "a.jpg", remembered=False)


async def test_nobody_waits_for_ever_and_what_was_begun_is_there_at_the_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploads, "LONGEST_FILE_S", 0.01)
    world = World()
    world.go.clear()
    with pytest.raises(Transient):
        await world.of()
    world.go.set()
    assert await world.id() == "id-1"
    assert world.files.fetched[URL] == 1


async def test_the_work_of_many_goes_on_when_the_handler_that_began_it_has_lost_its_lease() -> None:
    def lost() -> None:
        raise LeaseLost("it is over")

    world = World()
    mine = Permit(lost)
    token = permit.current.set(mine)
    try:
        assert await world.id() == "id-1"
        assert permit.current.get() is mine
    finally:
        permit.current.reset(token)
    assert world.permits == [None]


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_REMEMBERED", 3)
    assert MOST_REMEMBERED > 3
    world = World()
    for n in range(5):
        world.files.files[f"{URL}?{n}"] = JPEG + bytes([n])
        await world.id(f"{URL}?{n}")
    assert [await world.id(f"{URL}?{n}") for n in (2, 3, 4, 0)] == ["id-3", "id-4", "id-5", "id-6"]


@pytest.mark.parametrize(
    ("url", "hosts", "ours"),
    [
        ("https://files.example.test/a", "files.example.test", True),
        ("HTTPS://FILES.example.test:443/a", "files.example.test", True),
        ("http://files.example.test/a", "other.test,files.example.test", True),
        ("https://files.example.test:8443/a", "files.example.test", False),
        ("https://files.example.test:8443/a", "files.example.test:8443", True),
        ("https://files.example.test/a", "files.example.test:443", True),
        ("http://files.example.test/a", "files.example.test:443", False),
        ("https://files.example.test.evil.test/a", "files.example.test", False),
        ("https://evil.test/files.example.test", "files.example.test", False),
        ("https://files.example.test@evil.test/", "files.example.test", False),
        ("https://a.files.example.test/", "files.example.test", False),
        ("http://[2606:4700::1111]/a", "[2606:4700::1111]", True),
        ("https://anything.test:9/a", "*", True),
        ("https://anything.test/a", "", False),
        ("/a", "", False),
        ("/a", "*", False),
        ("http://[x", "*", False),
    ],
)
def test_whose_files_are_ours(url: str, hosts: str, ours: bool) -> None:
    assert is_ours(url, hosts) is ours

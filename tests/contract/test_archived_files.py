"""What the attachment-archive worker fetches, over real HTTP: no file of a message leads into our own network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from adapters.channel import Channel, Channels
from adapters.files import open_files
from adapters.postgres.notes import FileEnd, FileState
from adapters.storage.files import FileStore
from daemon.bus.outcome import Done, Turn
from daemon.conversations.archive.attachments import LATE_ATTEMPTS, handle
from daemon.conversations.archive.fetching import FILE_CHANNELS, Fetching, with_host
from daemon.conversations.archive.storing import Archive
from daemon.conversations.archive.wiring import ArchiveDeps
from daemon.settings.model import Settings
from schemas.envelope import Event
from schemas.errors import FerrymanError, Transient
from tests.contract.test_files import PRIVATE, PUBLIC
from tests.support.file_server import JPEG, FileServer, Names, answering, endless, internet, redirect

NOW = datetime(2031, 2, 14, 9, 15, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    async with FileServer() as running:
        running.files["/a.jpg"] = JPEG
        yield running


@pytest.fixture
def names() -> Names:
    return Names(
        files_example_test=[[PUBLIC]],
        inside_example_test=[["10.1.2.3"]],
        mixed_example_test=[[PUBLIC, "192.168.0.9"]],
        turning_example_test=[[PUBLIC], ["127.0.0.1"]],
        chat_local_evil_test=[["127.0.0.1"]],
    )


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch, server: FileServer) -> list[str]:
    return internet(monkeypatch, server)


class World:
    """The worker's handler, with a store of files. *base*: of our own Chatwoot."""

    def __init__(self, deps: ArchiveDeps, root: Path) -> None:
        self._deps = deps
        self._root = root

    async def fetch(self, url: str, attempt: int = LATE_ATTEMPTS) -> FileEnd:
        """What becomes of a file at *url*."""
        data = {
            "attachment_id": str(uuid4()), "note_id": str(uuid4()), "kind": "image", "url": url, "system": "chatwoot",
            "stem": "2031-02-14/481/7301_88", "bucket": "demo-bucket", "user": None,
        }  # fmt: skip
        event = Event(
            id="e", type="attachment.received", source="ferryman", subject="k", time=NOW, data=orjson.dumps(data)
        )
        outcome = await handle(event, self._deps, Turn(now=NOW, attempt=attempt))
        assert isinstance(outcome, Done)
        row = outcome.rows[0]
        assert isinstance(row, FileEnd)
        assert bool(outcome.emit) == (row.status == "stored")
        return row

    @property
    def kept(self) -> list[Path]:
        """The files in the store."""
        return [path for path in self._root.rglob("*") if path.is_file()]


@asynccontextmanager
async def opened(names: Names, root: Path, base: str | None = None, most: int = 1_000_000) -> AsyncIterator[World]:
    settings = Settings(chatwoot_base_url=base, ferryman_attachment_max_bytes=most)

    async def state(_: object) -> FileState:
        return FileState("pending", None, "demo-bucket")

    async def unused(_: Any) -> Any:
        raise AssertionError

    async with open_files(own=[base] if base else [], resolver=names) as files:
        deps = ArchiveDeps(
            archive=Archive(FileStore(root, Channel("storage")), None),  # type: ignore[arg-type]
            find=unused,
            file_state=state,
            buckets=unused,
            fetch=Fetching(files, Channels(), settings).fetch,
            prefix="demo",
            whatsapp_inbox=1,
        )
        yield World(deps, root)


@pytest.mark.parametrize("host", PRIVATE)
async def test_no_file_is_fetched_from_an_own_network(
    names: Names, server: FileServer, dialled: list[str], tmp_path: Path, host: str
) -> None:
    server.files["/go"] = redirect(f"http://{host}/a.jpg")
    async with opened(names, tmp_path) as world:
        for url in (f"http://{host}/latest/token", "http://files.example.test/go"):
            row = await world.fetch(url)
            assert (row.status, row.sha256) == ("error", None)
            assert row.error is not None
            assert not any(part in row.error for part in ("example", "127", "169", "token"))
    assert (dialled, world.kept) == ([PUBLIC], [])


@pytest.mark.parametrize("host", PRIVATE)
async def test_our_own_chatwoot_may_not_redirect_into_the_network(
    names: Names, server: FileServer, tmp_path: Path, host: str
) -> None:
    server.files["/rails/go"] = redirect(f"http://{host}/a.jpg")
    async with opened(names, tmp_path, base=server.url) as world:
        assert (await world.fetch("/rails/go")).status == "error"
    assert (server.asked["/a.jpg"], world.kept) == (0, [])


@pytest.mark.parametrize("name", ["inside", "mixed"])
async def test_no_name_leads_into_an_own_network(names: Names, dialled: list[str], tmp_path: Path, name: str) -> None:
    async with opened(names, tmp_path) as world:
        assert (await world.fetch(f"http://{name}.example.test/a.jpg")).status == "error"
    assert dialled == []


async def test_a_name_that_changes_its_answer_gains_nothing(
    names: Names, server: FileServer, dialled: list[str], tmp_path: Path
) -> None:
    server.files["/go"] = redirect("http://turning.example.test/a.jpg")
    async with opened(names, tmp_path) as world:
        assert (await world.fetch("http://turning.example.test/go")).status == "error"
    assert (dialled, world.kept) == ([PUBLIC], [])


async def test_a_host_that_begins_like_our_own_is_a_stranger(
    names: Names, server: FileServer, dialled: list[str], tmp_path: Path
) -> None:
    base = f"http://chat.local:{server.port}"
    async with opened(names, tmp_path, base=base) as world:
        for url in (f"http://chat.local.evil.test:{server.port}/a.jpg", "http://chat.local.evil.test/a.jpg"):
            assert (await world.fetch(url)).status == "error"
    assert (dialled, server.asked) == ([], {})


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x/", "ftp://files.example.test/a", "//inside.example.test/a.jpg", "", "x"]
)
async def test_an_address_that_is_none_of_the_web_is_refused(
    names: Names, dialled: list[str], tmp_path: Path, url: str
) -> None:
    async with opened(names, tmp_path, base="http://files.example.test") as world:
        assert (await world.fetch(url)).status == "error"
    assert dialled == []


async def test_our_own_chatwoot_is_fetched_wherever_it_is(names: Names, server: FileServer, tmp_path: Path) -> None:
    async with opened(names, tmp_path, base=server.url) as world:
        row = await world.fetch(f"{server.url}/a.jpg")
    assert (row.status, row.content_type, row.bytes) == ("stored", "image/jpeg", len(JPEG))
    assert [path.read_bytes() for path in world.kept] == [JPEG]


async def test_an_endless_file_ends_at_the_cap(names: Names, server: FileServer, tmp_path: Path) -> None:
    server.files["/e"] = endless()
    async with opened(names, tmp_path, base=server.url, most=100_000) as world:
        row = await world.fetch(f"{server.url}/e")
    assert row.status == "error"
    assert "larger than" in str(row.error)
    assert world.kept == []


@pytest.mark.parametrize(("status", "again"), [(404, True), (403, True), (410, True), (401, False), (451, False)])
async def test_a_file_that_may_come_is_asked_for_again(
    names: Names, server: FileServer, tmp_path: Path, status: int, again: bool
) -> None:
    server.files["/f"] = answering(status)
    async with opened(names, tmp_path, base=server.url) as world:
        if again:
            with pytest.raises(Transient):
                await world.fetch(f"{server.url}/f", attempt=1)
        assert (await world.fetch(f"{server.url}/f")).status == "error"


@pytest.mark.parametrize(("status", "answered"), [(500, True), (429, True), (502, False), (503, False), (504, False)])
async def test_only_what_looks_like_an_outage_counts_as_one(
    names: Names, server: FileServer, tmp_path: Path, status: int, answered: bool
) -> None:
    server.files["/f"] = answering(status)
    async with opened(names, tmp_path, base=server.url) as world:
        with pytest.raises(FerrymanError) as caught:
            await world.fetch(f"{server.url}/f")
    assert (caught.value.channel, caught.value.answered) == (FILE_CHANNELS["chatwoot"], answered)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http:///rails/a", "https://chat.example.test/rails/a"),
        ("https:///rails/a", "https://chat.example.test/rails/a"),
        ("/rails/a", "https://chat.example.test/rails/a"),
        ("//other/a", "//other/a"),
        ("http://other/a", "http://other/a"),
        ("", ""),
    ],
)
def test_an_address_without_a_host_gets_that_of_our_chatwoot(url: str, expected: str) -> None:
    assert with_host(url, "https://chat.example.test") == expected
    assert with_host(url, None) == url

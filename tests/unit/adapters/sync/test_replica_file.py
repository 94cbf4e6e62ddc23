"""The file of a replica: whose it is, what it is when it was copied, put back or shared, and what is no such file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.records_client import FileOfAnother, ForeignFile, RecordsClient
from tests.support.records_server import TOKEN, RecordsServer
from tests.unit.adapters.sync.conftest import data_of

BOB = "fmt_" + "b" * 43


async def test_a_copied_file_takes_a_new_name_and_keeps_its_queue(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "one", server.url, TOKEN) as one:
        await one.create("Lead", "l1", {"name": "Ada"})
        await one.sync()
    shutil.copy(tmp_path / "one", tmp_path / "two")
    for number in range(3):
        for name in ("one", "two"):
            async with RecordsClient(tmp_path / name, server.url, TOKEN) as client:
                await client.create("Lead", f"{name}-{number}", {"n": number})
                assert (await client.sync()).error is None
    assert len(server.state.rows) == 7
    assert len(server.state.acks) == 2
    assert len({body["replica"] for body in server.bodies[-2:]}) == 2


async def test_a_file_from_last_week_sends_nothing_twice_and_learns_what_it_wrote_since(
    server: RecordsServer, tmp_path: Path
) -> None:
    path = tmp_path / "phone"
    async with RecordsClient(path, server.url, TOKEN) as phone:
        await phone.create("Lead", "l1", {"name": "Ada", "n": 0})
        await phone.sync()
        await phone.update("Lead", "l1", {"n": 1})
    shutil.copy(path, tmp_path / "backup")
    async with RecordsClient(path, server.url, TOKEN) as phone:
        await phone.sync()
        await phone.update("Lead", "l1", {"n": 2})
        await phone.sync()
        await phone.create("Lead", "l2", {"name": "Bo"})
        await phone.sync()
    async with RecordsClient(tmp_path / "backup", server.url, TOKEN) as phone:
        done = await phone.sync()
        assert (done.error, done.synced) == (None, 1)
        assert await data_of(phone, "l1") == {"name": "Ada", "n": 2}
        assert await data_of(phone, "l2") == {"name": "Bo"}
        await phone.update("Lead", "l1", {"n": 3})
        await phone.sync()
    assert server.row("Lead", "l1").data["n"] == 3
    assert set(server.applied.values()) == {1}


async def test_a_file_of_another_program_is_left_alone(server: RecordsServer, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    before = (tmp_path / "other").read_bytes()
    with pytest.raises(ForeignFile, match="other belongs to another program: name another file"):
        async with RecordsClient(tmp_path / "other", server.url, TOKEN):
            pass
    assert (tmp_path / "other").read_bytes() == before
    (tmp_path / "text").write_text("no database at all, " * 100)
    with pytest.raises(ForeignFile, match=f"{tmp_path}/text is no SQLite database"):
        async with RecordsClient(tmp_path / "text", server.url, TOKEN):
            pass
    assert (tmp_path / "text").read_text() == "no database at all, " * 100


async def test_a_file_of_a_later_version_is_left_alone(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "file", server.url, TOKEN) as client:
        await client.create("Lead", "l1", {"name": "Ada"})
    altered(tmp_path / "file", "PRAGMA user_version = 99")
    with pytest.raises(ForeignFile, match="later version"):
        async with RecordsClient(tmp_path / "file", server.url, TOKEN):
            pass


def altered(path: Path, *statements: str) -> None:
    """The file, as another version has left it."""
    with closing(sqlite3.connect(path)) as file:
        for statement in statements:
            file.execute(statement)
        file.commit()


async def test_a_file_of_the_version_before_goes_on(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "file", server.url, TOKEN) as client:
        await client.create("Lead", "l1", {"name": "Ada"})
    former = [f"ALTER TABLE replica DROP COLUMN {name}" for name in ("owner", "token")]
    altered(tmp_path / "file", *former, "PRAGMA user_version = 1")
    async with RecordsClient(tmp_path / "file", server.url, TOKEN) as client:
        assert len(await client.pending()) == 1
        assert (await client.sync()).error is None
    server.people[BOB] = "bob"
    async with RecordsClient(tmp_path / "file", server.url, BOB) as client:
        assert isinstance((await client.sync()).error, FileOfAnother)


async def test_another_persons_token_sends_and_reads_nothing_of_a_file(server: RecordsServer, tmp_path: Path) -> None:
    """Also where the server does not know the replica yet, since it has only pulled."""
    server.people[BOB] = "bob"
    server.write("Lead", "l1", name="Ada")
    async with RecordsClient(tmp_path / "file", server.url, TOKEN) as client:
        await client.sync()
        await client.create("Lead", "l2", {"name": "Eve"})
    async with RecordsClient(tmp_path / "file", server.url, BOB) as client:
        for _ in range(2):
            done = await client.sync()
            assert isinstance(done.error, FileOfAnother)
            assert "another person's than the token" in str(done.error)
        status = await client.status()
        assert (status.pending, status.online, status.last_error) == (1, False, "file-of-another")
        assert await data_of(client, "l1") == {"name": "Ada"}
        assert server.pushes == []
        client.use_token(TOKEN)
        assert (await client.sync()).synced == 1


async def test_a_new_token_of_the_same_person_goes_on(server: RecordsServer, tmp_path: Path) -> None:
    newer = "fmt_" + "n" * 43
    server.people[newer] = "alice"
    async with RecordsClient(tmp_path / "file", server.url, TOKEN) as client:
        await client.create("Lead", "l1", {"name": "Ada"})
        await client.sync()
    async with RecordsClient(tmp_path / "file", server.url, newer) as client:
        await client.create("Lead", "l2", {"name": "Eve"})
        pulls = server.pulls
        assert (await client.sync()).error is None
        assert server.pulls == pulls + 2, "one to learn whose it is"
    async with RecordsClient(tmp_path / "file", server.url, newer) as client:
        assert (await client.sync()).error is None
        assert server.pulls == pulls + 3, "and it is known from then on"


async def test_a_token_that_cannot_be_asked_about_sends_nothing(server: RecordsServer, tmp_path: Path) -> None:
    async with RecordsClient(tmp_path / "file", server.url, TOKEN) as client:
        await client.sync()
        await client.create("Lead", "l1", {"name": "Ada"})
        client.use_token(BOB)
        done = await client.sync()
        assert (done.error is not None and done.error.code, server.pushes) == ("http-401", [])


async def test_the_file_is_for_its_owner_alone(client: RecordsClient, tmp_path: Path) -> None:
    await client.create("Lead", "l1", {"name": "Ada"})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


async def test_two_programs_share_a_file(server: RecordsServer, tmp_path: Path) -> None:
    path = tmp_path / "shared"
    async with RecordsClient(path, server.url, TOKEN) as one, RecordsClient(path, server.url, TOKEN) as two:
        await asyncio.gather(*(one.create("Lead", f"a{n}", {"n": n}) for n in range(40)))
        await asyncio.gather(*(two.create("Lead", f"b{n}", {"n": n}) for n in range(40)))
        done = await asyncio.gather(one.sync(), two.sync())
        assert [round_.error for round_ in done] == [None, None]
        assert len(await one.list("Lead")) == len(await two.list("Lead")) == 80
    assert set(server.applied.values()) == {1}


async def test_a_write_that_its_caller_gave_up_is_done_or_not_but_never_in_part(client: RecordsClient) -> None:
    for number in range(50):
        task = asyncio.create_task(client.create("Lead", f"l{number}", {"n": number}))
        await asyncio.sleep(0)
        task.cancel()
    records = {one.id for one in await client.list("Lead")}
    assert records == {one.record_id for one in await client.pending()}

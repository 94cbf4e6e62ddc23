"""The file of a backup: what is not whole, or is no backup, is said and not believed."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.operator.backup import container
from daemon.operator.backup.container import DUMP, EVENTS, FILES, FORMAT, Manifest, NotABackup, Writer, check

AT = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
DEEP = FILES + "archive/" + "/".join(["long" * 20] * 4) + "/note.ogg"
PARTS = {EVENTS: [], DUMP: [b"x" * 511, b"y" * 2000], FILES + "admin-token": [b"t" * 512], DEEP: [b"", b"audio"]}


async def some(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def written(path: Path, format: int = FORMAT) -> Manifest:
    with path.open("w+b") as file:
        writer = Writer(file)
        for name, chunks in PARTS.items():
            await writer.add(name, some(chunks))
        manifest = Manifest(format, AT, "1.2.3", 18, 29, 16, 0, 0, writer.parts)
        writer.close(manifest)
    return manifest


async def test_what_is_written_is_read_and_is_a_plain_tar(tmp_path: Path) -> None:
    manifest = await written(tmp_path / "b")
    assert check(tmp_path / "b") == manifest
    assert manifest.files == ["admin-token", DEEP.removeprefix(FILES)]
    with tarfile.open(tmp_path / "b") as tar:
        found = {m.name: b"".join(container.chunks(tar, m)) for m in tar}
        assert {m.mode for m in tar} == {0o600}
    assert json.loads(found.pop(container.MANIFEST))["ferryman"] == "1.2.3"
    assert found == {name: b"".join(chunks) for name, chunks in PARTS.items()}


async def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    await written(tmp_path / "b")
    content = (tmp_path / "b").read_bytes()
    end = len(content.rstrip(b"\0"))
    for length in [*range(0, end, 97), end - 1]:
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(NotABackup, match="take another one"):
            check(tmp_path / "cut")


async def test_a_changed_byte_of_any_part_is_noticed(tmp_path: Path) -> None:
    await written(tmp_path / "b")
    content = bytearray((tmp_path / "b").read_bytes())
    for text in (b"xxx", b"yyy", b"ttt", b"audio", b"1.2.3"):
        at = content.index(text)
        changed = content[:at] + b"Z" + content[at + 1 :]
        (tmp_path / "changed").write_bytes(changed)
        if text == b"1.2.3":  # the version is a word for people
            assert check(tmp_path / "changed").ferryman == "Z.2.3"
            continue
        with pytest.raises(NotABackup, match="damaged"):
            check(tmp_path / "changed")


async def test_a_backup_of_a_newer_program_is_refused_with_its_version(tmp_path: Path) -> None:
    await written(tmp_path / "b", format=FORMAT + 1)
    with pytest.raises(NotABackup, match=r"newer Ferryman \(1\.2\.3\)"):
        check(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096, b"PGDMP" * 500])
def test_what_is_no_backup_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(NotABackup, match="no backup"):
        check(tmp_path / "b")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "files/../../x", "files//x"])
def test_a_part_that_would_leave_its_place_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "b", "w") as tar:
        told = tarfile.TarInfo(name)
        tar.addfile(told)
    with pytest.raises(NotABackup, match="no backup holds"):
        check(tmp_path / "b")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotABackup, match="cannot be read"):
        check(tmp_path / "nowhere")

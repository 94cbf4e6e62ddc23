"""The seal: what the first key closes any key opens, and nothing else does."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from daemon.settings.model import Settings
from daemon.stores.seal import KEY_FILE, NoKey, NotOpened, Seal, key_id, keys_of, seal_of

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
VALUES: Final = {"token": "whapi-token-0123456789"}


def test_what_is_sealed_shows_nothing_and_is_opened_by_any_of_the_keys() -> None:
    sealed = Seal([OLD]).close("whapi", "default", VALUES)
    assert b"whapi" not in sealed
    assert Seal([NEW, OLD]).open("whapi", "default", sealed) == VALUES
    assert Seal([NEW, OLD]).key_id == key_id(NEW) != key_id(OLD)


@pytest.mark.parametrize("name", [("whapi", "second"), ("cgb", "default")])
def test_a_row_that_was_moved_to_another_account_is_not_opened(name: tuple[str, str]) -> None:
    with pytest.raises(NotOpened, match="another account"):
        Seal([OLD]).open(*name, Seal([OLD]).close("whapi", "default", VALUES))


def test_a_wrong_key_a_changed_byte_and_another_shape_are_not_opened() -> None:
    seal = Seal([OLD])
    sealed = seal.close("whapi", "default", VALUES)
    shapes = [
        Fernet(OLD).encrypt(body)
        for body in (b"", b"[]", b"null", b"{}", b'{"provider":"whapi","account":"default","values":7}')
    ]
    for bad in (Seal([NEW]).close("whapi", "default", VALUES), sealed[:-9] + b"AAAAAAAA=", b"", b"\x00", *shapes):
        with pytest.raises(NotOpened):
            seal.open("whapi", "default", bad)


def settings(data: Path, *keys: str, external: bool = False) -> Settings:
    url = SecretStr("postgresql://db.example/f") if external else None
    return Settings(ferryman_data_dir=data, ferryman_secret_key=tuple(map(SecretStr, keys)), database_url=url)


def test_a_key_is_made_once_for_an_embedded_database_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="FERRYMAN_SECRET_KEY"):
        seal_of(settings(tmp_path))
    with ThreadPoolExecutor(8) as threads:
        made = {seal.key_id for seal in threads.map(lambda _: seal_of(settings(tmp_path), make=True), range(8))}
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (key,) = keys_of(settings(tmp_path))
    assert keys_of(settings(tmp_path, NEW)) == (NEW, key), "what it has encrypted can still be read"


def test_no_key_is_made_where_the_database_is_not_embedded(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="openssl"):
        seal_of(settings(tmp_path, external=True), make=True)
    assert list(tmp_path.iterdir()) == []
    assert seal_of(settings(tmp_path, NEW, external=True)).key_id == key_id(NEW)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a key"])
def test_a_file_that_holds_no_key_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(NoKey, match=os.fspath(tmp_path)):
        seal_of(settings(tmp_path), make=True)

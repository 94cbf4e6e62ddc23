"""Who may use the embedded servers: this user by its password, and no other program of the machine."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from daemon.stores.embedded.servers import Servers, embedded, in_use
from tests.support.embedded_owner import ORDINARY, Owner, kept, write
from tests.support.servers import memory, open_directory

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs postgres as another user")
NOBODY = 65534

# connects to each socket, and asks Postgres for a session without a password
INTRUDER = """
import json, socket, sys
said = []
for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        try:
            line.connect(path)
        except OSError as exc:
            said.append(type(exc).__name__)
            continue
        if path.endswith("valkey.sock"):
            line.sendall(b"PING\\r\\n")
        else:
            words = b"user\\0ferryman\\0database\\0ferryman\\0\\0"
            line.sendall((len(words) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + words)
        said.append(line.recv(64).hex())
print(json.dumps(said))
"""


def sockets(servers: Servers) -> list[str]:
    place = parse_qs(urlsplit(str(servers.database_url)).query)["host"][0]
    return [str(servers.redis_url).removeprefix("unix://"), f"{place}/.s.PGSQL.5432"]


def tried(servers: Servers, uid: int) -> list[str]:
    """What a process of the user *uid* gets from Valkey and from Postgres."""
    ran = subprocess.run(
        ["/usr/bin/env", "python3", "-c", INTRUDER, *sockets(servers)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.defpath},
        user=uid,
        group=uid,
        extra_groups=[],
    )
    if ran.returncode:
        pytest.skip(f"this user cannot run Python: {ran.stderr}")
    found: list[str] = json.loads(ran.stdout)
    return found


async def refused(url: str | None) -> bool:
    try:
        conn = await asyncpg.connect(url)
    except asyncpg.InvalidPasswordError:
        return True
    except asyncpg.InvalidAuthorizationSpecificationError:
        return True
    await conn.close()
    return False


async def test_postgres_refuses_a_local_connection_without_the_password_or_with_another(memory_path: Path) -> None:
    async with embedded(memory_path / "data", redis=False, fsync=False) as servers:
        at = urlsplit(str(servers.database_url))
        assert at.password
        assert not await refused(servers.database_url)
        for secret in ("", ":another"):
            for user in ("ferryman", "postgres"):
                assert await refused(at._replace(netloc=f"{user}{secret}@").geturl())
        file = memory_path / "data" / "postgres.password"
        assert (file.read_text().strip(), stat.S_IMODE(file.stat().st_mode)) == (at.password, 0o600)


@root_only
async def test_as_root_no_process_of_another_user_gets_into_either_server() -> None:
    with open_directory(memory()) as top:
        async with embedded(top / "data", fsync=False) as servers:
            assert tried(servers, ORDINARY.uid) == ["PermissionError", "PermissionError"]
            valkey, postgres = tried(servers, NOBODY)
            assert valkey == "PermissionError"
            asked = bytes.fromhex(postgres)
            # R: authentication, 10: by SASL, which is by the password; 0 would let the process in
            assert (asked[:1], asked[5:9]) == (b"R", b"\0\0\0\n")
            # nor can it read the password, or change who may connect
            for name, mode in (("postgres.password", 0o600), ("postgres.access", 0o644)):
                status = (top / "data" / name).stat()
                assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, mode)


async def test_data_that_were_made_without_a_password_get_one_and_lose_nothing(memory_path: Path) -> None:
    data = memory_path / "data"
    async with embedded(data) as servers:
        await write(servers.redis_url, servers.database_url)
        conn = await asyncpg.connect(servers.database_url)
        await conn.execute("ALTER ROLE ferryman PASSWORD NULL")
        await conn.close()
    # as the version before left them
    (data / "postgres" / "pg_hba.conf").write_text("local all all trust\n")
    (data / "postgres" / "ferryman.password").unlink()
    for name in ("postgres.password", "postgres.access"):
        (data / name).unlink()
    for _ in range(2):
        async with embedded(data) as servers:
            assert await kept(servers.redis_url, servers.database_url) == (20, 20)
            assert await refused(urlsplit(str(servers.database_url))._replace(netloc="ferryman@").geturl())


async def test_data_that_were_killed_and_a_lost_password_are_no_obstacle(memory_path: Path) -> None:
    data = memory_path / "data"
    async with embedded(data) as servers:
        await write(servers.redis_url, servers.database_url)
        former = servers.database_url
        assert servers.postgres is not None
        servers.postgres.kill()
    (data / "postgres.password").unlink()
    async with embedded(data) as servers:
        assert servers.database_url != former
        assert await kept(servers.redis_url, servers.database_url) == (20, 20)


async def test_data_of_another_password_get_the_one_at_hand(memory_path: Path) -> None:
    """As after an operator has put a copy of the data in their place."""
    data = memory_path / "data"
    async with embedded(data, redis=False, fsync=False):
        pass
    shutil.copytree(data / "postgres", memory_path / "copy")
    (data / "postgres.password").unlink()
    async with embedded(data, redis=False, fsync=False):
        pass
    shutil.rmtree(data / "postgres")
    shutil.copytree(memory_path / "copy", data / "postgres")
    if os.geteuid() == 0:
        for path in (data / "postgres", *(data / "postgres").rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    async with embedded(data, redis=False, fsync=False) as servers:
        assert not await refused(servers.database_url)


async def test_another_process_of_this_user_finds_the_servers_with_their_password(memory_path: Path) -> None:
    with open_directory(memory()) as top:
        owner = Owner(top / "data")
        try:
            found = in_use(top / "data")
            assert found is not None
            await write(found.redis_url, found.database_url)
        finally:
            owner.end(kill=False)


@root_only
@pytest.mark.parametrize("name", ["ferryman.password", "ferryman.password.new"])
async def test_a_link_in_the_data_is_not_written_through(memory_path: Path, name: str) -> None:
    data, foreign = memory_path / "data", memory_path / "foreign"
    async with embedded(data, redis=False, fsync=False):
        pass
    (data / "postgres" / "ferryman.password").unlink()
    (data / "postgres" / name).symlink_to(foreign)
    foreign.write_text("kept")
    async with embedded(data, redis=False, fsync=False) as servers:
        assert not await refused(servers.database_url)
    assert foreign.read_text() == "kept"

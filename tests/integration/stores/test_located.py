"""Which commands make an installation, and what the others say where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from daemon.cli.main import VERBS
from daemon.settings.model import Settings
from daemon.stores.located import NoInstallation, located_stores
from tests.support.daemons import environment, ferryman

READING = [
    "audit",
    "config show",
    "dead-letters discard --all --dry-run",
    "dead-letters list",
    "dead-letters retry --all --dry-run",
    "dead-letters show 1",
    "doctor",
    "events list",
    "events show IL-1",
    "events tail",
    "migrate --dry-run",
    "orders list",
    "reconcile --dry-run",
    "sync bulk --dry-run",
    "validate +972505550142",
    "orders show IL-1",
    "conversations find",
    "send text +972505550142 hello --dry-run",
    "messages list",
    "messages show 6f1d1b56",
    "messages cancel 6f1d1b56 --dry-run",
    "send reaction +972505550142 wamid.1 👍 --dry-run",
    "send read 6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11",
    "templates list",
    "send automatic IL-1 --dry-run",
    "campaign create n --template t --branch il",
    "campaign start n --yes",
    "campaign status n",
    "campaign list",
    "uncertain list",
    "credentials list",
    "labels create --dry-run",
    "credentials delete whapi --yes",
    "records check",
    "records compact --dry-run",
    "records conflicts",
    "records new-epoch",
    "records resolve 1 --take theirs --dry-run",
    "records erase Lead lead_1 --yes",
    "records replicas",
    "tokens create --user u1",
    "tokens list",
    "tokens revoke 1 --yes",
    "records stats",
    "records sync",
    "records queue",
    "records retry-failed --dry-run",
    "records show Lead lead_1",
    "mappings list",
    "mappings remove 1 --yes",
    "chatwoot setup --dry-run",
    "contacts find ann",
    "contacts show ann",
    "contacts conflicts",
    "contacts merge ann bob --yes",
    "contacts unmerge ann --yes",
    "partitions",
    "partitions 4 --yes",
    "pause cgb",
    "reload",
    "refused list",
    "refused resend 1 --dry-run",
    "refused show 1",
    "replay --missing --dry-run",
    "resume cgb",
    "rules check",
    "rules init --dry-run",
    "send-test orders --url http://127.0.0.1:1",
    "status",
    "workers forget x --dry-run",
    "workers list",
]


@pytest.mark.parametrize("argv", READING)
async def test_a_mistyped_directory_is_said_and_nothing_is_made_there(argv: str, tmp_path: Path) -> None:
    env = environment(FERRYMAN_DATA_DIR="ferrymna", FERRYMAN_PORT=0)
    code, out, err = await ferryman(*argv.split(), cwd=tmp_path, env=env)
    assert list(tmp_path.iterdir()) == []
    if argv.startswith(("doctor", "config", "rules")):
        assert code == 0
    else:
        assert (code, err.count("\n")) == (1, 1)
    if argv.startswith("labels"):
        assert "Chatwoot is not configured" in err, "it asks no store"
    elif not argv.startswith(("config", "rules")):
        told = "no daemon runs on" if argv == "reload" else "no installation in"
        assert f"{told} {tmp_path / 'ferrymna'}" in out + err  # whole: the shell may stand in another folder
        assert "correct FERRYMAN_DATA_DIR" in out + err


def test_every_verb_but_those_that_make_an_installation_is_tried_here() -> None:
    assert {argv.split()[0] for argv in READING} == VERBS.keys() - {"run", "demo"}


async def test_half_an_installation_is_none_where_nothing_may_be_made(tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    with pytest.raises(NoInstallation, match="no installation in"):
        async with located_stores(Settings(ferryman_data_dir=tmp_path), make=False, join=True):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["valkey"]


@pytest.mark.parametrize("verb", ["status", "audit", "doctor"])
async def test_what_the_database_itself_says_is_in_the_line(
    verb: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    head, slash, name = database_url.partition("?")[0].rpartition("/")
    nowhere = database_url.replace(f"{slash}{name}", f"{slash}ferrymna", 1)
    assert nowhere.startswith(head)
    env = environment(
        REDIS_URL=redis_url, DATABASE_URL=nowhere, FERRYMAN_ADMIN_TOKEN="0123456789abcdef" * 2, FERRYMAN_PORT=0
    )
    _, out, err = await ferryman(verb, cwd=tmp_path, env=env)
    assert 'InvalidCatalogNameError 3D000: database "ferrymna" does not exist' in out + err


async def test_an_address_as_a_provider_hands_it_out_works(
    redis: Redis, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    more = "channel_binding=prefer&connect_timeout=3&pgbouncer=true&application_name=shop"
    env = environment(
        REDIS_URL=redis_url + ("&" if "?" in redis_url else "?") + "family=0&decode_responses=true",
        DATABASE_URL=database_url + ("&" if "?" in database_url else "?") + more,
        FERRYMAN_ADMIN_TOKEN="0123456789abcdef" * 2,
        FERRYMAN_PORT=0,
    )
    code, out, err = await ferryman("status", cwd=tmp_path, env=env)
    assert (code, err) == (0, "")
    assert "away" not in out
    _, out, _ = await ferryman("doctor", cwd=tmp_path, env=env)
    assert "the option pgbouncer of DATABASE_URL changes nothing here" in out
    assert "the option family of REDIS_URL changes nothing here" in out

"""The forms of REDIS_URL, and what each makes a client of. Nothing is connected to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from adapters.redis.client import AddressError, client, server_of
from adapters.redis.cluster import Cluster
from daemon.settings.load import SettingsError, load_settings, masked_address


@pytest.fixture
async def made() -> AsyncIterator[Callable[[str], Any]]:
    async with AsyncExitStack() as stack:

        def make(url: str) -> Any:
            redis = client(url, timeout_s=2.0, connections=7)
            close: Callable[[], Awaitable[None]] = redis.aclose
            stack.push_async_callback(close)
            return redis

        yield make


@pytest.mark.parametrize("url", ["redis://:secret@a.example:7000/2", "rediss://a.example", "unix:///run/a.sock?db=1"])
async def test_one_server_s_client_never_repeats_a_command_and_keeps_its_pool_small(
    made: Callable[[str], Any], url: str
) -> None:
    redis = made(url)
    options = redis.connection_pool.connection_kwargs
    assert type(redis) is Redis
    server = server_of(redis)
    assert (server.fails_over, server.serving(["a"]), server.parts(4)) == (False, "", ["bus"])
    assert options["retry"].get_retries() == 0
    assert options["socket_timeout"] == 2.0
    assert redis.connection_pool.max_connections == 7


async def test_a_sentinel_address_names_hosts_service_and_database(made: Callable[[str], Any]) -> None:
    redis = made("redis+sentinel://us%40er:p%2Fw@a.example,b.example:26380,[::1]:7/my%20master/3?sentinel_password=s3")
    pool = redis.connection_pool
    options = pool.connection_kwargs
    assert isinstance(redis, Redis)
    server = server_of(redis)
    assert (server.fails_over, server.parts(4)) == (True, ["bus"])
    assert (pool.service_name, pool.is_master, pool.max_connections) == ("my master", True, 7)
    assert (options["username"], options["password"], options["db"]) == ("us@er", "p/w", 3)
    assert options["retry"].get_retries() == 0
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(o["host"], o["port"]) for o in asked] == [("a.example", 26379), ("b.example", 26380), ("::1", 7)]
    assert {(o["username"], o["password"], o["retry"].get_retries()) for o in asked} == {(None, "s3", 0)}


async def test_a_cluster_address_names_some_of_its_nodes(made: Callable[[str], Any]) -> None:
    redis = made("redis+cluster://user:p%40ss@10.0.0.1,10.0.0.2:7001/0?tls=true")
    server = server_of(redis)
    assert (server.fails_over, server.parts(4)) == (True, ["0", "1", "2", "3"])
    assert isinstance(redis, Cluster)
    assert [(node.host, node.port) for node in redis.startup_nodes] == [("10.0.0.1", 6379), ("10.0.0.2", 7001)]
    assert redis.retry.get_retries() == 0
    options = redis.connection_kwargs
    assert (options["username"], options["password"], options["max_connections"]) == ("user", "p@ss", 7)
    assert options["socket_timeout"] == 2.0


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://user:hunter2@a.example",
        "redis+sentinel://user:hunter2@a.example/service/hunter2",
        "redis+sentinel://user:hunter2@a.example/service/0/more",
        "redis+sentinel://user:hunter2@a.example/service?hunter2=1",
        "redis+cluster://user:hunter2@a.example/1",
        "redis+cluster://user:hunter2@,",
        "redis+cluster://user:hunter2@a.example?tls=hunter2",
        "redis+cluster://user:hunter2@a:b:c",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(AddressError) as refused:
        client(url, timeout_s=2.0)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis+sentinel://u:s3cret@h1:26379,h2:26379/db/0", "redis+sentinel://u:***@h1:26379,h2:26379/db/0"),
        ("redis+cluster://u:s3@cret@h1:6379,h2:6379", "redis+cluster://u:***@h1:6379,h2:6379"),
        ("redis+cluster://:s3cret@h1,h2", "redis+cluster://:***@h1,h2"),
        ("redis+cluster://u:s3cret@h1,u:s3cret@h2", "redis+cluster://u:***@h2"),
        (
            "redis+sentinel://u:s3cret@h1,h2/db?sentinel_password=s3cret&tls=true",
            "redis+sentinel://u:***@h1,h2/db?sentinel_password=***&tls=true",
        ),
    ],
)
def test_an_address_of_several_hosts_is_shown_without_its_passwords(url: str, masked: str) -> None:
    assert masked_address(url) == masked


def test_the_settings_take_every_form_and_name_no_password_of_a_wrong_one() -> None:
    stores = {"DATABASE_URL": "postgresql://db.example/x", "FERRYMAN_ADMIN_TOKEN": "a-token-of-an-operator"}
    for url in (
        "redis+sentinel://u:pw@h1:26379,h2:26379/service/0",
        "redis+cluster://u:pw@h1:6379,h2:6379",
        "rediss://h:6380/1",
        "unix:///run/redis.sock",
    ):
        settings = load_settings(stores | {"REDIS_URL": url}, None)
        assert settings.redis_url is not None
        assert settings.redis_url.get_secret_value() == url
    with pytest.raises(SettingsError) as refused:
        load_settings(stores | {"REDIS_URL": "redis+cluster://u:hunter2@h1:99999,h2"}, None)
    assert "hunter2" not in str(refused.value)

"""Addresses of stores as providers hand them out."""

from __future__ import annotations

import contextlib
import re
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres import address as postgres
from adapters.redis import address as redis
from adapters.redis.client import client

HOST = "postgresql://user:p%2Fw@db.example:5432/orders"


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)


@pytest.mark.parametrize(
    ("given", "used", "ignored"),
    [
        # Neon, Supabase, Heroku and Render, Prisma, a JDBC habit
        ("?sslmode=require&channel_binding=require", "?sslmode=require", ["channel_binding"]),
        ("?pgbouncer=true&connection_limit=1", "", ["pgbouncer", "connection_limit"]),
        ("?sslmode=require&supa=base-pooler.x", "?sslmode=require", ["supa"]),
        ("?connect_timeout=10&application_name=shop", "", ["connect_timeout", "application_name"]),
        ("?schema=ferryman", "?search_path=ferryman", []),
        ("?ssl=true", "?sslmode=require", []),
        ("?options=project%3Dquiet-sea-1", "?options=project%3Dquiet-sea-1", []),
        ("?target_session_attrs=read-write", "?target_session_attrs=read-write", []),
        ("?sslmode=verify-full&sslrootcert=/etc/ca.pem", "?sslmode=verify-full&sslrootcert=/etc/ca.pem", []),
        ("", "", []),
    ],
)
def test_options_of_postgres_are_understood_or_ignored_by_name(given: str, used: str, ignored: list[str]) -> None:
    at = postgres.read(HOST + given)
    assert (at.dsn, list(at.ignored), at.tls) == (HOST + used, ignored, None)
    assert list(postgres.check(HOST + given)) == ignored


@pytest.mark.parametrize(
    "query",
    ["?sslrootcert=system", "?sslmode=verify-full&sslrootcert=system", "?sslmode=verify-full", "?sslmode=verify-ca"],
)
def test_without_a_file_the_server_is_checked_by_what_the_system_trusts(query: str) -> None:
    at = postgres.read(HOST + query)
    assert at.tls is not None
    assert at.tls.verify_mode is ssl.CERT_REQUIRED
    assert at.tls.check_hostname
    assert at.dsn == HOST


def test_libpqs_own_file_of_authorities_counts_as_a_file(tmp_path: Path) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert postgres.read(f"{HOST}?sslmode=verify-full").tls is None


@pytest.mark.parametrize(
    ("given", "used", "ignored"),
    [
        # Upstash and ioredis, redis-py's habits, Heroku, a Celery habit
        ("redis://h:6379?family=0", "redis://h:6379", ["family"]),
        ("redis://:p%40w@h/1?decode_responses=true", "redis://:p%40w@h/1", ["decode_responses"]),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h/0?ssl_cert_reqs=none", []),
        ("redis://h/0?ssl=true", "rediss://h/0", []),
        ("redis://h?tls=false&socket_timeout=5", "redis://h", ["socket_timeout"]),
        ("unix:///run/redis.sock?db=3", "unix:///run/redis.sock?db=3", []),
        ("redis+sentinel://h/main?tls=true&family=4", "redis+sentinel://h/main?tls=true", ["family"]),
        ("redis+cluster://a:1,b:2?protocol=3", "redis+cluster://a:1,b:2", ["protocol"]),
    ],
)
def test_options_of_redis_are_understood_or_ignored_by_name(given: str, used: str, ignored: list[str]) -> None:
    assert redis.read(given) == (used, tuple(ignored))
    client(given, timeout_s=1)


@pytest.mark.parametrize(
    ("read", "url", "why"),
    [
        (redis.read, "redis://h/abc", "the number of a database"),
        (redis.read, "redis://h/0?db=abc", "option db"),
        (redis.read, "redis://h/0?colour=blue", "option colour, which Ferryman does not know"),
        (redis.read, "redis://h/0?ssl_ca_certs=/x", "goes with rediss://"),
        (redis.read, "rediss://h/0?ssl_cert_reqs=maybe", "none, optional, required"),
        (redis.read, "redis+cluster://h?colour=blue", "option colour"),
        (redis.read, "redis://h?tls", "name=value"),
        (postgres.read, f"{HOST}?colour=blue&size=1", "options colour, size"),
        (postgres.read, f"{HOST}?sslmode=full", "verify-full"),
        (postgres.read, f"{HOST}?port=abc", "option port"),
        (postgres.read, f"{HOST}?pgbouncer", "name=value"),
        (postgres.read, "postgresql://u:12?34@h/db", "write ? as %3F"),
    ],
)
def test_what_is_not_known_is_named_in_one_line(read: object, url: str, why: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        read(url)
    assert "\n" not in str(refused.value)


@given(st.text(st.characters(codec="ascii", exclude_characters="#"), max_size=30))
def test_any_options_are_read_or_refused_and_never_break_the_client(query: str) -> None:
    for read, url in ((redis.read, f"redis://h/0?{query}"), (postgres.check, f"{HOST}?{query}")):
        with contextlib.suppress(ValueError):
            read(url)
            if url.startswith("redis"):
                client(url, timeout_s=1)

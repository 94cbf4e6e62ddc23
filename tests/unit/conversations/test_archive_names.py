"""Names of buckets and objects: valid everywhere, of nobody else, and without anything of a person."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.file_types import ENDINGS
from adapters.storage.names import check
from daemon.conversations.archive.names import (
    bucket_name,
    fallback_user,
    file_path,
    file_stem,
    folder_of,
    message_path,
    plain,
)
from schemas.conversations import Chat

AT = datetime(2031, 2, 14, 23, 30, tzinfo=UTC)
CHAT = Chat("chatwoot", "chatwoot:3:481", 3, 481, 12)
USERS = st.text(min_size=1, max_size=40)


@given(st.text(max_size=80), USERS, st.integers(0, 7))
def test_every_bucket_has_a_valid_name(prefix: str, user: str, attempt: int) -> None:
    name = bucket_name(prefix, user, attempt)
    check(name)
    assert len(name) <= 63
    assert user not in name or len(user) < 8 or user in prefix


@given(st.lists(st.tuples(USERS, st.integers(0, 3)), unique=True, max_size=60))
def test_two_users_never_have_one_bucket(users: list[tuple[str, int]]) -> None:
    names = [bucket_name("pacelane-whatsapp", user, attempt) for user, attempt in users]
    assert len(set(names)) == len(users)


def test_users_whose_old_hashes_collide_are_apart() -> None:
    # "Aa" and "BB" have one hashCode in Java, which the names of buckets went by before
    assert bucket_name("p", "AaAa") != bucket_name("p", "BBBB")


def test_a_bucket_is_named_as_operators_know_it() -> None:
    name = bucket_name("pacelane-whatsapp", "account_3")
    assert re.fullmatch(r"pacelane-whatsapp-[0-9a-f]{32}", name)
    assert name == bucket_name("pacelane-whatsapp", "account_3")


@given(st.text(max_size=200), st.text(max_size=200))
def test_every_path_is_one_that_a_store_takes(message: str, file: str) -> None:
    folder = folder_of(CHAT, AT)
    check("demo", message_path(folder, message))
    check("demo", file_path(file_stem(folder, message, file), "image", "image/png"))


@given(st.lists(st.text(max_size=150), unique=True, max_size=30))
def test_two_ids_never_have_one_name(ids: list[str]) -> None:
    assert len({plain(id) for id in ids}) == len(ids)


def test_the_day_is_that_of_utc_wherever_the_clock_is() -> None:
    assert folder_of(CHAT, AT) == folder_of(CHAT, AT.astimezone(timezone(timedelta(hours=9)))) == "2031-02-14/481"


@pytest.mark.parametrize("system", ["meta", "chatwoot"])
def test_a_conversation_without_a_number_of_its_own_shows_no_phone(system: str) -> None:
    assert re.fullmatch(r"2031-02-14/[0-9a-f]{32}", folder_of(Chat(system, f"{system}:1:12025550143"), AT))


@pytest.mark.parametrize(
    ("kind", "content_type", "path"),
    [
        ("audio", "audio/ogg", "whatsapp-audio/s.ogg"),
        ("voice", "video/mp4", "whatsapp-audio/s.mp4"),
        ("document", "audio/mpeg", "whatsapp-audio/s.mp3"),
        ("image", "image/jpeg", "whatsapp-media/s.jpg"),
        ("document", "application/pdf", "whatsapp-media/s.pdf"),
        ("document", "text/html", "whatsapp-media/s.bin"),
        ("document", "application/x-executable", "whatsapp-media/s.bin"),
        ("document", "application/octet-stream", "whatsapp-media/s.bin"),
    ],
)
def test_a_file_is_named_by_what_it_is(kind: str, content_type: str, path: str) -> None:
    assert file_path("s", kind, content_type) == path


def test_every_known_type_has_an_ending() -> None:
    assert not [kind for kind in ENDINGS if file_path("s", "document", kind).endswith(".bin")]


def test_who_is_unknown_has_a_bucket_of_the_account_or_the_system() -> None:
    assert fallback_user("chatwoot", "3") == "account_3"
    assert fallback_user("meta", None) == "account_meta"

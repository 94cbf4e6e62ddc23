"""Secrets of subscribers: rotated, sealed, and never shown by accident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography.fernet import Fernet
from standardwebhooks import Webhook

from adapters.subscribers.signing import headers_of, new_secret
from daemon.stores.seal import NotOpened, Seal
from daemon.subscribers.secrets import MOST_OLD, OLD_FOR, Secret, in_force, opened, rotated, sealed

NOW: Final = datetime(2031, 2, 14, 12, tzinfo=UTC)


def test_a_former_secret_signs_for_a_day_beside_the_new_one() -> None:
    first = [Secret("a")]
    second = rotated(first, "b", NOW)
    assert in_force(second, NOW) == ["b", "a"]
    assert in_force(second, NOW + OLD_FOR) == ["b"]
    third = rotated(second, "c", NOW + timedelta(hours=1))
    assert in_force(third, NOW + timedelta(hours=1)) == ["c", "b", "a"]
    assert in_force(third, NOW + OLD_FOR) == ["c", "b"], "each from the time at which it was replaced"
    assert in_force(rotated(third, "d", NOW + 3 * OLD_FOR), NOW + 3 * OLD_FOR) == ["d", "c"]


def test_there_are_never_more_than_so_many_old_ones() -> None:
    held = [Secret("0")]
    for n in range(30):
        held = rotated(held, str(n + 1), NOW)
    assert len(held) == MOST_OLD + 1
    assert held[0] == Secret("30")
    assert held[1].text == "29"


def test_what_is_sealed_opens_for_its_own_subscriber_alone() -> None:
    seal, held = Seal([Fernet.generate_key().decode()]), [Secret("a"), Secret("b", NOW)]
    text = sealed(seal, "shop", held)
    assert opened(seal, "shop", text) == held
    with pytest.raises(NotOpened):
        opened(seal, "other", text)
    with pytest.raises(NotOpened):
        opened(Seal([Fernet.generate_key().decode()]), "shop", text)
    assert text != b"a"
    assert "'a'" not in repr(held)


def test_every_secret_in_force_signs_and_the_time_is_that_of_the_try() -> None:
    old, new = new_secret(), new_secret()
    at = datetime.now(UTC)
    headers = headers_of("event", "{}", [new, old], at)
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert Webhook(secret).verify("{}", headers) == {}
    assert headers_of("event", "{}", [new], NOW)["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert len({new_secret() for _ in range(100)}) == 100

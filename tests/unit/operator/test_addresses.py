"""The webhooks' addresses as the doctor shows them: whole, with what stands in their way and what has come by each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.postgres.operator.arrivals import NEWEST, Arrival, Arrivals
from adapters.registry import SOURCES
from daemon.operator.addresses import Address, addresses, public_url
from daemon.operator.inspection import Inspection
from daemon.settings.model import Settings

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)


def shown(arrivals: Arrivals | None = None, **given: Any) -> dict[str, Address]:
    inspection = Inspection(version="", settings=Settings(**given), now=NOON, arrivals=arrivals)
    return {one.source: one for one in addresses(inspection, SOURCES)}


def test_every_source_has_an_address_and_a_place_to_enter_it() -> None:
    found = shown(ferryman_public_url="https://ferry.example.com/in")
    assert found.keys() == {source.name for source in SOURCES}
    assert found["meta"].url == "https://ferry.example.com/in/webhooks/meta"
    assert all(one.entered for one in found.values())
    assert {one.url for one in shown().values()} == {None}


def test_what_a_sender_asks_for_before_it_takes_an_address_is_named() -> None:
    assert "META_VERIFY_TOKEN" in shown()["meta"].needs
    given = shown(meta_verify_token=(SecretStr("v" * 16),))
    assert {one.needs for one in given.values()} == {""}


def test_what_has_come_in_is_told_with_how_far_was_looked() -> None:
    came = {"meta": Arrival(7, NOON, 2, "signature")}
    assert shown(Arrivals(came))["meta"].arrived == "7 events"
    assert shown(Arrivals(came))["whapi"].arrived == "nothing yet"
    assert shown(Arrivals(came, whole=False))["whapi"].arrived == f"nothing among the newest {NEWEST} events"
    assert shown()["meta"].arrived == "not known: Postgres is away"
    told = shown(Arrivals(came))["meta"].document()
    assert (told["events"], told["last_at"], told["refused"], told["refused_reason"]) == (7, NOON, 2, "signature")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        (None, "set FERRYMAN_PUBLIC_URL"),
        ("http://127.0.0.1:8080", "no vendor can reach"),
        ("https://10.0.0.7", "no vendor can reach"),
        ("https://ferryman.internal", "no vendor can reach"),
        ("https://ferryman", "no vendor can reach"),
        ("http://ferry.example.com", "https only"),
    ],
)
def test_an_address_that_vendors_cannot_use_is_a_warning(url: str | None, word: str) -> None:
    settings = Settings(ferryman_public_url=url)
    (finding,) = public_url(Inspection(version="", settings=settings, now=NOON))
    assert finding.level == "warn"
    assert word in f"{finding.text} {finding.do}"


def test_an_address_of_the_open_internet_is_no_finding() -> None:
    settings = Settings(ferryman_public_url="https://ferry.example.com")
    assert list(public_url(Inspection(version="", settings=settings, now=NOON))) == []

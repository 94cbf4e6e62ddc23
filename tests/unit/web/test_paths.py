"""A mistyped path leads to the one that is meant."""

from __future__ import annotations

import pytest

from daemon.web.paths import clean, nearest

SERVED = ("/webhooks/orders", "/webhooks/chatwoot", "/webhooks/twilio")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/webhooks/orders/", "/webhooks/orders"),
        ("//webhooks///orders//", "/webhooks/orders"),
        ("/webhooks/orders", "/webhooks/orders"),
        ("/", "/"),
        ("///", "/"),
    ],
)
def test_slashes_too_many_are_taken_off(path: str, meant: str) -> None:
    assert clean(path) == meant


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/webhook/orders", "/webhooks/orders"),
        ("/Webhooks/Orders", "/webhooks/orders"),
        ("/api/webhooks/order", "/webhooks/orders"),
        ("/webhooks/chatwot", "/webhooks/chatwoot"),
        ("/x" * 5000, None),
        ("/", None),
        ("", None),
    ],
)
def test_the_nearest_path_is_one_that_is_alike(path: str, near: str | None) -> None:
    assert nearest(path, SERVED) == near

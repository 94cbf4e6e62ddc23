"""What each provider needs to be known for, besides its sender."""

from __future__ import annotations

from adapters.postgres.deliveries import FAMILIES
from adapters.registry import SENDERS
from daemon.accounts import SCOPES, limit_of
from daemon.messages.rules import HEARD_BY
from daemon.messages.wiring import CHANNELS, lacking
from daemon.settings.model import Settings


def test_every_sender_has_its_channel_its_window_and_its_statuses() -> None:
    assert set(SENDERS) == set(CHANNELS) == set(HEARD_BY)
    assert {provider for family in FAMILIES.values() for provider in family} == set(SENDERS)


def test_every_channel_has_a_scope_of_its_own_and_a_limit() -> None:
    assert len({SCOPES[channel] for channel in CHANNELS}) == len(CHANNELS)
    assert all(limit_of(channel, Settings()).amount > 0 for channel in CHANNELS)


def test_what_a_provider_lacks_is_named_as_it_is_to_be_given() -> None:
    wanted = ["CHATWOOT_BASE_URL", "CHATWOOT_API_ACCESS_TOKEN", "CHATWOOT_ACCOUNT_ID"]
    assert lacking(Settings(), "chatwoot") == wanted

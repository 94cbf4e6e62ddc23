"""Whose files are uploaded, and which servers may be in our own network."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.messages.wiring import own_servers, upload_hosts
from daemon.settings.model import Settings

CHATWOOT = {"chatwoot_base_url": "http://10.0.0.5:3000"}
META = {"meta_phone_number_id": "1060001", "meta_access_token": "token", "meta_graph_url": "http://10.0.0.6/v23.0"}


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, ()),
        ({"ferryman_public_url": "https://Ferry.example.com/in"}, ("ferry.example.com",)),
        ({"ferryman_public_url": "http://127.0.0.1:8080", **CHATWOOT}, ("127.0.0.1:8080", "10.0.0.5:3000")),
        ({"messages_upload_hosts": "files.example.com", **CHATWOOT}, ("files.example.com",)),
        ({"messages_upload_hosts": "*", **CHATWOOT}, ("*",)),
    ],
)
def test_files_are_ours_on_the_hosts_that_are_named_else_on_our_own(given: dict[str, Any], hosts: Any) -> None:
    assert upload_hosts(Settings(**given)) == hosts


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ({}, []),
        ({"meta_graph_url": "http://10.0.0.6/v23.0"}, []),
        (META | CHATWOOT, ["http://10.0.0.5:3000", "http://10.0.0.6/v23.0"]),
        ({"ferryman_public_url": "http://10.0.0.7", "messages_upload_hosts": "10.0.0.8"}, []),
    ],
)
def test_chatwoot_and_the_providers_that_are_configured_may_be_in_our_network_and_nobody_else(
    given: dict[str, Any], servers: list[str]
) -> None:
    assert own_servers(Settings(**given)) == servers

"""Types and parsers for the settings of the operator's pages, as `daemon.settings.values` has those of the others."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator

from daemon.settings.values import one_of, parse_words

LONGEST_NAME: Final = 40

Network: TypeAlias = IPv4Network | IPv6Network


def _networks(value: object) -> tuple[Network, ...]:
    if isinstance(value, tuple | list) and all(isinstance(one, IPv4Network | IPv6Network) for one in value):
        return tuple(value)
    try:
        return tuple(ip_network(word) for word in parse_words(value))
    except ValueError:
        raise ValueError("must be a comma-separated list of addresses or networks, as 10.0.0.0/8,fd00::/8") from None


def _name(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_NAME} printable characters on one line")
    return text


Networks: TypeAlias = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
InstallationName: TypeAlias = Annotated[str, BeforeValidator(_name)]
Colour: TypeAlias = Annotated[
    Literal["blue", "teal", "green", "amber", "orange", "red", "pink", "violet", "grey"],
    one_of("blue", "teal", "green", "amber", "orange", "red", "pink", "violet", "grey"),
]

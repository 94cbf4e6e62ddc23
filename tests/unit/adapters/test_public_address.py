"""Which addresses are of the internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.public_address import is_public

SPECIAL = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
"""What the IANA registry of special addresses has, and Azure's."""

NEAR_THE_EDGES = st.sampled_from(
    [int(edge) + step for net in SPECIAL for edge in (net[0], net[-1]) for step in (-1, 0, 1)]
).filter(lambda number: 0 <= number < 2**32)
IPV4 = st.one_of(st.integers(0, 2**32 - 1), NEAR_THE_EDGES).map(IPv4Address)


def is_special(address: IPv4Address) -> bool:
    return any(address in net for net in SPECIAL)


@given(IPV4)
def test_no_special_ipv4_address_passes_and_no_other_one_is_held_back(address: IPv4Address) -> None:
    assert is_public(str(address)) is not is_special(address)
    if is_public(str(address)):
        assert address.is_global


@given(IPV4, st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
def test_an_ipv4_address_in_an_ipv6_one_is_looked_at_as_itself(address: IPv4Address, outer: str) -> None:
    inside = IPv6Address(int(IPv6Address(outer)) | int(address))
    assert is_public(str(inside)) is is_public(str(address))


@given(IPV4, st.sampled_from(["::", "::ffff:0:0:0", "64:ff9b:1::", "fe80::5efe:0:0"]))
def test_other_forms_that_hold_an_ipv4_address_are_never_public(address: IPv4Address, outer: str) -> None:
    assert not is_public(str(IPv6Address(int(IPv6Address(outer)) | int(address))))


@given(IPV4, st.integers(0, 2**80 - 1))
def test_6to4_and_teredo_are_never_public(address: IPv4Address, rest: int) -> None:
    assert not is_public(str(IPv6Address(0x2002 << 112 | int(address) << 80 | rest)))
    assert not is_public(str(IPv6Address(0x2001_0000 << 96 | rest << 16 | int(address) & 0xFFFF)))


@given(st.integers(0, 2**128 - 1))
def test_a_public_ipv6_address_is_global_unicast(number: int) -> None:
    address = IPv6Address(number)
    if is_public(str(address)) and address.ipv4_mapped is None and number >> 32 != 0x64FF9B << 64:
        assert address.is_global
        assert number >> 125 == 1


@pytest.mark.parametrize("text", ["8.8.8.8", "20.0.0.7", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"])
def test_the_internet_is_public(text: str) -> None:
    assert is_public(text)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "010.0.0.1", "8.8.8.8 ", "8.8.8", "٨.8.8.8", "::1%lo"],
)
def test_what_is_no_address_in_its_plain_form_is_not_public(text: str) -> None:
    assert not is_public(text)

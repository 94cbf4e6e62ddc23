"""How long a voice note is, by its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.understanding.voice_length import seconds_of


def page(granule: int, body: bytes = b"\x01" * 40) -> bytes:
    """A page of Ogg (RFC 3533, section 6), as far as its length is told."""
    return b"OggS\0\0" + granule.to_bytes(8, "little") + b"\0" * 13 + body


HEAD = page(0, b"OpusHead\x01\x01" + (312).to_bytes(2, "little") + b"\0" * 8)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (HEAD + page(48_312), 1.0),
        (HEAD + page(48_312) + page(4 * 48_000 + 312), 4.0),
        (HEAD + page(48_312) + page(2**64 - 1), 1.0),  # the last page ends no packet
        (HEAD + page(48_312) + b"OggS\0\0", 1.0),  # cut
        (HEAD + page(100), None),  # less than is skipped
        (HEAD, None),
        (page(48_000), None),
        (b"ID3" + HEAD + page(48_312), None),
        (b"", None),
    ],
)
def test_the_last_page_tells_the_length(body: bytes, seconds: float | None) -> None:
    assert seconds_of(body) == seconds


@given(st.binary(max_size=500), st.booleans())
def test_no_bytes_do_harm(body: bytes, headed: bool) -> None:
    found = seconds_of(HEAD + body if headed else body)
    assert found is None or 0 <= found < 10**6

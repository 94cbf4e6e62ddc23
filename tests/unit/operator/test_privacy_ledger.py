"""The ledger of erasures is read whole, or it is said which line cannot be."""

from __future__ import annotations

import pytest

from daemon.operator.faults import Unusable
from daemon.operator.privacy.ledger import read

FIRST = b'{"erasure":1,"at":"2026-01-02T03:04:05+00:00","marks":[["key","00ff"]],"pepper":"s"}\n'
LATER = b'{"erasure":1,"at":"2026-01-02T03:04:05+00:00","marks":[["key","00ff"],["order","0a"]],"pepper":"s"}\n'


def test_of_an_erasure_the_last_line_counts_and_a_torn_one_does_not() -> None:
    (one,) = read(FIRST + LATER + b'{"erasure":2,"at"')
    assert one.marks == [("key", b"\x00\xff"), ("order", b"\n")]
    assert one.at.year == 2026


@pytest.mark.parametrize(
    "wrong", [b"nonsense\n", b'{"erasure":1}\n', b'{"at":"x","erasure":1,"marks":[],"pepper":""}\n']
)
def test_a_wrong_line_before_others_is_named(wrong: bytes) -> None:
    with pytest.raises(Unusable, match="line 1 of the ledger"):
        read(wrong + FIRST)

"""Cursors: what is not ours is unreadable, and what is ours says for itself whether it can be gone on from."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.records.feed import Head
from daemon.records.pulling.cursor import Cursor, Unreadable, read_cursor

NUMBER: Final = st.integers(0, 2**63 - 1)
CURSOR: Final = Cursor(feed=uuid4(), epoch=1, seq=50, snap=0, end=0, scope="s", mseq=60, mark=uuid4())
HEAD: Final = Head(feed=CURSOR.feed, epoch=1, seq=90, horizon=0, is_known=True, mseq=60, mark=CURSOR.mark)


@given(
    st.builds(
        Cursor,
        feed=st.uuids(),
        epoch=NUMBER,
        seq=NUMBER,
        snap=NUMBER,
        end=NUMBER,
        scope=st.text(max_size=40),
        mseq=NUMBER,
        mark=st.uuids(),
    )
)
def test_a_cursor_is_read_as_it_was_given(cursor: Cursor) -> None:
    assert read_cursor(str(cursor)) == cursor
    assert str(cursor).replace("-", "").replace("_", "").isalnum(), "it goes into a query as it is"


@given(st.data())
def test_a_cursor_that_was_changed_anywhere_is_unreadable(data: st.DataObject) -> None:
    text = str(CURSOR)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    place, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    raw[place] ^= 1 << bit
    with pytest.raises(Unreadable):
        read_cursor(base64.urlsafe_b64encode(raw).decode())


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_is_no_cursor_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read_cursor(text)


@pytest.mark.parametrize(
    "told", [[], 3, {}, {"v": 1}, {"v": 2}, {"v": 1, "scope": 1}, {"v": 1, "scope": "", "feed": 3}]
)
def test_json_that_is_no_cursor_is_unreadable(told: object) -> None:
    raw = orjson.dumps(told) + b"12345678"
    with pytest.raises(Unreadable):
        read_cursor(base64.urlsafe_b64encode(raw).decode())


@pytest.mark.parametrize(
    ("cursor", "head", "reason"),
    [
        (CURSOR, HEAD, None),
        (CURSOR, HEAD._replace(horizon=50), None),
        (CURSOR, HEAD._replace(horizon=51), "compacted"),
        (replace(CURSOR, snap=55), HEAD._replace(horizon=55), None),
        (replace(CURSOR, snap=55), HEAD._replace(horizon=56), "compacted"),
        (CURSOR, HEAD._replace(is_known=False), "epoch"),
        (CURSOR, HEAD._replace(is_known=False, horizon=60), "compacted"),
        (CURSOR, HEAD._replace(is_known=False, horizon=59), "epoch"),
        (CURSOR, HEAD._replace(seq=59), "epoch"),
        (CURSOR, HEAD._replace(epoch=2), "epoch"),
        (CURSOR, HEAD._replace(feed=UUID(int=1), epoch=2), "feed"),
    ],
)
def test_why_a_cursor_cannot_be_gone_on_from(cursor: Cursor, head: Head, reason: str | None) -> None:
    assert cursor.expired(head) == reason

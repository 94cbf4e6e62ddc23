"""The envelope: what goes in comes out, what is odd is malformed and nothing else, ids follow from what they name."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import NAMESPACE, SCHEMA_VERSION, TOPICS, TYPES, Event, event_id, from_fields, to_fields
from schemas.errors import Malformed
from schemas.partitions import partition_of
from tests.support.toy import NOON, make_event

EVENT: Final = make_event("key-1", 7)
REQUIRED: Final = ("id", "type", "source", "subject", "time", "data")

# what JSON strings from outside can hold once intake has let them through
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=zones | st.just(UTC))  # noqa: DTZ001
events = st.builds(
    Event,
    id=words,
    type=st.sampled_from(sorted(TYPES)),
    source=words,
    subject=words,
    time=times,
    data=st.binary(max_size=300),
    traceparent=words,
    causationid=words,
    replayid=words,
    schemaversion=st.just(SCHEMA_VERSION),
    dataref=st.binary(max_size=16).map(bytes.hex),
    target=words,
)


def stored(event: Event) -> dict[bytes, bytes]:
    """The fields as the stream gives them back."""
    parts = [part if isinstance(part, bytes) else part.encode() for part in to_fields(event)]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@given(events)
def test_an_event_comes_back_from_its_entry_as_it_was(event: Event) -> None:
    assert from_fields(stored(event)) == event


def test_extensions_that_are_not_set_take_no_place() -> None:
    assert set(to_fields(EVENT)[::2]) == {*REQUIRED, "schemaversion"}


def test_an_entry_of_the_first_writers_had_no_version() -> None:
    fields = stored(EVENT)
    del fields[b"schemaversion"]
    assert from_fields(fields) == EVENT


def test_a_field_that_is_not_known_is_passed_over() -> None:
    assert from_fields(stored(EVENT) | {b"later": b"\xff"}) == EVENT


@pytest.mark.parametrize("name", REQUIRED)
def test_an_entry_without_an_attribute_is_malformed(name: str) -> None:
    fields = stored(EVENT)
    del fields[name.encode()]
    with pytest.raises(Malformed):
        from_fields(fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", b"yesterday"),
        ("time", b""),
        ("time", b"2031-03-01T12:00:00"),  # of which zone?
        ("time", b"0001-01-01T00:00:00+14:00"),
        ("time", b"9999-12-31T23:59:59-14:00"),
        ("schemaversion", b"one"),
        ("schemaversion", b""),
        ("schemaversion", b"0"),
        ("schemaversion", b"-99999999999"),
        ("schemaversion", b"9" * 5000),
        ("dataref", b"not hex"),
        *(
            (name, b"\xff")
            for name in ("id", "type", "source", "subject", "time", "traceparent", "causationid", "replayid")
        ),
        *((name, b"a\x00b") for name in ("id", "source", "subject", "traceparent", "causationid", "replayid")),
    ],
)
def test_an_attribute_that_cannot_be_read_or_kept_is_malformed(name: str, value: bytes) -> None:
    with pytest.raises(Malformed):
        from_fields(stored(EVENT) | {name.encode(): value})


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_an_entry_of_a_newer_writer_is_refused_and_the_error_says_why(version: int) -> None:
    with pytest.raises(Malformed, match=f"version {version} is newer"):
        from_fields(stored(EVENT) | {b"schemaversion": str(version).encode()})


names = st.sampled_from([name.encode() for name in (*REQUIRED, "schemaversion", "replayid", "dataref")])
values = st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode(errors="surrogatepass"))


@given(st.dictionaries(names | st.binary(max_size=5), values, max_size=10), st.sets(names), st.booleans())
def test_whatever_an_entry_holds_it_is_an_event_or_malformed(
    garbled: dict[bytes, bytes], missing: set[bytes], ours: bool
) -> None:
    fields = (stored(EVENT) if ours else {}) | garbled
    fields = {name: value for name, value in fields.items() if name not in missing}
    try:
        event = from_fields(fields)
    except Malformed:
        return
    assert event.time.astimezone(UTC)
    assert "\x00" not in event.id + event.subject


def test_the_payload_is_kept_byte_by_byte_and_read_as_json() -> None:
    event = EVENT._replace(data=b'{ "b":1,\n"a" : "\xc3\xa9" }')
    assert from_fields(stored(event)).data == event.data
    assert event.json() == {"b": 1, "a": "é"}
    with pytest.raises(Malformed):
        EVENT._replace(data=b"{").json()


def test_a_large_payload_is_replaced_by_its_reference_and_put_back() -> None:
    away = EVENT.with_reference("00ff")
    assert (away.data, away.dataref) == (b"", "00ff")
    assert from_fields(stored(away)) == away
    assert away.with_data(EVENT.data) == EVENT


def test_every_type_is_carried_by_a_topic_and_every_topic_carries_some() -> None:
    assert set(TYPES.values()) == set(TOPICS)
    assert EVENT.topic == "orders"


# --- ids ---------------------------------------------------------------------


def test_ids_never_change_between_releases() -> None:
    assert event_id("test", "a", "b") == "5013d5ee-f883-594c-b174-709cb0b7939d"
    assert str(NAMESPACE) == "6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11"


identities = st.lists(words, min_size=1, max_size=4).map(tuple)


@given(identities, identities)
def test_one_identity_has_one_id_and_two_have_two(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert uuid.UUID(event_id(*one)).version == 5
    assert (event_id(*one) == event_id(*other)) == (one == other)


@given(words.filter(bool), words.filter(bool), words.filter(bool))
def test_where_one_part_of_an_identity_ends_matters(a: str, b: str, c: str) -> None:
    ids = [event_id(a + b, c), event_id(a, b + c), event_id(a, b, c), event_id(a + b + c)]
    assert len(set(ids)) == 4


def emitted(cause: Event, type: str = "contact.synced", place: int = 0, **kwargs: Any) -> Event:
    return cause.emit(type, place, {"ok": True}, time=NOON, **kwargs)


def test_handling_an_event_again_emits_the_same_ids() -> None:
    later = EVENT.emit("contact.synced", 0, {"ok": False}, time=NOON + timedelta(days=1), subject="key-2")
    assert later.id == emitted(EVENT).id


@given(st.lists(st.tuples(words, st.sampled_from(sorted(TYPES)), st.integers(0, 99), words), min_size=2, unique=True))
def test_the_id_of_an_emitted_event_tells_its_cause_type_place_and_replay(
    origins: list[tuple[str, str, int, str]],
) -> None:
    ids = [emitted(EVENT._replace(id=cause, replayid=replay), type, place).id for cause, type, place, replay in origins]
    assert len(set(ids)) == len(origins)


def test_an_emitted_event_names_its_cause_and_keeps_its_trace_and_key() -> None:
    cause = EVENT._replace(traceparent="00-ab-cd-01", replayid="r1")
    made = emitted(cause)
    assert (made.causationid, made.traceparent, made.subject) == (cause.id, cause.traceparent, cause.subject)
    assert made.source == "ferryman"
    assert made.replayid == ""  # it is for every worker, not only for the replayed one
    assert emitted(cause, subject="key-9").subject == "key-9"


# --- partitions --------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "places"),
    [
        ("key-1", [0, 3, 15, 991]),
        ("chatwoot:1:2", [0, 2, 2, 530]),
        ("+15550100142", [0, 3, 11, 331]),
        ("", [0, 0, 4, 692]),
        ("ключ", [0, 0, 0, 32]),
    ],
)
def test_a_key_stays_in_its_partition_in_every_release(key: str, places: list[int]) -> None:
    assert [partition_of(key, partitions) for partitions in (1, 4, 16, 1024)] == places


@given(words, st.integers(1, 4096))
def test_every_key_has_a_partition(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@pytest.mark.parametrize("partitions", [4, 16, 24])
def test_keys_spread_evenly(partitions: int) -> None:
    counts = Counter(partition_of(f"+1555{n:07d}", partitions) for n in range(24_000))
    expected = 24_000 / partitions
    chi_square = sum((counts[p] - expected) ** 2 / expected for p in range(partitions))
    assert chi_square < 3 * partitions + 20

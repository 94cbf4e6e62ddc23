"""What the guard lets through reads the same everywhere; everything else is NotJson, and says nothing of the input."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.json_guard import MAX_DEPTH, NotJson, parse_object

CANARY = "canary-5c1e"


def nested_arrays(depth: int) -> bytes:
    """An object with arrays in it, *depth* levels altogether."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def nested_objects(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def nested_mixed(depth: int) -> bytes:
    """Arrays and objects in turn, *depth* levels altogether (an odd number)."""
    pairs = (depth - 1) // 2
    return b'{"a":[' * pairs + b"{}" + b"]}" * pairs


def encoded(text: str) -> bytes:
    return text.encode()


HOSTILE = {
    "nan": b'{"a":NaN}',
    "negative nan": b'{"a":-NaN}',
    "infinity": b'{"a":Infinity}',
    "negative infinity": b'{"a":-Infinity}',
    "nan in a list": b'{"a":[1,[NaN]]}',
    "beyond a double": b'{"a":1e999}',
    "beyond a double, negative": b'{"a":-1e999}',
    "just beyond a double": b'{"a":1.7976931348623159e308}',
    "beyond a double without an exponent": b'{"a":' + b"9" * 400 + b".0}",
    "65 levels of arrays": nested_arrays(65),
    "65 levels of objects": nested_objects(65),
    "65 levels of both": nested_mixed(65),
    "65 levels beside a shallow value": b'{"b":1,"a":' + nested_arrays(64) + b"}",
    "1,000 arrays": nested_arrays(1_000),
    "100,000 arrays": nested_arrays(100_000),
    "100,000 objects": nested_objects(100_000),
    "100,001 of both": nested_mixed(100_001),
    "100,000 arrays never closed": b'{"a":' + b"[" * 100_000,
    "2**64": b'{"a":18446744073709551616}',
    "-2**63-1": b'{"a":-9223372036854775809}',
    "2**64 deep inside": b'{"a":[{"b":[18446744073709551616]}]}',
    "an integer of 400 digits": b'{"a":' + b"9" * 400 + b"}",
    "an integer of 5,000 digits": b'{"a":' + b"9" * 5_000 + b"}",
    "a negative integer of 5,000 digits": b'{"a":-' + b"1" * 5_000 + b"}",
    "an integer with a leading zero": b'{"a":01}',
    "U+0000 as a value": rb'{"a":"\u0000"}',
    "U+0000 inside a value": rb'{"a":"x\u0000y"}',
    "U+0000 in a key": rb'{"a\u0000":1}',
    "U+0000 as a key inside": rb'{"a":{"\u0000":1}}',
    "U+0000 in a list": rb'{"a":["x","\u0000"]}',
    "U+0000 in lists of lists": rb'{"a":[1,[["\u0000"]]]}',
    "U+0000 in an object in a list": rb'{"a":[{"b":"\u0000"}]}',
    "U+0000 after an escaped backslash": rb'{"a":"\\\u0000"}',
    "U+0000 raw in a text": b'{"a":"\x00"}',
    "U+0000 between tokens": b'{"a":\x001}',
    "U+0000 at the end": b"{}\x00",
    "a raw line end in a text": b'{"a":"x\ny"}',
    "lone high surrogate": rb'{"a":"\ud800"}',
    "lone low surrogate": rb'{"a":"\udc00"}',
    "surrogates the wrong way round": rb'{"a":"\udc00\ud800"}',
    "lone surrogate in a key": rb'{"\ud83d":1}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a key twice": b'{"a":1,"a":2}',
    "a key twice with one value": b'{"a":1,"a":1}',
    "a key twice inside": b'{"o":{"a":1,"b":2,"a":3}}',
    "a key twice in a list": b'{"l":[[{"a":1,"a":2}]]}',
    "a key twice, once escaped": rb'{"a":1,"\u0061":2}',
    "a key twice, escaped two ways": rb'{"\u00E5":1,"\u00e5":2}',
    "a key twice, once as raw UTF-8": '{"å":1,"\\u00e5":2}'.encode(),
    "a key twice, a surrogate pair and raw": '{"😀":1,"\\ud83d\\ude00":2}'.encode(),
    "the empty key twice": b'{"":1,"":2}',
    "a slash twice, once escaped": rb'{"/":1,"\/":2}',
    "invalid UTF-8": b'{"a":"\xff"}',
    "invalid UTF-8 in a key": b'{"\xc3\x28":1}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "cut UTF-8": b'{"a":"\xe2\x82',
    "Latin-1": '{"a":"å"}'.encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without a mark, little": '{"a":1}'.encode("utf-16-le"),
    "UTF-16 without a mark, big": '{"a":1}'.encode("utf-16-be"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "nothing": b"",
    "blanks": b" \r\n\t",
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a text": b'"a"',
    "an array": b"[]",
    "an object in an array": b'[{"a":1}]',
    "trailing garbage": b"{} x",
    "two objects": b"{}{}",
    "lines of objects": b"{}\n{}",
    "a trailing comma": b'{"a":1,}',
    "a trailing comma in a list": b'{"a":[1,]}',
    "a line comment": b'{"a":1 // note\n}',
    "a block comment": b'/* note */{"a":1}',
    "a hash comment": b'{"a":1} # note',
    "single quotes": b"{'a':1}",
    "a bare key": b"{a:1}",
    "a hexadecimal number": b'{"a":0x10}',
    "a plus sign": b'{"a":+1}',
    "a bare fraction": b'{"a":.5}',
    "Arabic-Indic digits": '{"a":٣}'.encode(),
    "a no-break space": '{"a":\u00a01}'.encode(),
    "an unknown escape": rb'{"a":"\x41"}',
    "cut": b'{"a":',
    "form fields": b"a=1&b=2",
    "XML": b"<a>1</a>",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_not_json_and_never_another_error(body: bytes) -> None:
    with pytest.raises(NotJson):
        parse_object(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b" {} \r\n\t", {}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (b'{"a" : 18446744073709551615, "b": -9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (rb'{"a":"\\u0000"}', {"a": "\\u0000"}),  # a backslash and letters, not U+0000
        (rb'{"a":"\ud83d\ude00"}', {"a": "😀"}),
        (b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}),
        (b'{"a":1,"A":2,"":3}', {"a": 1, "A": 2, "": 3}),
        ('{"e\u0301":1,"\u00e9":2}'.encode(), {"e\u0301": 1, "\u00e9": 2}),  # look alike, and differ
        (b'{"a":1.7976931348623157e308}', {"a": 1.7976931348623157e308}),
        (b'{"a":-0.0,"b":1E2,"c":1e-999}', {"a": 0.0, "b": 100.0, "c": 0.0}),
    ],
)
def test_a_sound_object_is_taken_as_it_is(body: bytes, value: dict[str, Any]) -> None:
    assert parse_object(body) == value


@pytest.mark.parametrize("make", [nested_arrays, nested_objects, nested_mixed])
def test_the_deepest_nesting_that_is_allowed_is_taken(make: Any) -> None:
    depth = MAX_DEPTH if make is not nested_mixed else MAX_DEPTH - 1
    assert parse_object(make(depth)) == orjson.loads(make(depth))
    assert parse_object(make(depth).replace(b":", b" : ")) == orjson.loads(make(depth))


@pytest.mark.parametrize(
    "body",
    [
        encoded(f'{{"{CANARY}":1,"{CANARY}":2}}'),
        encoded(f'{{"a":"{CANARY}\\u0000"}}'),
        encoded(f'{{"{CANARY}\\u0000":1}}'),
        encoded(f'{{"a":"{CANARY}" {CANARY}}}'),
        encoded(f'{{"{CANARY}":NaN}}'),
        encoded(f'{{"{CANARY}":18446744073709551616}}'),
        encoded(f'{{"{CANARY}":"\\ud800"}}'),
        encoded(f'"{CANARY}"'),
        encoded(f'["{CANARY}"]'),
        encoded(CANARY),
        encoded(CANARY) + b"\xff",
        encoded(f'{{"{CANARY}":') + b"[" * 70 + b"]" * 70 + b"}",
    ],
)
def test_the_error_quotes_nothing_of_the_body(body: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        parse_object(body)
    assert CANARY not in str(caught.value)
    assert "18446744073709551616" not in str(caught.value)
    assert 10 < len(str(caught.value)) < 100


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
objects = st.dictionaries(texts, values, max_size=5)


@given(values)
def test_depth_is_what_a_walk_finds_whatever_stands_in_texts(value: Any) -> None:
    def walked(node: Any) -> int:
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return 0 if children is None else 1 + max(map(walked, children), default=0)

    inner = {"[{": value, '"\\': ["]}", "\\"], "\\\\": "[[["}
    deep = MAX_DEPTH - walked(inner)
    for levels, sound in ((deep, True), (deep + 1, False)):
        body = b'{"a":' * levels + json.dumps(inner).encode() + b"}" * levels
        try:
            parse_object(body)
        except NotJson:
            assert not sound
        else:
            assert sound


blanks = st.text(st.sampled_from(" \t\r\n"), max_size=2)


@given(
    objects,
    st.booleans(),
    st.none() | st.integers(0, 3) | st.just("\t"),
    st.builds(lambda a, b, c, d: (f"{a},{b}", f"{c}:{d}"), blanks, blanks, blanks, blanks),
    blanks,
)
def test_whatever_json_dumps_writes_is_taken_and_equals(
    value: dict[str, Any], ascii_only: bool, indent: int | str | None, separators: tuple[str, str], around: str
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators)
    assert parse_object(f"{around}{text}{around}".encode()) == value


@given(objects, st.sampled_from([0, orjson.OPT_INDENT_2, orjson.OPT_SORT_KEYS, orjson.OPT_APPEND_NEWLINE]))
def test_whatever_orjson_writes_is_taken_and_equals(value: dict[str, Any], option: int) -> None:
    assert parse_object(orjson.dumps(value, option=option)) == value


def strict(body: bytes) -> Any:
    """*body* as another parser reads it, told to refuse what the guard promises to refuse."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    def never(word: str) -> None:
        raise AssertionError(word)

    doc = json.loads(body.decode(), object_pairs_hook=unique, parse_constant=never)
    # what Postgres will be asked to hold: neither U+0000 nor surrogates
    written = json.dumps(doc, ensure_ascii=False, allow_nan=False)
    written.encode()
    assert "\\u0000" not in written.replace("\\\\", "")
    return doc


fragments = st.sampled_from(
    [b"{", b"}", b"[", b"]", b":", b",", b'"', b'"a"', rb'"\u0061"', rb"\u0000", rb"\ud800", rb"\\", b"NaN", b"1e999",
     b"-0", b"1" * 25, b"\xff", b"\xef\xbb\xbf", b"\x00", b" ", b"null", b'{"a":1,"a":2}', b'{"":[{}]}']
)  # fmt: skip
likely = st.lists(fragments, max_size=12).map(b"".join)
wrapped = likely.map(lambda inner: b'{"a":1,"b":' + inner + b"}")


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A sound object with some of its bytes replaced."""
    body = json.dumps(draw(objects), ensure_ascii=draw(st.booleans())).encode()
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 4)))
    return body[:start] + draw(st.binary(max_size=4) | fragments) + body[end:]


@given(st.binary(max_size=200) | likely | wrapped | spoilt())
@example(b'{"a":-0}')
@example(rb'{"a":"\\\\u0000"}')
def test_any_bytes_are_either_refused_as_not_json_or_read_alike_by_another_parser(body: bytes) -> None:
    try:
        doc = parse_object(body)
    except NotJson:
        return
    assert doc == strict(body)
    assert isinstance(doc, dict)


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH + 1])
@pytest.mark.parametrize("text", ["a", "[[{{", "]]}}", '\\"[', "\\\\", "\\\\[", "\\/["])
def test_brackets_in_texts_are_no_depth(depth: int, text: str) -> None:
    """However the text is escaped: a quotation mark in it ends nothing."""
    body = (f'{{"{text}": ' * depth + f'"{text}"' + "}" * depth).encode()
    if depth > MAX_DEPTH:
        with pytest.raises(NotJson, match="nested deeper"):
            parse_object(body)
    else:
        parse_object(body)


def test_escaped_slashes_hide_no_doubled_key() -> None:
    for doubled in (b'{"a/":1,"a\\/":1}', b'{"a\\/":1,"a\\/":2}', b'{"\\\\/":1,"\\\\/":1}'):
        with pytest.raises(NotJson, match="twice"):
            parse_object(doubled)
    assert parse_object(b'{"a\\/b":"\\\\\\/"}') == {"a/b": "\\/"}

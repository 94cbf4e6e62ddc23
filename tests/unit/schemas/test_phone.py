"""One function makes phones: these are the readings it owes, and the ones it must refuse."""

from __future__ import annotations

import re
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Malformed
from schemas.identity import IdentityKind, email_identity, key
from schemas.phone import Phone, _read_any, _read_mobile, aliases, parse_phone

CANONICAL = re.compile(r"\+[1-9][0-9]{6,14}")

READINGS = [
    ("972", "0505550142", "972505550142", "trunk zero"),
    ("+972", "50-555-0142", "972505550142", "plus in the code"),
    ("972", "972505550142", "972505550142", "embedded code"),
    ("972", "00972505550142", "972505550142", "exit code and embedded code"),
    ("972", "9720505550142", "972505550142", "zero after the embedded code"),
    ("972", "+9720505550142", "972505550142", "the same with a plus"),
    ("972", "0972505550142", "972505550142", "zero before the embedded code"),
    ("972", "097225551", "97297225551", "landline that begins like the code"),
    ("7", "7015550100", "77015550100", "Kazakh mobile"),
    ("7", "8 701 555 0100", "77015550100", "trunk prefix 8"),
    ("7", "77015550100", "77015550100", "Kazakh with embedded code"),
    ("7", "007 701 555 01 00", "77015550100", "exit code that is not Russia's"),
    ("46", "046-555 01 00", "46465550100", "Lund"),
    ("46", "0046 46 555 01 00", "46465550100", "Lund from abroad"),
    ("91", "9155500100", "919155500100", "national number that begins like the code"),
    ("39", "06 5550 0100", "390655500100", "Italy keeps its zero"),
    ("39", "390655500100", "390655500100", "Italy with embedded code"),
    ("+44", "7700 900123", "447700900123", "Ofcom's drama numbers"),
    ("44", "07700 900123", "447700900123", "drama with trunk zero"),
    ("1", "(555) 012-3456", "15550123456", "Meta's test numbers"),
    ("1868", "620 1234", "18686201234", "calling code with area code"),
    ("00972", "0505550142", "972505550142", "exit code in the code"),
    (972, 505550142, "972505550142", "numbers instead of text"),
    ("972", "+1 212 555 0123", "12125550123", "a plus speaks for itself"),
    ("972", "\u2066050-555-0142\u2069", "972505550142", "direction marks"),
    ("972", "972972505550142", "972505550142", "code twice"),
    ("972", "+972 972 50-555-0142", "972505550142", "code twice with a plus"),
    ("7", "7 7 701 555 0100", "77015550100", "code twice, Kazakhstan"),
    ("7", "+8 701 555 0100", "77015550100", "a plus before the trunk prefix"),
    ("7", "8 (900) 555-01-00", "79005550100", "Russian mobile as it is written there"),
    ("7", "8 10 972 50 555 0142", "972505550142", "Russia's exit code"),
    ("36", "06 20 555 0142", "36205550142", "Hungary's trunk prefix 06"),
    ("375", "8 029 555 0142", "375295550142", "Belarus's trunk prefix 80"),
    ("52", "044 55 5555 0142", "525555550142", "Mexico's prefix of mobiles until 2019"),
    ("52", "+52 01 55 5555 0142", "525555550142", "Mexico's trunk prefix until 2019"),
    ("55", "0 15 11 98555 0142", "5511985550142", "Brazil's trunk prefix and a carrier"),
    ("54", "011 15 5555-0142", "5491155550142", "Argentina's 15 of mobiles"),
    ("49", "0171/5550142", "491715550142", "a slash after the area code"),
    ("49", "033203/55501", "493320355501", "a slash after an area code that could be a number"),
    ("1", "212/555/0142", "12125550142", "slashes between groups"),
]

NO_PHONES: list[Any] = [
    None,
    "",
    "   ",
    "+",
    "0",
    "0000000000",
    "12",
    True,
    -5,
    1.5,
    [],
    {},
    {"code": None, "number": None},
    {"code": "972"},
    {"code": "972", "number": ""},
    {"code": "", "number": ""},
    {"code": "972", "number": "050555014²"},
    {"code": "972", "number": "0505550142 ext. 5"},
    {"code": "972", "number": "0800-FLOWERS"},
    {"code": "972", "number": "447700900123"},
    {"code": "972", "number": ["0505550142"]},
    {"code": "abc", "number": "0505550142"},
    {"code": "999", "number": "0505550142"},
    "9" * 500,
    "+972+505550142",
    {"code": "972", "number": "*31#0505550142"},
    {"code": "972", "number": "0505550142;ext=5"},
    {"code": "972", "number": "0505550142,,5#"},
    {"code": "972", "number": "0505550142x5"},
    {"code": "972", "number": "112"},
    {"code": "49", "number": "11833"},
    {"code": "972", "number": "972505550142-1612345678"},
    "972505550142-1612345678@g.us",
    "+972505550142-1612345678",
    "120363012345678901@g.us",
    {"code": "972", "number": "120363012345678901"},
    120363012345678901,
    {"code": "972", "number": {"0": "0505550142"}},
]


@pytest.mark.parametrize(("code", "number", "digits", "why"), READINGS, ids=[row[3] for row in READINGS])
def test_a_number_has_its_one_sound_reading(code: object, number: object, digits: str, why: str) -> None:
    phone = parse_phone({"code": code, "number": number})
    assert phone is not None
    assert phone.digits == digits
    assert phone == parse_phone(number, code=code)


@pytest.mark.parametrize("raw", NO_PHONES, ids=str)
def test_what_has_no_sound_reading_is_no_phone(raw: object) -> None:
    assert parse_phone(raw) is None
    assert parse_phone(raw, branch="co") is None


@pytest.mark.parametrize(
    ("number", "branch", "e164"),
    [
        ("0505550142", "il", "+972505550142"),
        ("972505550142", "IL", "+972505550142"),
        ("0701740605", "se", "+46701740605"),
        ("8 900 555 0100", "ru", "+79005550100"),
        ("8 701 555 0100", "kz", "+77015550100"),
        ("0505550142", "co", None),
        ("0505550142", "", None),
        ("+972505550142", "co", "+972505550142"),
        ("00972505550142", "co", "+972505550142"),
    ],
)
def test_the_branch_decides_only_where_there_is_no_code(number: str, branch: str, e164: str | None) -> None:
    phone = parse_phone({"code": "", "number": number}, branch=branch)
    assert (phone and phone.e164) == e164
    explicit = parse_phone({"code": "44", "number": "7700900123"}, branch=branch)
    assert explicit is not None
    assert explicit.e164 == "+447700900123"


def test_a_code_that_makes_no_sense_is_not_replaced_by_the_branch() -> None:
    assert parse_phone({"code": "abc", "number": "0505550142"}, branch="il") is None


def test_a_printed_phone_does_not_show_its_number() -> None:
    phone = Phone.parse_e164("+972505550142")
    assert "50555" not in f"{phone} {phone!r} {[phone]}"


@pytest.mark.parametrize("text", ["", "972505550142", "+0505550142", "+97250555014x", "+٩٧٢٥٠٥٥٥٠١٤٢", "+123", "+1\n"])
def test_parse_e164_refuses_what_is_not_canonical_without_repeating_it(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        Phone.parse_e164(text)
    assert not text or text not in str(caught.value)


anything = st.one_of(
    st.text(max_size=30), st.text("0123456789+-() ", max_size=20), st.integers(), st.booleans(), st.none()
)


@given(
    raw=st.one_of(anything, st.fixed_dictionaries({}, optional={"code": anything, "number": anything})),
    code=anything,
    branch=st.sampled_from([None, "il", "se", "ru", "kz", "co", "", "xx"]),
)
def test_any_input_gives_a_canonical_phone_or_none(raw: object, code: object, branch: str | None) -> None:
    phone = parse_phone(raw, code=code, branch=branch)
    if phone is not None:
        assert CANONICAL.fullmatch(phone.e164)
        assert phone.e164.isascii()
        assert parse_phone(phone.e164) == phone


@given(
    code=st.sampled_from(["972", "7", "46", "44", "1", "39", "91", "33", "52", "54", "55"]),
    number=st.from_regex(r"[0-9]{6,12}", fullmatch=True),
)
def test_a_phone_read_again_with_its_own_code_is_the_same(code: str, number: str) -> None:
    phone = parse_phone(number, code=code)
    if phone is not None:
        assert CANONICAL.fullmatch(phone.e164)
        assert parse_phone(phone.e164) == phone
        assert parse_phone(phone.e164, code=code) == phone


SAME = [row for row in READINGS if isinstance(row[1], str)]


@given(row=st.sampled_from(SAME), data=st.data())
def test_formatting_does_not_change_the_number(row: tuple[str, str, str, str], data: st.DataObject) -> None:
    code, number, digits, _ = row
    marks = st.text(" -.()\u00a0\u200e\u2011", max_size=2)
    noisy = "".join(char + data.draw(marks) for char in number[:-2]) + number[-2:] + data.draw(marks)
    phone = parse_phone({"code": data.draw(marks) + code, "number": noisy})
    assert phone is not None
    assert phone.digits == digits


SHORT_NUMBERS = sorted(
    {
        (str(phonenumbers.country_code_for_region(region)), kind.example_number)
        for region in phonenumbers.SUPPORTED_REGIONS
        if (rules := phonenumbers.PhoneMetadata.short_metadata_for_region(region))
        for kind in (rules.emergency, rules.short_code, rules.premium_rate, rules.standard_rate, rules.sms_services)
        if kind and kind.example_number
    }
)


def test_a_short_code_of_any_country_is_no_phone() -> None:
    assert len(SHORT_NUMBERS) > 200
    for code, number in SHORT_NUMBERS:
        assert parse_phone(number, code=code) is None, (code, number)


def test_the_key_is_the_strongest_identity() -> None:
    phone = Phone.parse_e164("+972505550142")
    assert key(phone=phone, email="a@example.com", order_id="IL1") == "+972505550142"
    assert key(email=" Noa@Example.com ", order_id="IL1") == "email:noa@example.com"
    assert key(email=" ", order_id="IL1") == "order:IL1"
    assert key(chat_id="120363000000000001@g.us", message_id="P-1") == "chat:120363000000000001@g.us"
    assert key(chat_id=" ", message_id="P-1") == "message:P-1"
    with pytest.raises(ValueError, match="no identity"):
        key()


def test_an_identity_shows_only_its_kind() -> None:
    identity = email_identity(" Noa@Example.com ")
    assert (identity.kind, identity.value) == (IdentityKind.EMAIL, "noa@example.com")
    assert "noa" not in repr(identity).lower()


@given(text=st.text(min_size=1).filter(str.strip))
def test_a_key_is_never_longer_than_an_index_takes(text: str) -> None:
    for long in (text, text * 3000):
        assert len(key(email=long)) <= 300
        assert key(email=long) != key(email=long + "x")
        assert key(email=long) != key(order_id=long)


@pytest.mark.parametrize("number", ["+5215555550142", "+5511985550142", "+541155550142", "+551185550142"])
def test_all_notations_of_a_line_have_one_key(number: str) -> None:
    assert len({key(phone=Phone.parse_e164(notation)) for notation in aliases(number)}) == 1
    assert key(phone=Phone.parse_e164(number)) in aliases(number)


MOBILES = {
    str(example.country_code): phonenumbers.national_significant_number(example)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (example := phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE))
}


@st.composite
def nearly_mobiles(draw: st.DrawFn) -> tuple[str, str, str | None]:
    """(number, calling code, region) as `_read` gets them: a country's mobile with some digits changed and prefixes."""
    code = draw(st.sampled_from(sorted(MOBILES)))
    digits = list(MOBILES[code])
    for place, digit in draw(st.lists(st.tuples(st.integers(0, len(digits) - 1), st.sampled_from("0123456789")))):
        digits[place] = digit
    prefix = draw(st.sampled_from(["", "", "0", "8", "1", "00", "+", code, f"0{code}", f"00{code}"]))
    end = draw(st.sampled_from(["", "", "", "0", "55"]))
    region = draw(st.sampled_from([None, "IL", "SE", "RU", "KZ"]))
    return prefix + "".join(digits) + end, "" if region else code, region


@settings(max_examples=500)
@given(nearly_mobiles())
def test_the_short_way_of_a_mobile_says_what_the_library_says(typed: tuple[str, str, str | None]) -> None:
    short = _read_mobile(*typed)
    assert short is None or short == _read_any(*typed)


@pytest.mark.parametrize("code", ["972", "46", "7", "44", "91", "49", "33"])
def test_the_short_way_takes_the_common_mobiles(code: str) -> None:
    numbers = ["9123456789", "7015550100"] if code == "7" else [MOBILES[code]]
    trunk = {"7": "8"}.get(code, "0")
    for number in numbers:
        for text in (number, trunk + number):
            expected = None if code == "44" else f"+{code}{number}"  # two trunk prefixes: the library's business
            assert _read_mobile(text, code, None) == expected

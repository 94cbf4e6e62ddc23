"""Phone numbers in canonical form, and the only function that reads one from what people typed.

A wrong guess sends a customer's travel plans to a stranger, or makes a second contact for one person. So a text without
a sound reading is *no phone*: it never becomes a sentinel, and never gets a default country.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import phonenumbers

from schemas.errors import Malformed
from schemas.typed_numbers import first_number, in_ascii, plain_digits

BRANCH_REGIONS: Final[Mapping[str, str]] = {"il": "IL", "se": "SE", "ru": "RU", "kz": "KZ"}
"""Region of a Vizi branch, for numbers that come without a country code. `co` sells worldwide and has
none."""

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")

# Ranges that libphonenumber calls invalid because no carrier serves them, and that are nevertheless sound
# addresses: those that regulators keep for drama and documentation (lists of Ofcom and
# Arcep), and +1 555, from which Meta gives out its WhatsApp test numbers. No real phone can be in these ranges.
_RESERVED: Final = re.compile(
    r"\+(?:447700900[0-9]{3}|441632960[0-9]{3}|1555[0-9]{7}|33(?:19900|26191|35301|46571|53649|63998)[0-9]{4})"
)

# As numbers were dialled in Mexico until 2019; libphonenumber no longer knows these prefixes.
_OLD_MEXICO: Final = re.compile(r"(?:52)?(?:01|04[45])([2-9][0-9]{9})")

# Lines with two notations: pattern, the present notation, the other one. Brazil put a 9 before the numbers of
# mobiles, and accounts of WhatsApp that are older keep the number without it. A 9 before a digit below 6 belongs to a
# newer number, and the shorter one is a stranger's landline. Mexico took a 1 away. Argentina has a 9 in mobile numbers
# that are called from abroad.
_TWO_NOTATIONS: Final[Mapping[str, tuple[re.Pattern[str], str, str]]] = {
    "+55": (re.compile(r"\+55([1-9]{2})9?([6-9][0-9]{7})"), "+55{}9{}", "+55{}{}"),
    "+52": (re.compile(r"\+521?([2-9][0-9]{9})"), "+52{}", "+521{}"),
    "+54": (re.compile(r"\+549?((?:11|[23][0-9])[0-9]{8})"), "+549{}", "+54{}"),
}


@dataclass(frozen=True, slots=True, repr=False)
class Phone:
    """A number in canonical E.164 form, `+` and 7 to 15 ASCII digits.

    Its repr and str are masked, so a phone that gets into a log line or an error text by accident does no harm.
    Raises: Malformed when *e164* has another shape.
    """

    e164: str

    def __post_init__(self) -> None:
        if not _E164.fullmatch(self.e164):
            raise Malformed("not an E.164 number")

    @classmethod
    def parse_e164(cls, text: str) -> Phone:
        """The phone of a text that is already canonical: our own tables, events and keys.

        Checks the shape and nothing else; what people or other systems wrote goes through `parse_phone`.
        Raises: Malformed.
        """
        return cls(text)

    @property
    def digits(self) -> str:
        """The number without its plus, as WhatsApp and CGB write it."""
        return self.e164[1:]

    @property
    def line(self) -> str:
        """See `line`."""
        return line(self.e164)

    def __repr__(self) -> str:
        return f"Phone(…{self.e164[-2:]})"

    __str__ = __repr__


def parse_phone(raw: object, *, code: object = None, branch: str | None = None) -> Phone | None:
    """The phone that *raw* means, or None when it means none. Never raises.

    *raw*: text, a whole number, or Vizi's `{"code": …, "number": …}` object. *code*: the country calling code
    that came with it, with or without plus (the object's own code wins). *branch*: the Vizi branch, whose
    region is taken only when there is no code at all; a code that makes no sense is not replaced by a guess.
    A number that starts with `+` or `00` speaks for itself. Of two numbers in one field the first counts where it
    is valid alone, and otherwise none.
    """
    if isinstance(raw, dict):
        code = raw.get("code") if plain_digits(raw.get("code")) != "" else code
        raw = raw.get("number")
    number, calling_code = plain_digits(raw), plain_digits(code)
    if number is None or calling_code is None:
        return _parse_odd(raw, code, branch)
    e164 = _read(number, _bare_code(calling_code), None if calling_code else _home_of(branch)) if number else None
    return Phone(e164) if e164 else None


def _parse_odd(raw: object, code: object, branch: str | None) -> Phone | None:
    """The result of `parse_phone` for digits of other scripts, and for a field that may hold two numbers."""
    calling_code = plain_digits(in_ascii(code))
    if calling_code is None:
        return None
    bare, region = _bare_code(calling_code), None if calling_code else _home_of(branch)
    e164 = first_number(in_ascii(raw), lambda number: _read(number, bare, region))
    return Phone(e164) if e164 else None


def _bare_code(calling_code: str) -> str:
    return calling_code.replace("+", "").lstrip("0")


def _home_of(branch: str | None) -> str | None:
    return BRANCH_REGIONS.get(branch.strip().lower()) if branch else None


def aliases(e164: str) -> tuple[str, ...]:
    """Every notation under which WhatsApp may know the line of *e164*, which itself comes first.

    They serve to find a person. No alias takes the place of a stored number: WhatsApp alone knows which one it uses.
    """
    if (two := _TWO_NOTATIONS.get(e164[:3])) is None or (found := two[0].fullmatch(e164)) is None:
        return (e164,)
    written = (notation.format(*found.groups()) for notation in two[1:])
    return e164, *(other for other in written if other != e164)


def is_reserved(phone: Phone) -> bool:
    """Whether *phone* is in a range that is kept for tests and documentation, and that no person has."""
    return _RESERVED.fullmatch(phone.e164) is not None


def line(e164: str) -> str:
    """The one notation that stands for all aliases of *e164*, where they must count as one. It is no address."""
    if (two := _TWO_NOTATIONS.get(e164[:3])) is None or (found := two[0].fullmatch(e164)) is None:
        return e164
    return two[1].format(*found.groups())


@lru_cache(maxsize=4096)
def _read(number: str, code: str, region: str | None) -> str | None:
    """The canonical form of the first sound reading, or None."""
    return _read_mobile(number, code, region) or _read_any(number, code, region)


def _read_mobile(number: str, code: str, region: str | None) -> str | None:
    """The result of `_read_any` for a plain mobile number as dialled at home, in a tenth of its time; None for any
    number that needs `_read_any` itself.

    The intake reads a phone for every order. Numbers that the library may read in two ways (an exit code, an embedded
    country code, a trunk prefix that could belong to the number) are left to the library.
    """
    home = _home(code, region)
    if home is None or not number.isdigit() or home.exit_code.match(number):
        return None
    national = number
    with_code, with_trunk = number.startswith(home.code), home.trunk and number.startswith(home.trunk)
    if with_code or with_trunk:
        whole = len(number) in home.lengths and home.any_number.fullmatch(number)
        if (with_code and not whole) or (with_trunk and whole):
            return None
        national = number[len(home.trunk) :] if with_trunk else number
    for mobile in home.mobiles:
        if mobile.fullmatch(national):
            return f"+{home.code}{national}"
    return None


@dataclass(frozen=True, slots=True)
class _Home:
    """How numbers are dialled in a country and those that share its calling code, by libphonenumber's metadata.

    any_number, lengths: of a number without its trunk prefix. mobiles: a pattern per country.
    """

    code: str
    trunk: str
    exit_code: re.Pattern[str]
    any_number: re.Pattern[str]
    lengths: frozenset[int]
    mobiles: tuple[re.Pattern[str], ...]


@lru_cache(maxsize=512)
def _home(code: str, region: str | None) -> _Home | None:
    """The rules of *region*, or else of the main region of *code*. None where a plain number may have several readings:
    in a region that is not the main one of its calling code, or whose trunk prefix is not fixed digits."""
    region = region or _region_of(code)
    rules = phonenumbers.PhoneMetadata.metadata_for_region(region) if region else None
    if rules is None or rules.country_code is None or rules.general_desc is None:
        return None
    trunk = rules.national_prefix_for_parsing or ""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[rules.country_code]
    any_number = rules.general_desc.national_number_pattern
    if region != regions[0] or rules.national_prefix_transform_rule or not (trunk + "0").isdigit() or not any_number:
        return None
    return _Home(
        code=str(rules.country_code),
        trunk=trunk,
        exit_code=re.compile(rules.international_prefix or "(?!)"),
        any_number=re.compile(any_number),
        lengths=frozenset(rules.general_desc.possible_length),
        mobiles=tuple(pattern for other in regions if (pattern := _mobile(other, len(str(rules.country_code))))),
    )


def _mobile(region: str, code_length: int) -> re.Pattern[str] | None:
    """The pattern of the mobile numbers of *region* that fit into an E.164 number; None where there are none."""
    rules = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if rules is None or rules.general_desc is None or rules.mobile is None:
        return None
    any_number, mobile = rules.general_desc.national_number_pattern, rules.mobile.national_number_pattern
    if any_number is None or mobile is None:
        return None
    lengths = "|".join(f"[0-9]{{{n}}}" for n in rules.mobile.possible_length if 7 <= n + code_length <= 15)
    first = f"(?={rules.leading_digits})" if rules.leading_digits else ""
    return re.compile(f"(?=(?:{lengths})$){first}(?=(?:{any_number})$)(?:{mobile})") if lengths else None


def _read_any(number: str, code: str, region: str | None) -> str | None:
    for text, home in _readings(number, code, region):
        try:
            parsed = phonenumbers.parse(text, home)
        except phonenumbers.NumberParseException:
            continue
        e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        sound = _RESERVED.fullmatch(e164) or phonenumbers.is_valid_number(parsed) or _has_valid_alias(e164)
        if sound and _E164.fullmatch(e164):
            return e164
    return None


def _has_valid_alias(e164: str) -> bool:
    """Whether *e164* is an older notation of a number that the library knows by its present one alone."""
    return any(phonenumbers.is_valid_number(phonenumbers.parse(alias)) for alias in aliases(e164)[1:])


def _readings(number: str, code: str, region: str | None) -> Iterator[tuple[str, str | None]]:
    """(text, home region) for libphonenumber, the likeliest first. A later one counts only when no earlier
    one is valid."""
    bare = number.removeprefix("+")
    if number.startswith("+"):
        yield number, None
    if not code and region:
        code = str(phonenumbers.country_code_for_region(region))
    home = region or _region_of(code)
    if home:
        # As dialled at home. libphonenumber takes the trunk prefix off by the rules of the country (0; 8 in
        # Russia and Kazakhstan; Italy keeps its 0) and an embedded country code only where the number makes
        # no sense with it.
        yield bare, home
    elif code:
        yield f"+{code}{bare}", None  # +1-868 and its like: a calling code together with an area code
    if bare.startswith("00"):
        yield (
            f"+{bare[2:]}",
            None,
        )  # 00 is not the exit code everywhere (Russia: 810), yet people write it everywhere
    unpadded = bare.lstrip("0")
    if code and unpadded.startswith(code):
        yield f"+{unpadded}", None
    if code and unpadded.startswith(code * 2):
        yield f"+{unpadded.removeprefix(code)}", None
    if (code == "52" or number.startswith("+52")) and (old := _OLD_MEXICO.fullmatch(bare)):
        yield f"+52{old[1]}", None


def _region_of(code: str) -> str | None:
    """The main region of a calling code (7: Russia, whose rules are Kazakhstan's as well), or None."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()) if code and len(code) <= 3 else ()
    return regions[0] if regions and regions[0] != "001" else None

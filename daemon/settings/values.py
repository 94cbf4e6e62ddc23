"""What a setting's text may say.

Every parser takes the text, or a value already of its type, as code and tests give it. It raises ValueError
with what is allowed, never with what was given: the value may be a secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, SecretStr

SOURCES: Final = ("orders", "issues", "chatwoot", "cgb", "meta", "360dialog", "twilio", "whapi")
"""Names of the webhook sources, as in their paths."""

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})
_REDIS_SCHEMES: Final = frozenset({"redis", "rediss", "unix", "redis+sentinel", "redis+cluster"})
_POSTGRES_SCHEMES: Final = frozenset({"postgres", "postgresql"})


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number from *low* to *high*, in ASCII digits."""
    allowed = f"must be a whole number from {low} to {high}"

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(allowed)
        return value

    return BeforeValidator(parse)


def seconds(low: float, high: float) -> BeforeValidator:
    """Seconds from *low* to *high*, decimals allowed, in ASCII digits."""
    allowed = f"must be seconds, a number from {low:g} to {high:g}"

    def parse(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(allowed)
        return float(value)

    return BeforeValidator(parse)


def one_of(*words: str) -> BeforeValidator:
    """One of *words*, in any case of letters."""
    allowed = "must be one of: " + ", ".join(words)

    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError(allowed)
        return word

    return BeforeValidator(parse)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return word in _TRUE


def parse_words(value: object) -> tuple[str, ...]:
    """A comma-separated list; spaces around the entries and empty entries do not count."""
    if isinstance(value, str):
        return tuple(word for part in value.split(",") if (word := part.strip()))
    if isinstance(value, tuple | list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("must be a comma-separated list")


def unknown_entries(words: Collection[str], known: Collection[str]) -> str | None:
    """What is wrong with *words* when some are not in *known*, else None. Names places, not the words."""
    wrong = [str(place) for place, word in enumerate(words, 1) if word not in known]
    if not wrong:
        return None
    return f"entry {', '.join(wrong)} of the list is not known; allowed: {', '.join(sorted(known))}"


def _sources(value: object) -> tuple[str, ...]:
    words = parse_words(value)
    if problem := unknown_entries(words, SOURCES):
        raise ValueError(problem)
    return words


def _workers(value: object) -> tuple[str, ...]:
    words = parse_words(value)
    return () if words == ("all",) else words


def _plain(value: object) -> str:
    """Printable ASCII on one line: it travels in a header or a URL."""
    if not isinstance(value, str) or not value.strip() or not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII characters on one line")
    return value.strip()


def _token(value: object) -> SecretStr:
    return SecretStr(_plain(value.get_secret_value() if isinstance(value, SecretStr) else value))


def _secret_list(check: Callable[[str], str]) -> Callable[[object], tuple[SecretStr, ...]]:
    def parse(value: object) -> tuple[SecretStr, ...]:
        if isinstance(value, tuple | list):
            texts = [part.get_secret_value() if isinstance(part, SecretStr) else part for part in value]
            return tuple(SecretStr(check(text)) for text in parse_words(texts))
        return tuple(SecretStr(check(text)) for text in parse_words(value))

    return parse


def _signing(text: str) -> str:
    try:
        decoded = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise ValueError("every entry must be base64, with or without whsec_ in front")
    return text


def _fernet(text: str) -> str:
    # urlsafe_b64decode alone would skip foreign characters instead of refusing them
    decoded = base64.urlsafe_b64decode(text) if re.fullmatch(r"[A-Za-z0-9_-]{43}=", text) else b""
    if len(decoded) != 32:
        raise ValueError("every entry must be a Fernet key: 32 bytes in URL-safe base64, 44 characters")
    return text


def _ports_are_good(netloc: str) -> bool:
    """Whether every host of *netloc* (several are separated by commas) has no port or a possible one."""
    for host in netloc.rpartition("@")[2].split(","):
        port = re.fullmatch(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]*)(?::([0-9]{0,5}))?", host)
        if port is None or int(port[1] or 0) > 65535:
            return False
    return True


def _split(value: object, schemes: Collection[str]) -> SplitResult:
    allowed = "must be an address that starts with " + " or ".join(f"{scheme}://" for scheme in sorted(schemes))
    if not isinstance(value, str) or "://" not in value or re.search(r"\s", value) or not value.isprintable():
        raise ValueError(allowed)
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("must be an address whose host can be read") from None
    if parts.scheme not in schemes:
        raise ValueError(allowed)
    if not _ports_are_good(parts.netloc):
        raise ValueError("must be an address with a port from 1 to 65535; in a password, / ? # are written %2F %3F %23")
    return parts


def _http(value: object) -> str:
    parts = _split(value, ("http", "https"))
    if not parts.hostname:
        raise ValueError("must be an address that names a host")
    # printed by `config show` and joined with paths: neither a secret nor a query belongs in it
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an address without user, password, query and fragment")
    return parts.geturl().rstrip("/")


def _emulator(value: object) -> str:
    text = _plain(value)
    return _http(text if "://" in text else f"http://{text}")


def _dsn(schemes: Collection[str]) -> Callable[[object], SecretStr]:
    def parse(value: object) -> SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        parts = _split(text.strip() if isinstance(text, str) else text, schemes)
        # Postgres may name its socket directory in the query
        if not (parts.hostname or parts.path.strip("/") or parts.query):
            raise ValueError("must be an address that names a host or a socket")
        return SecretStr(parts.geturl() if parts.netloc else str(text).strip())

    return parse


def _phone(value: object) -> str:
    text = value.strip().removeprefix("whatsapp:") if isinstance(value, str) else ""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", text):
        raise ValueError("must be a number like +15550001234, with or without whatsapp: in front")
    return text


def _pem(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or "PRIVATE KEY-----" not in text:
        raise ValueError(r"must be a PEM private key, its line ends as newlines or as \n")
    return SecretStr(text.replace("\\n", "\n"))


def _directory(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("must be the path of a directory")
    return Path(value.strip()).expanduser()


Switch: TypeAlias = Annotated[bool, BeforeValidator(_switch)]
Plain: TypeAlias = Annotated[str, BeforeValidator(_plain)]
Token: TypeAlias = Annotated[SecretStr, BeforeValidator(_token)]
Tokens: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_list(_plain))]
SigningSecrets: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_list(_signing))]
FernetKeys: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_list(_fernet))]
PemKey: TypeAlias = Annotated[SecretStr, BeforeValidator(_pem)]
HttpAddress: TypeAlias = Annotated[str, BeforeValidator(_http)]
Emulator: TypeAlias = Annotated[str, BeforeValidator(_emulator)]
RedisAddress: TypeAlias = Annotated[SecretStr, BeforeValidator(_dsn(_REDIS_SCHEMES))]
PostgresAddress: TypeAlias = Annotated[SecretStr, BeforeValidator(_dsn(_POSTGRES_SCHEMES))]
Phone: TypeAlias = Annotated[str, BeforeValidator(_phone)]
Directory: TypeAlias = Annotated[Path, BeforeValidator(_directory)]
Sources: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_sources)]
Workers: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_workers)]

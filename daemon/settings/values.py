"""Types and parsers for the values of settings.

A parser takes the text of a setting, or a value that has the final type already, as code and tests give it.
It raises ValueError that says what is allowed, in words that follow the name of the setting. The error never
repeats the given value, because that may be a secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, SecretStr

from adapters.postgres import address as postgres_address
from adapters.redis import address as redis_address
from schemas.credentials import NAMED, SECRETS

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
    """A number of seconds from *low* to *high*, with or without decimals, in ASCII digits."""
    allowed = f"must be a number of seconds from {low:g} to {high:g}"

    def parse(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(allowed)
        return float(value)

    return BeforeValidator(parse)


def one_of(*words: str) -> BeforeValidator:
    """One of *words*; upper and lower case are equal."""
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
    """The entries of a comma-separated list, without the spaces around them and without empty entries."""
    if isinstance(value, str):
        return tuple(word for part in value.split(",") if (word := part.strip()))
    if isinstance(value, tuple | list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("must be a comma-separated list")


def _workers(value: object) -> tuple[str, ...]:
    words = parse_words(value)
    return () if words == ("all",) else words


def _branches(value: object) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for word in parse_words(value))
    if not all(re.fullmatch(r"[a-z][a-z0-9_-]{0,19}", word) for word in words):
        raise ValueError("must be a comma-separated list of branches, as il or se")
    return words


def _hosts(value: object) -> tuple[str, ...]:
    words = tuple(word.lower() for word in parse_words(value))
    if not all(word == "*" or re.fullmatch(r"[a-z0-9_.-]{1,253}(?::[0-9]{1,5})?", word) for word in words):
        raise ValueError("must be a comma-separated list of hosts, as files.example.com or chat.local:3000, or *")
    return words


def _accounts(value: object) -> tuple[str, ...]:
    parts = [word.partition("/") for word in parse_words(value)]
    words = tuple(provider.lower() + slash + account for provider, slash, account in parts)
    if not all(NAMED.fullmatch(word) for word in words):
        names = f"{', '.join(SECRETS)}, each alone or with an account, as twilio/second"
        raise ValueError(f"must be a comma-separated list of {names}")
    return words


def _plain(value: object) -> str:
    """Printable ASCII on one line, because the value is sent in a header or a URL."""
    if not isinstance(value, str) or not value.strip() or not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII characters on one line")
    return value.strip()


def _token(value: object) -> SecretStr:
    return SecretStr(_plain(value.get_secret_value() if isinstance(value, SecretStr) else value))


SHORTEST_KEY: Final = 16
"""Characters of a key or token that proves who calls us."""

SHORTEST_SIGNING_SECRET: Final = 24
"""Bytes of a secret that signs webhooks (Standard Webhooks, "Signature scheme")."""


def _key(value: object) -> str:
    text = _plain(value)
    if len(text) < SHORTEST_KEY:
        raise ValueError(f"must be at least {SHORTEST_KEY} characters in each entry; `openssl rand -hex 32` makes one")
    return text


def _own_token(value: object) -> SecretStr:
    return SecretStr(_key(value.get_secret_value() if isinstance(value, SecretStr) else value))


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
    if len(decoded) < SHORTEST_SIGNING_SECRET:
        raise ValueError(
            f"must be a comma-separated list of secrets of at least {SHORTEST_SIGNING_SECRET} bytes in base64,"
            ' each with or without whsec_ in front; `echo "whsec_$(openssl rand -base64 32)"` makes one'
        )
    return text


def _fernet(text: str) -> str:
    # the regular expression is needed: urlsafe_b64decode skips characters that are not base64
    decoded = base64.urlsafe_b64decode(text) if re.fullmatch(r"[A-Za-z0-9_-]{43}=", text) else b""
    if len(decoded) != 32:
        raise ValueError(
            "must be a comma-separated list of Fernet keys, each 32 bytes in URL-safe base64 (44 characters)"
        )
    return text


def _has_valid_ports(netloc: str) -> bool:
    """Whether each host of *netloc* (commas separate several) has no port, or one of at most 65535."""
    for host in netloc.rpartition("@")[2].split(","):
        port = re.fullmatch(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]*)(?::([0-9]{0,5}))?", host)
        if port is None or int(port[1] or 0) > 65535:
            return False
    return True


def _split_address(value: object, schemes: Collection[str]) -> SplitResult:
    allowed = "must be an address that starts with " + " or ".join(f"{scheme}://" for scheme in sorted(schemes))
    if not isinstance(value, str) or "://" not in value:
        raise ValueError(allowed)
    if re.search(r"\s", value) or not value.isprintable():
        raise ValueError(
            "must be an address without spaces and control characters; in a password, write a space as %20"
        )
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("must be an address with a valid host; in a password, write [ ] as %5B %5D") from None
    if parts.scheme not in schemes:
        raise ValueError(allowed)
    if not _has_valid_ports(parts.netloc):
        raise ValueError("must be an address with a port from 1 to 65535; in a password, write / ? # as %2F %3F %23")
    return parts


def _http(value: object) -> str:
    parts = _split_address(value, ("http", "https"))
    if not parts.hostname:
        raise ValueError("must be an address that names a host")
    # `config show` prints it, so it may hold no secret; paths are appended to it, so it may hold no query
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an address without user, password, query and fragment")
    return parts.geturl().rstrip("/")


def _emulator(value: object) -> str:
    text = _plain(value)
    return _http(text if "://" in text else f"http://{text}")


def _dsn(schemes: Collection[str], check: Callable[[str], object]) -> Callable[[object], SecretStr]:
    def parse(value: object) -> SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        parts = _split_address(text.strip() if isinstance(text, str) else text, schemes)
        # a Postgres address may give its socket directory in the query
        if not (parts.hostname or parts.path.strip("/") or parts.query):
            raise ValueError("must be an address that names a host or a socket")
        # geturl() drops the // of an address without a host
        address = parts.geturl() if parts.netloc else str(text).strip()
        check(address)
        return SecretStr(address)

    return parse


def _phone(value: object) -> str:
    text = value.strip().removeprefix("whatsapp:") if isinstance(value, str) else ""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", text):
        raise ValueError("must be a phone number like +15550001234, with or without whatsapp: in front")
    return text


def _pem(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or "PRIVATE KEY-----" not in text:
        raise ValueError(r"must be a PEM private key, with its line ends as newlines or written as \n")
    return SecretStr(text.replace("\\n", "\n"))


def _path_of(what: str) -> BeforeValidator:
    allowed = f"must be the path of {what}"

    def parse(value: object) -> Path:
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ValueError(allowed)
        try:
            return Path(value.strip()).expanduser()
        except RuntimeError:
            raise ValueError(f"{allowed}; it begins with ~, and this user has no home") from None

    return BeforeValidator(parse)


Switch: TypeAlias = Annotated[bool, BeforeValidator(_switch)]
Plain: TypeAlias = Annotated[str, BeforeValidator(_plain)]
Token: TypeAlias = Annotated[SecretStr, BeforeValidator(_token)]
OwnToken: TypeAlias = Annotated[SecretStr, BeforeValidator(_own_token)]
Keys: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_list(_key))]
SigningSecrets: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_list(_signing))]
FernetKeys: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_secret_list(_fernet))]
PemKey: TypeAlias = Annotated[SecretStr, BeforeValidator(_pem)]
HttpAddress: TypeAlias = Annotated[str, BeforeValidator(_http)]
Emulator: TypeAlias = Annotated[str, BeforeValidator(_emulator)]
RedisAddress: TypeAlias = Annotated[SecretStr, BeforeValidator(_dsn(_REDIS_SCHEMES, redis_address.read))]
PostgresAddress: TypeAlias = Annotated[SecretStr, BeforeValidator(_dsn(_POSTGRES_SCHEMES, postgres_address.check))]
Phone: TypeAlias = Annotated[str, BeforeValidator(_phone)]
Directory: TypeAlias = Annotated[Path, _path_of("a directory")]
EnvFile: TypeAlias = Annotated[Path, _path_of("a file")]
Sources: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(parse_words)]


def _zone(value: object) -> str:
    """An IANA time zone, as Asia/Jerusalem."""
    try:
        if isinstance(value, str):
            return ZoneInfo(value).key
    except (OSError, ValueError, KeyError):
        pass  # no such zone, in one of the ways in which zoneinfo says so
    raise ValueError("must be an IANA time zone, as Asia/Jerusalem")


Branches: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_branches)]
Accounts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_accounts)]
Hosts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_hosts)]
Workers: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_workers)]
Zone: TypeAlias = Annotated[str, BeforeValidator(_zone)]

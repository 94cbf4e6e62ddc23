"""The seal on stored credentials: the keys that encrypt them, which are never in the database.

Fernet (https://github.com/fernet/spec): AES-128 in CBC mode under HMAC-SHA256. What is sealed holds the provider and
the account as well, so a row that somebody has moved to another account does not open.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import orjson

from daemon.settings.model import Settings
from schemas.errors import FerrymanError

KEY_FILE: Final = "secret-key"
"""In the data directory: the key of an installation with an embedded database, where the settings give none."""

HOW_TO_MAKE: Final = "`openssl rand -base64 32 | tr +/ -_` makes one, the same for all processes and commands"


class NoKey(FerrymanError):
    """There is no key to encrypt with."""


class NotOpened(FerrymanError):
    """None of the keys opens it."""


class Seal:
    """Encrypts with the first of *keys*, decrypts with any of them. *keys*: at least one, as FERRYMAN_SECRET_KEY has
    them."""

    def __init__(self, keys: Sequence[str]) -> None:
        from cryptography.fernet import Fernet, MultiFernet  # slow to import, and few commands need it

        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self.key_id = key_id(keys[0])

    def close(self, provider: str, account: str, values: Mapping[str, str]) -> bytes:
        """*values* of an account, sealed."""
        document = {"provider": provider, "account": account, "values": dict(values)}
        return self._fernet.encrypt(orjson.dumps(document))

    def open(self, provider: str, account: str, sealed: bytes) -> dict[str, str]:
        """The values of the account. Raises: NotOpened."""
        from cryptography.fernet import InvalidToken

        try:
            document = orjson.loads(self._fernet.decrypt(sealed))
            if (document["provider"], document["account"]) != (provider, account):
                raise NotOpened("it was stored for another account")
            return {str(name): str(value) for name, value in document["values"].items()}
        except (InvalidToken, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise NotOpened("no key of FERRYMAN_SECRET_KEY decrypts it") from None


def key_id(key: str) -> str:
    """What a key is called: a digest, which tells nothing of 32 random bytes."""
    return blake2b(key.encode(), digest_size=4).hexdigest()


def keys_of(settings: Settings) -> tuple[str, ...]:
    """The keys that there are: those of FERRYMAN_SECRET_KEY, then the one that was made for an embedded database.
    Raises: NoKey where the file of that one holds no key, or cannot be read."""
    given = tuple(key.get_secret_value() for key in settings.ferryman_secret_key)
    path = settings.ferryman_data_dir / KEY_FILE
    if settings.database_url is not None:
        return given
    try:
        made = path.read_text().strip()
    except FileNotFoundError:
        return given
    except (OSError, UnicodeDecodeError) as exc:
        raise NoKey(f"{path} cannot be read ({type(exc).__name__}): it holds the key of stored credentials") from exc
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", made):
        raise NoKey(f"{path} holds no key: put it back from a backup")
    return (*given, made)


def seal_of(settings: Settings, *, make: bool = False) -> Seal:
    """The seal of the installation. *make*: make a key where the database is embedded and there is none. Raises:
    NoKey."""
    keys = keys_of(settings)
    if not keys and make and settings.database_url is None:
        _make_key(settings.ferryman_data_dir)
        keys = keys_of(settings)
    if not keys:
        raise NoKey(f"FERRYMAN_SECRET_KEY is not set, and without a key nothing is stored: {HOW_TO_MAKE}")
    return Seal(keys)


def _make_key(data_dir: Path) -> None:
    """Make the key's file, readable by its owner alone. Of two that make it at once, one does."""
    from cryptography.fernet import Fernet

    new = data_dir / f"{KEY_FILE}.{secrets.token_hex(8)}.new"
    try:
        new.touch(mode=0o600)
        new.write_text(Fernet.generate_key().decode() + "\n")
        os.link(new, data_dir / KEY_FILE)  # fails where it is there, whole, by another process
    except FileExistsError:
        pass
    finally:
        new.unlink(missing_ok=True)

"""The password of the embedded PostgreSQL: random, in a file that only its owner may read, and told to no command line.

Without it, every process of the user who runs postgres could use the database; started by root that is `nobody`, whom
other programs are run as, too. Data that were made without a password get one at their next start.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from daemon.stores.embedded.processes import Account

ROUNDS: Final = 1
"""Of the key derivation. More would slow every connection down and protect nothing: the password is random."""

_FILE: Final = "postgres.password"
_DONE: Final = "ferryman.password"
"""In the data: the digest of the password that the role has there. It goes with the data when they are moved."""


def known_password(data_dir: Path) -> str | None:
    """The password of the server on *data_dir*, None where it has none yet."""
    try:
        return (data_dir / _FILE).read_text().strip() or None
    except FileNotFoundError:
        return None


def password_of(data_dir: Path) -> str:
    """The password of the server on *data_dir*, made when there is none."""
    known = known_password(data_dir)
    if known is not None:
        return known
    made = secrets.token_urlsafe(32)
    replace_file(data_dir / _FILE, made + "\n", None)
    return made


def verifier(password: str) -> str:
    """What Postgres keeps in place of *password* (SCRAM-SHA-256, RFC 5803): nobody can log in with it."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ROUNDS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def in_force(data: Path, password: str) -> bool:
    """Whether the role of the database cluster in *data* has *password*."""
    try:
        # not blocking, as the user who runs postgres may have put anything in place of the file
        fd = os.open(data / _DONE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(fd, "rb") as file:
        return file.read(100) == _digest(password).encode()


def note_in_force(data: Path, password: str, account: Account | None) -> None:
    """Note that the role of the database cluster in *data* has *password*."""
    replace_file(data / _DONE, _digest(password), account)


def replace_file(path: Path, text: str, owner: Account | None, *, mode: int = 0o600) -> None:
    """Put a file with *text* at *path* that belongs to *owner* (None: this user); a crash leaves the former one, or the
    new one. A link at its place is replaced, not followed."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, mode)
        file.write(text)
        file.flush()
        os.fsync(fd)
    new.rename(path)


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

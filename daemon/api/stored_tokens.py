"""The stored tokens as the API asks for them: looked up by their digest, and held for a moment."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from adapters.postgres import tokens
from adapters.postgres.pool import Pool, within
from adapters.postgres.tokens import Bearer
from schemas.tokens import digest_of

HOLD_S: Final = 4.0
"""A token that is revoked is refused within five seconds by every process: each looks so often."""

FIND_S: Final = 10.0
"""How long the store may take to tell whose a token is."""

MOST_HELD: Final = 10_000


class _Held(NamedTuple):
    bearer: Bearer
    until: float


class StoredTokens:
    """Tells whom a stored token stands for."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        """Digest -> what was found last; also what is too old to be used."""

    def has_seen(self, token: str) -> bool:
        """Whether it was found before."""
        return digest_of(token) in self._held

    async def find(self, token: str) -> Bearer | None:
        """Whom it stands for; None: there is no such token. Its use is noted. Raises what the store raises;
        TimeoutError after FIND_S."""
        digest, asked_at = digest_of(token), self._clock()
        held = self._held.get(digest)
        if held is not None and asked_at < held.until:
            return held.bearer
        return await within(FIND_S, self._found(digest, asked_at))

    async def _found(self, digest: bytes, asked_at: float) -> Bearer | None:
        found = await tokens.bearer(self._pool, digest)
        if found is None:
            self._held.pop(digest, None)
            return None
        if not found.ended and not found.noted:
            assert found.principal.token is not None
            await tokens.note_use(self._pool, found.principal.token)
        self._hold(digest, found, asked_at)
        return found

    def _hold(self, digest: bytes, found: Bearer, asked_at: float) -> None:
        left_s = HOLD_S if found.ended or found.left_s is None else min(HOLD_S, found.left_s)
        self._held[digest] = _Held(found, asked_at + left_s)
        self._held.move_to_end(digest)
        if len(self._held) > MOST_HELD:
            self._held.popitem(last=False)

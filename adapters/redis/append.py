"""Appends to streams: known to be on disk, and not to an untrusted server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from adapters.redis.server import Fields, Known, Script, Server, Untrusted

Durability: TypeAlias = Literal["always", "waitaof", "none"]


class Appends:
    """Appends to one server, and whether it is trusted.

    A server that starts has forgotten its scripts. So one of this process's own, by which it appends, tells whether the
    server is still the one it knows; a mark among its data tells whether it still has them. A server is untrusted until
    recovery has looked at it, and again when it was started again or emptied. Nothing is appended to it then and
    nothing is read there, as what it has lost goes before what is newer, whichever process took that in.

    *recovers*: this process runs a recovery, which calls `trust`. Without one every server is trusted.
    """

    def __init__(self, server: Server, durability: Durability, *, recovers: bool) -> None:
        self._server = server
        self.durable_by(durability)
        self._known_by: Known = (Script.of_a_process(), "", "")
        self._recovers = recovers
        self._untrusted = recovers
        self._losses = 0

    async def run(self, keys: Sequence[str], entries: Sequence[Fields], *, lost: bool) -> list[bytes]:
        """Append to each of *keys* the entry at its place; returns the entries' ids.

        See `Streams.append`, and for what was *lost* `Streams.restore`.
        """
        if lost or not self._recovers:
            return await self._server.append(keys, entries, wait_for_disk=self._wait_for_disk)
        if self._untrusted:
            raise Untrusted("recovery has yet to look what the server may have lost")
        try:
            return await self._server.append(keys, entries, wait_for_disk=self._wait_for_disk, known_by=self._known_by)
        except Untrusted:
            self._untrusted = True
            raise

    def durable_by(self, durability: Durability) -> None:
        """From now on the server keeps an append so."""
        self._wait_for_disk = durability == "waitaof"

    def trusted_since(self) -> int | None:
        """After which loss the server has been trusted, counted from 0; None while it is untrusted.

        Another number than before says that what this process had put there may be gone.
        """
        return None if self._untrusted else self._losses

    @property
    def mark(self) -> str:
        """The mark that the trusted server has; another one than before says that what was lost is there again."""
        return self._known_by[2]

    async def restarted(self) -> bool:
        """Whether the server was started again, or is untrusted for another reason. Raises: StreamErrors."""
        if self._recovers and not await self._server.knows(self._known_by[0]):
            self._untrusted = True
        return self._untrusted

    def distrust(self) -> None:
        """The server has lost something: it is untrusted until `trust`."""
        self._untrusted = self._recovers

    def trust(self, mark_key: str = "", mark: str = "") -> None:
        """What the server may have lost is there again, for as long as it has *mark* at *mark_key*."""
        self._losses += self._untrusted
        self._untrusted = False
        self._known_by = self._known_by[0], mark_key, mark

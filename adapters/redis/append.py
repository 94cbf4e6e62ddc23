"""Appends to streams: in one round trip, known to be on disk, and not to an untrusted server."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from adapters.redis.client import Command, cluster, packed
from schemas.errors import FerrymanError

_WAITAOF_MS: Final = 1500

REMEMBERED: Final = 5000
"""Entries that we remember to have appended: more than a server that is killed can lose."""

_WAITAOF: Final[Command] = ("WAITAOF", 1, 0, _WAITAOF_MS)

# KEYS: a mark, streams. ARGV: what the mark must be ("": anything), per stream the number of its entry's fields, and
# these. One command and one answer for all: the client takes as long to read an answer as the server to make it.
_APPEND: Final = """
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('UNTRUSTED another mark') end
local ids, at = {}, 2
for n = 2, #KEYS do
  local fields = tonumber(ARGV[at])
  ids[n - 1] = redis.call('XADD', KEYS[n], '*', unpack(ARGV, at + 1, at + fields))
  at = at + fields + 1
end
return ids
"""

Durability: TypeAlias = Literal["always", "waitaof", "none"]

Part: TypeAlias = str | bytes | int


class NotDurable(FerrymanError):
    """The append is not known to be on disk."""


class Untrusted(redis_errors.RedisError):
    """The server was started again, was emptied, or is another one: recovery has yet to look what it may have lost."""


class Appends:
    """Appends on one client, and whether its server is trusted.

    A server that starts has forgotten its scripts. So one of this process's own, by which it appends, tells whether the
    server is still the one it knows; a mark among its data tells whether it still has them. A server that was started
    again or emptied is untrusted until `trust`: nothing is appended to it and nothing is read there, as what it has
    lost goes before what is newer, whichever process took that in. Of a cluster `client.serving` tells the same of a
    restart. *recovers*: this process runs a recovery; without one, nothing would end the distrust, so every server is
    trusted.
    """

    def __init__(self, redis: Redis, durability: Durability, *, recovers: bool) -> None:
        self._redis = redis
        self._durability = durability
        self._script = f"{_APPEND}-- {uuid4()}"
        self._sha = sha1(self._script.encode(), usedforsecurity=False).hexdigest()
        self._loaded = False
        self._recovers = recovers
        self._untrusted = False
        self._losses = 0
        self._mark = ("", "")
        self._remembered: deque[tuple[str, bytes]] = deque(maxlen=REMEMBERED)

    async def run(self, keys: Sequence[str], entries: Sequence[Sequence[Part]], *, lost: bool) -> None:
        """Append to each of *keys* the entry at its place, fields and values by turns. See `Streams.append`."""
        if cluster(self._redis) is not None:
            await self._on_nodes(keys, entries)
            return
        mark_key, mark = self._mark
        arguments: list[Part] = [len(keys) + 1, mark_key, *keys, "" if lost else mark]
        for entry in entries:
            arguments.append(len(entry))
            arguments += entry
        ids = await (self._confirmed("EVAL", _APPEND, *arguments) if lost else self._to_trusted(arguments))
        self._remembered.extend(zip(keys, ids, strict=True))

    async def _to_trusted(self, arguments: Sequence[Part]) -> list[bytes]:
        if not self._loaded:
            await self._load()
        if not self._untrusted:
            try:
                return await self._confirmed("EVALSHA", self._sha, *arguments)
            except redis_errors.NoScriptError:
                if not self._recovers:
                    return await self._confirmed("EVAL", self._script, *arguments)
                self._untrusted = True
            except redis_errors.ResponseError as exc:
                if not str(exc).startswith("UNTRUSTED"):
                    raise
                self._untrusted = True
        raise Untrusted("the server was started again, or emptied")

    async def _confirmed(self, *command: Part) -> list[bytes]:
        """The answer of *command*, once the disk has what it wrote."""
        waits = [packed(*_WAITAOF)] if self._durability == "waitaof" else []
        ids, *confirmed = await self._round_trip([packed(*command), *waits])
        if confirmed and int(confirmed[0][0]) < 1:
            raise NotDurable("Redis did not confirm its append-only file in time")
        found: list[bytes] = ids
        return found

    async def _on_nodes(self, keys: Sequence[str], entries: Sequence[Sequence[Part]]) -> None:
        """As `run`, each node's part in one round trip, and the disk confirmed by each node that wrote."""
        parted = cluster(self._redis)
        assert parted is not None
        wait_for = _WAITAOF if self._durability == "waitaof" else None
        commands: list[tuple[str, Command]] = [
            (key, ("XADD", key, "*", *entry)) for key, entry in zip(keys, entries, strict=True)
        ]
        answers, confirmed = await parted.run(commands, wait_for)
        raise_first(answers)
        if any(int(answer[0]) < 1 for answer in confirmed):
            raise NotDurable("a node of the cluster did not confirm its append-only file in time")

    async def _round_trip(self, commands: Sequence[bytes]) -> list[Any]:
        """What a pipeline does, at half of its CPU time: the client packs in Python and sets a timer per answer.

        Raises: StreamErrors; the first error that the server answered with, after all answers are read.
        """
        pool: Any = self._redis.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(b"".join(commands))
            answers: list[Any] = []
            async with asyncio.timeout(connection.socket_timeout):
                for _ in commands:
                    try:
                        answers.append(await connection.read_response(timeout=math.inf))
                    except redis_errors.ResponseError as exc:
                        answers.append(exc)
        finally:
            await pool.release(connection)
        raise_first(answers)
        return answers

    async def _load(self) -> None:
        client: Any = self._redis
        await client.script_load(self._script)
        self._loaded = True

    def trusted_since(self) -> int | None:
        """After which loss the server has been trusted, counted from 0; None while it is untrusted.

        Another number than before says that what this process had put there may be gone.
        """
        return None if self._untrusted else self._losses

    async def restarted(self) -> bool:
        """Whether the server is not the one that we knew, or was seen to lack something, so that no append goes there
        until `trust`. Of a cluster only the latter. Raises: StreamErrors."""
        if not self._recovers or cluster(self._redis) is not None:
            return self._untrusted
        client: Any = self._redis
        (known,) = await client.script_exists(self._sha)
        if not known:
            self._untrusted = True
            await self._load()  # before anybody looks: should it start again meanwhile, that shows
        return self._untrusted

    def distrust(self) -> None:
        """The server has lost something: it is untrusted until `trust`."""
        self._untrusted = self._recovers

    def trust(self, mark_key: str = "", mark: str = "") -> None:
        """What the server may have lost is there again, for as long as it has *mark* at *mark_key*."""
        self._losses += self._untrusted
        self._untrusted = False
        self._mark = mark_key, mark

    async def lost_the_last(self) -> bool:
        """Whether something of what we appended last is not there. Raises: StreamErrors."""
        pipe = self._redis.pipeline(transaction=False)
        for key, entry_id in self._remembered:
            pipe.xrange(key, min=entry_id, max=entry_id)
        return not all(await pipe.execute())

    def forget(self) -> None:
        """What we appended so far is seen to."""
        self._remembered.clear()


def raise_first(answers: Sequence[Any]) -> None:
    """Raise the first of *answers* that is an error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer

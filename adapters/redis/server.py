"""What the bus asks of Redis where one server and a cluster differ: here of one server, or of Sentinel's master.

The cluster is in `cluster.py`; `client.server_of` tells which of them a client talks to.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final, TypeAlias, cast
from uuid import uuid4

import hiredis
from redis import exceptions as redis_errors
from redis.asyncio import Redis

from schemas.errors import FerrymanError

Part: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Part, ...]

Fields: TypeAlias = Sequence[Part]
"""An entry: fields and values by turns."""

Keyed: TypeAlias = tuple[str, Command]
"""(a key that tells the command's node, command)."""

LOOKED: Final = "ferryman:{bus}:looked"
"""What `Server.look` writes. It holds nothing and runs out by itself."""

WAITAOF: Final[Command] = ("WAITAOF", 1, 0, 1500)
"""Answers, within 1.5 s, whether the append-only file is on disk up to here."""


class NotDurable(FerrymanError):
    """The append is not known to be on disk."""


class Untrusted(redis_errors.RedisError):
    """The server was started again, was emptied, or is another one: recovery has yet to look what it may have lost."""


class Script:
    """A script, and the name under which a server that has it runs it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def of_a_process(cls) -> Script:
        """The script of an append, under a name that no other process uses."""
        return cls(f"{APPEND.source}-- {uuid4()}")


Known: TypeAlias = tuple[Script, str, str]
"""By what a process recognises a server: (a script of the process's own, which the server forgets when it starts; the
key of a mark among its data; the mark)."""

# KEYS: a mark, streams. ARGV: what the mark must be ("": anything), per stream the number of its entry's fields, and
# these. One command and one answer for all: the client takes as long to read an answer as the server to make it.
APPEND: Final = Script("""
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('UNTRUSTED another mark') end
local ids, at = {}, 2
for n = 2, #KEYS do
  local fields = tonumber(ARGV[at])
  ids[n - 1] = redis.call('XADD', KEYS[n], '*', unpack(ARGV, at + 1, at + fields))
  at = at + fields + 1
end
return ids
""")


@dataclass(frozen=True, slots=True)
class Node:
    """One server process. *address*: of a node of a cluster, else "". *ask*: sends a command to this process."""

    address: str
    primary: bool
    ask: Callable[..., Awaitable[Any]]


class Server:
    """One server behind one client. What is awaited raises redis errors, OSError or TimeoutError."""

    fails_over = False
    """Whether another server may take the place of one that was written to, and lack what that answered last."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def serving(self, keys: Iterable[str]) -> str:
        """The addresses of the servers that hold *keys*, as the last command found them; "" where no other can."""
        return ""

    def parts(self, partitions: int) -> list[str]:
        """A hash tag for each part that can lose its data alone."""
        return ["bus"]

    async def nodes(self) -> list[Node]:
        """The server, or every node of a cluster, primaries first: replicas too, as they may be the next primaries."""
        return [Node("", True, cast("Any", self.redis).execute_command)]

    async def given_up(self) -> set[str]:
        """The addresses of nodes that the cluster itself counts as failed."""
        return set()

    async def look(self) -> None:
        """Return when the server has taken a write; of a cluster, when every primary answers.

        A replica answers PING as a primary does.
        """
        await self.redis.set(LOOKED, b"", ex=60)

    async def ask_each(self, *command: Part) -> list[Any]:
        """The answers of all nodes, but of replicas that do not answer."""
        answers = []
        for node in await self.nodes():
            try:
                answers.append(await node.ask(*command))
            except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError):
                if node.primary:
                    raise
        return answers

    def together(self, keys: Iterable[str]) -> list[list[str]]:
        """*keys*, in groups that one command may name."""
        return [found] if (found := list(keys)) else []

    async def run(self, commands: Sequence[Keyed]) -> list[Any]:
        """The answers to *commands*. An error of one node is raised when the other nodes have answered."""
        return [await cast("Any", self.redis).execute_command(*command) for _, command in commands]

    async def wait(self, after: Mapping[str, str], *, block_ms: int) -> bool:
        """Wait until one of the streams has an entry beyond its id (then true), at most *block_ms*. Takes nothing."""
        return bool(await self.redis.xread(cast("Any", dict(after)), count=1, block=block_ms))

    async def knows(self, script: Script) -> bool:
        """Whether the server has *script*, which it has not after a start. It has from now on, so that another start
        shows the next time."""
        client: Any = self.redis
        (known,) = await client.script_exists(script.sha)
        if not known:
            await client.script_load(script.source)
        return bool(known)

    async def append(
        self, keys: Sequence[str], entries: Sequence[Fields], *, wait_for_disk: bool, known_by: Known | None = None
    ) -> list[bytes]:
        """Append to each of *keys* the entry at its place; returns the entries' ids.

        *wait_for_disk*: ask for the confirmation that the answer is not. *known_by*: append nowhere else. Raises:
        NotDurable; Untrusted, with none of them appended.
        """
        script, mark_key, mark = known_by or (APPEND, "", "")
        arguments: list[Part] = [len(keys) + 1, mark_key, *keys, mark]
        for entry in entries:
            arguments.append(len(entry))
            arguments += entry
        waits = [packed(*WAITAOF)] if wait_for_disk else []
        try:
            ids, *confirmed = await self._round_trip([packed("EVALSHA", script.sha, *arguments), *waits])
        except redis_errors.NoScriptError:
            if known_by is not None:
                raise Untrusted("the server was started again") from None
            ids, *confirmed = await self._round_trip([packed("EVAL", script.source, *arguments), *waits])
        except redis_errors.ResponseError as exc:
            if str(exc).startswith("UNTRUSTED"):
                raise Untrusted("the server was emptied") from None
            raise
        if confirmed and int(confirmed[0][0]) < 1:
            raise NotDurable("Redis did not confirm its append-only file in time")
        found: list[bytes] = ids
        return found

    async def _round_trip(self, commands: Sequence[bytes]) -> list[Any]:
        """What a pipeline does, at half of its CPU time: the client packs in Python and sets a timer per answer.

        Raises the first error that the server answered with, after all answers are read.
        """
        pool: Any = self.redis.connection_pool
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


class SentinelServer(Server):
    """The master that the sentinels name."""

    fails_over = True

    def serving(self, keys: Iterable[str]) -> str:
        """See Server."""
        pool: Any = self.redis.connection_pool
        host, port = pool.master_address or ("", 0)
        return f"{host}:{port}"


def packed(*parts: Part) -> bytes:
    """A command as it goes over the wire."""
    command: Any = parts
    made: bytes = hiredis.pack_command(command)
    return made


def raise_first(answers: Sequence[Any]) -> None:
    """Raise the first of *answers* that is an error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer

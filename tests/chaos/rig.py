"""What the chaos tests and commands stand on: servers of their own, real processes, a load, and an oracle.

The load sends each person's orders one after the other, as Vizi does: again until it is told 202. The oracle knows what
was accepted and in which order, and asks the tables and the simulated CGB what became of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.typedefs import Handler
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.postgres import pool as pools
from adapters.postgres.migrate import migrate
from adapters.postgres.pool import Pool, store_is_down
from adapters.redis.streams import StreamErrors
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.sandbox.faults import body_json
from daemon.sandbox.ledger import WRITES, Asked
from daemon.stores.embedded.servers import Servers, embedded
from tests.support.daemons import API_KEY, Running, environment, ferryman, running
from tests.support.until import until

TTL_S: Final = 2
EPOCH: Final = datetime(2031, 3, 1, 9, 0, tzinfo=UTC)
POST_TIMEOUT_S: Final = 20.0
AGAIN_S: Final = 0.05


# --- servers -----------------------------------------------------------------


@contextmanager
def own_servers() -> Iterator[Servers]:
    """A Valkey and a Postgres that nobody else uses and that may be killed; gone afterwards, whatever happens.

    They sync before they answer, as in production. Enter it from the main thread.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ferryman-chaos-", ignore_cleanup_errors=True) as directory,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        Path(directory).chmod(0o711)  # postgres run by root is another user
        stack = AsyncExitStack()
        started = runner.run(stack.enter_async_context(embedded(Path(directory) / "data")))
        try:
            yield started
        finally:
            runner.run(stack.aclose())


def command(main: Callable[[Servers], Awaitable[bool]]) -> int:
    """Run *main* on servers of its own; the exit code is 0 when it says that all is well."""
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # its pool says at length that the server is away
    with own_servers() as servers, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return 0 if runner.run(_awaited(main(servers))) else 1


async def _awaited(work: Awaitable[bool]) -> bool:
    return await work


# --- the simulated CGB ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """A write that the simulated CGB performed: whose, with which order's fields, as what."""

    contact: str
    order_id: str
    action: str


class Recorder(CgbSandbox):
    """A simulated CGB that also notes with which order's number each write came."""

    def __init__(self) -> None:
        super().__init__("live")
        self.switches.limit = None
        self.written: list[Written] = []

    async def _perform(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        answer = await super()._perform(request, handler, entry)
        if entry.performed and entry.action in WRITES:
            self.written.append(Written(entry.contact, _order_number(body_json(await request.read())), entry.action))
        return answer


def _order_number(body: Any) -> str:
    actions = body.get("actions", []) if isinstance(body, dict) else []
    return next((str(a.get("value")) for a in actions if a.get("field_name") == "OrderNumber"), "")


# --- processes -----------------------------------------------------------------


class Fleet:
    """The processes of Ferryman, by number."""

    def __init__(self, cwd: Path, settings: Mapping[str, Any]) -> None:
        self._cwd = cwd
        self.settings = dict(settings)
        self._stacks: dict[int, AsyncExitStack] = {}
        self.running: dict[int, Running] = {}
        self.lines: list[str] = []

    async def start(self, number: int, *, module: str = "daemon", **settings: object) -> Running:
        """Start process *number*; returns once it is ready."""
        stack = AsyncExitStack()
        try:
            here = await stack.enter_async_context(running(self._cwd, module=module, **self.settings | settings))
        except BaseException:
            await stack.aclose()
            raise
        self._stacks[number], self.running[number] = stack, here
        return here

    async def end(self, number: int, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to process *number* and wait for its end; returns its exit code."""
        here, stack = self.running.pop(number), self._stacks.pop(number)
        try:
            return await here.stop(how)
        finally:
            await stack.aclose()
            self.lines += here.lines

    async def died(self, number: int, patience_s: float = 30.0) -> int:
        """Wait until process *number* has ended by itself; returns its exit code."""
        await asyncio.wait_for(self.running[number].process.wait(), patience_s)
        return await self.end(number)

    async def close(self) -> None:
        """End whatever runs. What they said goes to the directory that CHAOS_LOGS names, if it does."""
        for number in list(self.running):
            await self.end(number, signal.SIGKILL)
        if place := os.environ.get("CHAOS_LOGS"):
            (Path(place) / f"{self._cwd.name}.log").write_text("\n".join(self.lines))

    def urls(self) -> list[str]:
        """Where an order may be sent."""
        return [here.url for here in self.running.values() if here.process.returncode is None]

    def said(self, event: str) -> int:
        """How often the processes, ended ones included, have logged *event*."""
        wanted = f'"{event}"'
        alive = (line for here in self.running.values() for line in here.lines)
        return sum(wanted in line for line in (*self.lines, *alive))


# --- the load --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that was answered 202. *place*: where it stands among its person's orders."""

    event_id: str
    order_id: str
    person: int
    place: int
    at: float


def contact_of(person: int) -> str:
    """The contact in CGB that *person* becomes."""
    return f"97250555{person:04d}"


def make_order(seed: int, person: int, place: int) -> dict[str, Any]:
    """The order of *person* that is number *place*; the next one is newer."""
    number = place * 10_000 + person
    return orders.make_order(
        random.Random(f"{seed}:{number}"),
        number,
        branch="il",
        phone={"code": "972", "number": f"050555{person:04d}"},
        name=f"Person {person}",
        email=f"person{person}@example.com",
        created_at=EPOCH + timedelta(hours=place, seconds=person),
        order_id=f"IL310301GB{number}",
    )


class Load:
    """*people* persons send *each* orders; no more of them than have been released."""

    def __init__(self, fleet: Fleet, seed: int, people: int, each: int, *, first_person: int = 0) -> None:
        self._fleet = fleet
        self._seed = seed
        self._rng = random.Random(seed)
        self._people = range(first_person, first_person + people)
        self._each = each
        self._released = asyncio.Semaphore(0)
        self.total = people * each
        self.accepted: list[Accepted] = []
        self.unanswered = 0
        self.refused = 0
        self.no_retry_after = 0

    def release(self, count: int | None = None) -> None:
        """Let *count* more orders go (all of them when None)."""
        for _ in range(self.total if count is None else count):
            self._released.release()

    async def run(self) -> None:
        """Send everything. Raises when an answer is neither 202 nor 503."""
        timeout = ClientTimeout(total=POST_TIMEOUT_S)
        async with (
            ClientSession(connector=TCPConnector(limit=100), timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for person in self._people:
                group.create_task(self._send_all(session, person))

    async def _send_all(self, session: ClientSession, person: int) -> None:
        for place in range(self._each):
            await self._released.acquire()
            await self._send(session, person, place)

    async def _send(self, session: ClientSession, person: int, place: int) -> None:
        order = make_order(self._seed, person, place)
        body = json.dumps(order).encode()
        while True:
            if not (urls := self._fleet.urls()):
                await asyncio.sleep(AGAIN_S)
                continue
            url = f"{self._rng.choice(urls)}/webhooks/orders"
            try:
                async with session.post(url, data=body, headers={"X-API-Key": API_KEY}) as answer:
                    status, document = answer.status, await answer.json(content_type=None)
                    retry_after = answer.headers.get("Retry-After")
            except (ClientError, OSError, TimeoutError):
                self.unanswered += 1
                await asyncio.sleep(AGAIN_S)
                continue
            if status == 202:
                (event_id,) = document["event_ids"]
                self.accepted.append(Accepted(event_id, order["order"]["id"], person, place, time.time()))
                return
            assert status == 503, f"an order was answered {status}: {document}"
            self.refused += 1
            self.no_retry_after += retry_after is None
            await asyncio.sleep(AGAIN_S)

    def reached(self, part: float) -> Callable[[], Awaitable[bool]]:
        """Whether this part of everything is accepted."""

        async def asked() -> bool:
            return len(self.accepted) >= part * self.total

        return asked


# --- the oracle --------------------------------------------------------------------


@dataclass
class Verdict:
    """What became of what was accepted; every list but the first should be empty."""

    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    inverted: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    balanced: bool = True
    audit: str = ""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return self.balanced and not (self.lost or self.doubled or self.inverted or self.dead)

    def line(self) -> str:
        """In one line."""
        sums = {name: len(getattr(self, name)) for name in ("lost", "doubled", "inverted", "dead")}
        said = " ".join(f"{name} {count}" for name, count in sums.items())
        return f"accepted {self.accepted}, {said}, {'balanced' if self.balanced else 'NOT balanced'}"

    def details(self) -> str:
        """What is wrong, the first few of each kind."""
        kinds = ("lost", "doubled", "inverted", "dead")
        wrong = [f"{name}: {found[:5]}" for name in kinds if (found := getattr(self, name))]
        return "\n".join([self.line(), *wrong, *([] if self.balanced else [self.audit])])


class Lab:
    """A database, an empty Valkey, a simulated CGB and processes on them."""

    def __init__(self, servers: Servers, db: Pool, redis: Redis, cgb: Recorder, fleet: Fleet, cwd: Path) -> None:
        self.servers = servers
        self.db = db
        self.redis = redis
        self.cgb = cgb
        self.fleet = fleet
        self._cwd = cwd
        self.loads: list[Load] = []
        self.buried: set[str] = set()
        """Order ids that may be dead letters, and must be."""

    def load(self, seed: int, people: int, each: int, *, first_person: int = 0) -> Load:
        """A load whose orders the oracle will ask for."""
        made = Load(self.fleet, seed, people, each, first_person=first_person)
        self.loads.append(made)
        return made

    @property
    def accepted(self) -> list[Accepted]:
        """Everything that was answered 202, in the order of the answers."""
        return [order for load in self.loads for order in load.accepted]

    async def ended(self) -> int:
        """How many events contact-sync has ended with."""
        return int(await self.db.fetchval("SELECT count(*) FROM inbox WHERE worker = 'contact-sync'"))

    async def settled(self, patience_s: float = 60.0) -> None:
        """Wait until everything accepted has ended in both workers, and what it emitted is journaled."""
        wanted = len(self.accepted)
        emitted = wanted - len(self.buried)
        try:
            await until(forgiving(lambda: self._all_ended(wanted, emitted)), "the end of everything", patience_s)
        except TimeoutError:
            print(f"after {patience_s:.0f} s not all of {wanted} have ended: {await self._progress()}")

    async def _all_ended(self, wanted: int, emitted: int) -> bool:
        counts = await self._progress()
        return (
            counts["contact-sync"] >= wanted
            and counts["journal"] >= wanted + emitted
            and counts["outbox"] == 0
            and counts["spool"] == 0
        )

    async def _progress(self) -> dict[str, int]:
        rows = await self.db.fetch("SELECT worker, count(*) AS n FROM inbox GROUP BY worker")
        counts = {"contact-sync": 0, "journal": 0} | {row["worker"]: row["n"] for row in rows}
        for table in ("outbox", "spool"):
            counts[table] = await self.db.fetchval(f"SELECT count(*) FROM {table}")
        return counts

    async def verdict(self, patience_s: float = 60.0) -> Verdict:
        """Wait for the end of everything, then ask the tables and CGB what became of it."""
        await self.settled(patience_s)
        accepted = self.accepted
        found = Verdict(accepted=len(accepted))
        by_event = {order.event_id: order for order in accepted}
        by_number = {order.order_id: order for order in accepted}
        alive = [order for order in accepted if order.order_id not in self.buried]
        await self._ends(found, by_event)
        await self._rows(found, accepted)
        self._writes(found, by_number, alive)
        code, out, err = await ferryman("audit", "--json", cwd=self._cwd, env=environment(**self.fleet.settings))
        found.audit = out or err
        found.balanced = code == 0 and bool(json.loads(out)["balanced"])
        return found

    async def _ends(self, found: Verdict, by_event: Mapping[str, Accepted]) -> None:
        """Each event has ended once in each worker, in the order of its person; so has the journal's copy of it."""
        for worker in ("contact-sync", "journal"):
            rows = await self.db.fetch(
                "SELECT event_id FROM inbox WHERE worker = $1 AND replay_id = '' ORDER BY at", worker
            )
            ids = [row["event_id"] for row in rows]
            self._look(found, f"{worker} end", [by_event[i] for i in ids if i in by_event], by_event)
            found.doubled += [f"{worker} end of {i}" for i, n in Counter(ids).items() if n > 1]
        rows = await self.db.fetch("SELECT id, type, causationid FROM event_journal ORDER BY seq")
        received = [row["id"] for row in rows if row["type"] == "order.received"]
        self._look(found, "journal row", [by_event[i] for i in received if i in by_event], by_event)
        found.doubled += [f"journal row of {i}" for i, n in Counter(row["id"] for row in rows).items() if n > 1]
        alive = {i: order for i, order in by_event.items() if order.order_id not in self.buried}
        causes = [row["causationid"] for row in rows if row["type"] == "contact.synced"]
        self._look(found, "contact.synced", [by_event[i] for i in causes if i in by_event], alive)
        found.doubled += [f"contact.synced of {i}" for i, n in Counter(causes).items() if n > 1]

    @staticmethod
    def _look(found: Verdict, what: str, seen: Sequence[Accepted], wanted: Mapping[str, Accepted]) -> None:
        """*seen*, in its order, has all of *wanted*, and every person's orders in order."""
        there = {order.event_id for order in seen}
        found.lost += [f"{what} of {order}" for i, order in wanted.items() if i not in there]
        last: dict[int, int] = {}
        for order in seen:
            if order.place < last.get(order.person, -1):
                found.inverted.append(f"{what} of {order}")
            last[order.person] = max(order.place, last.get(order.person, -1))

    async def _rows(self, found: Verdict, accepted: Sequence[Accepted]) -> None:
        rows = await self.db.fetch("SELECT order_id, cgb_sync_status FROM orders")
        status = {row["order_id"]: row["cgb_sync_status"] for row in rows}
        for order in accepted:
            wanted = "failed" if order.order_id in self.buried else "synced"
            if status.get(order.order_id) != wanted:
                found.lost.append(f"row of {order}: {status.get(order.order_id)}")
        letters = await self.db.fetch("SELECT event_id, error_class, error_text FROM dead_letters")
        buried = {order.event_id for order in accepted if order.order_id in self.buried}
        found.dead += [str(dict(letter)) for letter in letters if letter["event_id"] not in buried]
        found.lost += [f"dead letter of {i}" for i in buried - {letter["event_id"] for letter in letters}]

    def _writes(self, found: Verdict, by_number: Mapping[str, Accepted], alive: Sequence[Accepted]) -> None:
        """CGB has seen the one write of each order, in the order of its person, and no second creation of anybody."""
        writes = [w for w in self.cgb.written if w.order_id in by_number]
        counts = Counter(w.order_id for w in writes)
        found.doubled += [f"write of {number}: {n} times" for number, n in counts.items() if n > 1]
        found.doubled += [f"creation of {c}" for c, n in self.cgb.ledger.creates_by_contact().items() if n > 1]
        self._look(found, "write", [by_number[w.order_id] for w in writes], {order.event_id: order for order in alive})
        last = {order.person: order for order in sorted(alive, key=lambda order: order.place)}
        for person, order in last.items():
            contact = self.cgb.account.contacts.get(contact_of(person))
            if contact is None or contact.values.get("OrderNumber") != order.order_id:
                found.lost.append(f"fields of {order}")


def forgiving(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """*condition*, false while a store is away."""

    async def asked() -> bool:
        try:
            return await condition()
        except StreamErrors:
            return False
        except Exception as exc:
            if not store_is_down(exc):
                raise
            return False

    return asked


@asynccontextmanager
async def open_lab(servers: Servers, *, latency_s: float = 0.003, **settings: object) -> AsyncIterator[Lab]:
    """A lab on *servers*, both running; every process of it is ended with the context."""
    assert servers.redis_url is not None
    assert servers.database_url is not None
    for server in (servers.valkey, servers.postgres):
        if server is not None and server.pid is None:
            await server.start()
    async with AsyncExitStack() as stack:
        cwd = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ferryman-lab-")))
        database_url = await _fresh_database(servers, stack)
        cgb = await stack.enter_async_context(Recorder())
        if latency_s:
            cgb.faults.add("slow", seconds=latency_s)
        stores = {"REDIS_URL": servers.redis_url, "DATABASE_URL": database_url}
        given = {
            "FERRYMAN_ADMIN_TOKEN": "chaos-admin-token",
            "FERRYMAN_LEASE_SECONDS": TTL_S,
            "CGB_API_URL": cgb.url,
            "CGB_API_KEY": TOKEN,
            "CGB_RATE_PER_MINUTE": 1_000_000,
            "CGB_TIMEOUT": 3000,
            "CGB_SYNC_DELAY_MS": 0,
            "CGB_SYNC_CONCURRENCY": 20,
        }
        redis: Redis = Redis.from_url(servers.redis_url, legacy_responses=False, retry=Retry(NoBackoff(), 0))
        stack.push_async_callback(redis.aclose)
        await redis.flushall()
        db = await stack.enter_async_context(pools.connect(database_url, size=3, name="chaos"))
        fleet = Fleet(cwd, given | stores | settings)
        stack.push_async_callback(fleet.close)
        yield Lab(servers, db, redis, cgb, fleet, cwd)


async def _fresh_database(servers: Servers, stack: AsyncExitStack) -> str:
    assert servers.database_url is not None
    name = f"chaos_{uuid4().hex[:12]}"
    await _administer(servers.database_url, f"CREATE DATABASE {name}")
    stack.push_async_callback(_drop, servers, name)
    url = servers.database_url.replace("@/ferryman?", f"@/{name}?")
    assert name in url
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
    finally:
        await conn.close()
    return url


async def _drop(servers: Servers, name: str) -> None:
    assert servers.database_url is not None
    if servers.postgres is not None and servers.postgres.pid is None:
        await servers.postgres.start()
    await _administer(servers.database_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _administer(url: str, statement: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(statement)
    finally:
        await conn.close()


@asynccontextmanager
async def sending(load: Load) -> AsyncIterator[asyncio.Task[None]]:
    """*load* under way beside the block; afterwards it has sent everything."""
    task = asyncio.create_task(load.run())
    try:
        yield task
        load.release()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def families(*pids: int | None) -> list[int]:
    """Servers and their child processes."""
    found: list[int] = []
    for pid in pids:
        if pid is not None:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found += [pid, *(int(child) for child in children)]
    return found

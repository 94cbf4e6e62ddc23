"""Why an event is where it is: every rule, on real stores, and asked of the process that holds the event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from adapters.channel import Channels
from adapters.postgres.bus import journal, members, meta, outbox, pauses, spool
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.pool import Pool
from adapters.redis import questions
from adapters.redis.lease_table import LeaseTable
from adapters.redis.streams import Streams, client, stream_key
from daemon.bus.answering import Answering
from daemon.bus.consumer import Consumer
from daemon.bus.losses import PROGRESS
from daemon.bus.marks import Marks
from daemon.bus.outcome import Done, Later, Outcome, Turn
from daemon.bus.worker import AnyWorker
from daemon.lifecycle import Background
from daemon.operator.naming import find
from daemon.operator.trail import trail_of
from daemon.operator.why.answer import Here, why
from daemon.operator.why.sentence import Sentence
from daemon.telemetry.report import ProviderReport, Report
from schemas.envelope import Event
from schemas.errors import ChannelDown, Refused, Transient, Uncertain
from tests.support.bus import Bench, open_bench
from tests.support.toy import TOPIC, TOY, Handle, failing, gated, home_of, make_event, succeed
from tests.support.until import until

ME = "a" * 32
ONE = make_event("key-1")
NEXT = make_event("key-1", 1)
REPORT = Report(host="host-a", pid=7, workers=(TOY,))


@pytest.fixture
async def bench(redis: Redis, redis_url: str, db: Pool) -> AsyncIterator[Bench]:
    async with open_bench(redis_url, db) as made:
        await live(made)
        await hold_leases(made)
        yield made


async def live(bench: Bench, **report: Any) -> None:
    """A process that lives, as it says."""
    await members.tell(bench.pool, ME, orjson.dumps(replace(REPORT, **report).document()).decode())


async def hold_leases(bench: Bench) -> None:
    table = LeaseTable(bench.redis, ME, [TOY], 60)
    await table.tick([], [])
    await table.acquire([(TOY, partition) for partition in range(bench.partitions)])


async def journaled(bench: Bench, *events: Event) -> None:
    """Publish *events*, and journal them with their places."""
    for event in events:
        await bench.publish([event])
        last = await bench.bus.last_ids([stream_key(TOPIC, home_of(event.subject, bench.partitions))])
        async with bench.pool.acquire() as conn, conn.transaction():
            await journal.append(conn, [Journaled(event, *last.values())])


async def said(bench: Bench, event: Event = ONE, worker: AnyWorker | None = None, *, redis: bool = True) -> Sentence:
    found = await find(bench.pool, event.id)
    trail = await trail_of(bench.pool, [bench.worker()], found[0]) if found else None
    here = Here(bench.pool, bench.bus if redis else None)
    return await why(here, trail, worker or bench.worker(), asked=event.id)


@asynccontextmanager
async def answered(bench: Bench, consumer: Consumer, channels: Channels | None = None) -> AsyncIterator[None]:
    """The process of *consumer* answers questions."""
    redis = client(bench.redis_url, timeout_s=6, connections=2)
    service = Background("answers", Answering(redis, ME, [consumer], channels or Channels()).run)
    service.start()
    try:
        yield
    finally:
        service.stop()
        await service.stopped()
        await redis.aclose()


async def ended(bench: Bench, handle: Handle, **options: Any) -> None:
    await journaled(bench, ONE)
    async with bench.running(bench.worker(handle, **options)):
        await until(lambda: bench.is_ended(1))


async def test_what_is_not_known_is_said(bench: Bench) -> None:
    one = await said(bench)
    assert (one.rule, one.who_can_act) == ("not known", "operator")
    assert "`ferryman replay --missing`" in one.text


async def test_what_is_finished_says_when_and_on_which_host(bench: Bench) -> None:
    await ended(bench, succeed)
    one = await said(bench)
    assert (one.rule, one.who_can_act) == ("finished", "nobody")
    assert one.text.startswith("done at ")
    assert one.since is not None
    host = await bench.pool.fetchval("SELECT host FROM inbox WHERE worker = $1", TOY)
    assert one.text.endswith(f" by {host}")


async def test_what_was_skipped_says_the_reason(bench: Bench) -> None:
    async def skip(event: Event, deps: object, turn: Turn) -> Outcome:
        return Done(skipped="nothing new")

    await ended(bench, skip)
    assert (await said(bench)).text.startswith("skipped (nothing new) at ")


async def test_a_dead_letter_says_its_error_its_attempts_and_the_verb(bench: Bench) -> None:
    await ended(bench, failing(Refused("the account is closed")))
    one = await said(bench)
    number = await bench.pool.fetchval("SELECT id FROM dead_letters")
    assert (one.rule, one.who_can_act, one.link) == ("dead", "operator", f"/letters/{number}")
    assert "after one attempt: Refused: the account is closed; `ferryman dead-letters retry" in one.text
    await bench.pool.execute("UPDATE dead_letters SET state = 'discarded', settled_by = 'ann', settled_at = now()")
    discarded = await said(bench)
    assert (discarded.who_can_act, discarded.text) == ("nobody", "dead; its letter was discarded by ann")


async def test_what_is_uncertain_says_so(bench: Bench) -> None:
    await ended(bench, failing(Uncertain("no answer came")))
    one = await said(bench)
    assert (one.rule, one.who_can_act) == ("uncertain", "operator")
    assert "it may have been done, and nobody knows" in one.text
    assert "no answer came" in one.text


async def test_what_is_in_the_spool_has_its_place_there(bench: Bench) -> None:
    await spool.append(bench.pool, [NEXT, ONE])
    one = await said(bench)
    assert (one.rule, one.text.endswith("; place 2 in the spool")) == ("in spool", True)


async def test_what_is_in_the_outbox_is_on_its_way(bench: Bench) -> None:
    async with bench.pool.acquire() as conn, conn.transaction():
        await outbox.emit(conn, [ONE])
    one = await said(bench)
    assert (one.rule, one.text.startswith("it was emitted since ")) == ("in outbox", True)


async def test_a_worker_that_no_process_runs_says_what_it_lacks(bench: Bench) -> None:
    await journaled(bench, ONE)
    await live(bench, workers=("journal",), workers_off={TOY: "CGB_API_KEY is not set"})
    one = await said(bench)
    assert (one.rule, one.who_can_act) == ("worker off", "admin")
    assert one.text == "no process runs toy: CGB_API_KEY is not set"
    await members.leave(bench.pool, ME)
    assert (await said(bench)).text == "no daemon runs: `ferryman run`"


@pytest.mark.parametrize("name", [TOY, "cgb"])
async def test_a_pause_says_who_and_why(bench: Bench, name: str) -> None:
    await journaled(bench, ONE)
    await pauses.pause(bench.pool, name, "ann", "moving house")
    one = await said(bench, worker=bench.worker(channels=("cgb",)))
    assert (one.rule, one.who_can_act) == ("paused", "operator")
    assert one.text.startswith(f"{name} is paused by an operator (ann, since ")
    assert f'"moving house": `ferryman resume {name}`' in one.text


async def test_a_redis_that_is_away_is_said(bench: Bench) -> None:
    await journaled(bench, ONE)
    nowhere = client("redis://127.0.0.1:1", timeout_s=0.5)
    found = await find(bench.pool, ONE.id)
    trail = await trail_of(bench.pool, [bench.worker()], found[0])
    one = await why(Here(bench.pool, Streams(nowhere, bench.partitions)), trail, bench.worker())
    await nowhere.aclose()
    assert one.rule == "redis away"


async def test_streams_that_are_being_rebuilt_say_how_far_they_are(bench: Bench) -> None:
    await journaled(bench, ONE)
    await meta.put(bench.pool, "mark", "another")
    await meta.put(bench.pool, PROGRESS, "500 of 900 events are published again")
    one = await said(bench)
    assert (one.rule, one.text) == (
        "recovering",
        "the streams are being rebuilt: 500 of 900 events are published again",
    )
    await Marks(bench.bus).set("another")
    assert (await said(bench)).rule != "recovering"


async def test_a_partition_without_a_lease_holder_is_said_with_those_that_could_take_it(bench: Bench) -> None:
    await journaled(bench, ONE)
    await bench.redis.delete("ferryman:{bus}:leases")
    one = await said(bench)
    assert one.rule == "no owner"
    partition = home_of(ONE.subject, bench.partitions)
    assert one.text.startswith(f"partition {partition} of toy has no lease holder: a process takes it within 10 s")
    assert "process aaaaaaaa on host-a (pid 7)" in one.text


async def test_what_is_unread_says_how_many_entries_are_ahead_and_how_long_they_take(bench: Bench) -> None:
    await journaled(bench, *[make_event("key-1", n) for n in range(5, 8)], ONE)
    one = await said(bench)
    partition = home_of(ONE.subject, bench.partitions)
    assert one.rule == "unread"
    assert one.text.startswith(f"not read yet: 3 entries ahead in partition {partition}; toy has ended with nothing")
    await bench.pool.execute(
        "INSERT INTO inbox (worker, event_id, outcome, data_hash)"
        " SELECT $1, 'e' || n, 'done', '' FROM generate_series(1, 240) n",
        TOY,
    )
    one = await said(bench)  # 240 a minute in 4 partitions: one a second in each
    assert "3 entries ahead" in one.text
    assert "about 3 s at the present rate" in one.text
    assert one.next_at is not None


async def test_what_waits_behind_a_sibling_names_it_and_why_that_waits(bench: Bench) -> None:
    await journaled(bench, ONE, NEXT)
    failing_once = bench.worker(failing(Transient("no", retry_after_s=200)))
    async with bench.running(failing_once) as consumer, answered(bench, consumer):
        await until(lambda: bench.has("attempts", 1))
        await until(lambda: _holds(consumer, NEXT))
        one = await said(bench, NEXT)
    assert (one.rule, one.link) == ("behind", f"/events/{ONE.id}")
    assert one.text.startswith(
        f"waits for event {ONE.id} of the same key (one attempt failed, the last with transient;"
    )
    assert one.next_at is not None


async def test_what_is_delayed_says_when_it_starts(bench: Bench) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)

    async def later(event: Event, deps: object, turn: Turn) -> Outcome:
        return Later(at, step="send")

    await journaled(bench, ONE)
    async with bench.running(bench.worker(later)) as consumer, answered(bench, consumer):
        await until(lambda: _state_is(bench, "delayed"))
        one = await said(bench)
    assert one.next_at is not None
    assert abs((one.next_at - at).total_seconds()) < 2
    assert one.text.startswith("starts at ")
    assert one.text.endswith(" (send)")
    assert one.asked_at is not None, "the answer is marked with its time"


async def test_what_has_failed_says_the_error_and_when_the_next_attempt_is(bench: Bench) -> None:
    await journaled(bench, ONE)
    failing_once = bench.worker(failing(Transient("no", retry_after_s=200)))
    async with bench.running(failing_once) as consumer, answered(bench, consumer):
        await until(lambda: _state_is(bench, "retry"))
        one = await said(bench)
    assert one.text.startswith("one attempt failed, the last with transient; the next one is at ")
    assert one.next_at is not None
    assert 150 < (one.next_at - datetime.now(UTC)).total_seconds() <= 201


async def test_what_waits_for_a_provider_names_it_and_the_next_probe(bench: Bench) -> None:
    channels = Channels(["cgb"])

    async def down(event: Event, deps: object, turn: Turn) -> Outcome:
        async def call() -> None:
            raise ChannelDown("the token is gone", channel="cgb")

        await channels["cgb"].call("write", call)
        raise AssertionError("the call has failed")

    await journaled(bench, ONE)
    worker = bench.worker(down, channels=("cgb",))
    async with bench.running(worker, channels=channels) as consumer, answered(bench, consumer, channels):
        await until(lambda: _state_is(bench, "parked"))
        await live(bench, providers={"cgb": ProviderReport(state="refused", error="channel-down")})
        one = await said(bench, worker=worker)
    assert (one.rule, one.who_can_act) == ("provider", "admin")
    assert one.text.startswith("cgb refuses our account or key (channel-down): mend the account")
    assert "it is tried again at " in one.text


async def test_what_is_in_hand_says_by_whom_and_for_how_long(bench: Bench) -> None:
    gate = asyncio.Event()
    await journaled(bench, ONE)
    async with bench.running(bench.worker(gated(gate))) as consumer, answered(bench, consumer):
        await until(lambda: _state_is(bench, "handled"))
        one = await said(bench)
        gate.set()
    assert one.rule == "in hand"
    assert one.text.startswith("being handled for ")
    assert one.text.endswith(" by process aaaaaaaa on host-a (pid 7)")
    assert one.since is not None


async def test_a_holder_that_does_not_answer_is_said_beside_what_is_known(bench: Bench) -> None:
    await journaled(bench, ONE)
    async with bench.running(bench.worker(failing(Transient("no", retry_after_s=200)))):
        await until(lambda: bench.has("attempts", 1))
        began = asyncio.get_running_loop().time()
        one = await said(bench)
        assert asyncio.get_running_loop().time() - began < 5
    assert one.rule == "retry"
    assert one.text.endswith("; process aaaaaaaa on host-a (pid 7) did not answer")


async def test_without_redis_the_tables_alone_tell(bench: Bench) -> None:
    await journaled(bench, ONE)
    assert (await said(bench, redis=False)).rule == "otherwise"


async def test_junk_in_the_list_of_questions_stops_no_answers(bench: Bench) -> None:
    async with bench.consumer() as consumer, answered(bench, consumer):
        for junk in (b"junk", b"[]", b'{"id": "x"}', b'{"id": "x", "asked": 1}'):
            await bench.redis.rpush(f"ferryman:{{bus}}:questions:{ME}", junk)
        assert await ask(bench) == "absent"


async def test_a_question_that_nobody_takes_is_gone_soon(bench: Bench) -> None:
    assert await questions.ask(bench.redis, ME, {"worker": TOY}, 0.05) is None
    assert 0 < await bench.redis.ttl(f"ferryman:{{bus}}:questions:{ME}") <= questions.KEPT_S


async def ask(bench: Bench) -> str | None:
    asked: Mapping[str, str] = {"worker": TOY, "event_id": ONE.id, "replay_id": "", "subject": ONE.subject}
    told = await questions.ask(bench.redis, ME, asked, 2)
    return None if told is None else str(told["state"])


async def _state_is(bench: Bench, state: str) -> bool:
    return await ask(bench) == state


async def _holds(consumer: Consumer, event: Event) -> bool:
    with suppress(KeyError):
        return consumer.lanes.held(event.inbox_key) is not None
    return False

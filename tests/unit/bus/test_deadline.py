"""One timer for many calls: a late call is stopped, no other call is, and no other cancellation is swallowed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from daemon.bus.deadline import Call, Deadline

SOON_S = 0.05
LATE_S = 60.0


async def stuck(deadline: Deadline, calls: list[Call]) -> None:
    """A call that never ends by itself."""
    call = deadline.call()
    calls.append(call)
    with call:
        await asyncio.Event().wait()


async def test_each_of_many_late_calls_is_stopped_in_its_own_time() -> None:
    deadline, calls = Deadline(SOON_S), list[Call]()
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = asyncio.create_task(stuck(deadline, calls))
    await asyncio.sleep(SOON_S / 2)
    second = asyncio.create_task(stuck(deadline, calls))
    with pytest.raises(TimeoutError):
        await first
    assert not second.done()
    with pytest.raises(TimeoutError):
        await second
    assert loop.time() - began >= SOON_S * 1.5
    assert [call.expired for call in calls] == [True, True]
    assert (first.cancelled(), second.cancelled(), first.cancelling()) == (False, False, 0)


async def test_a_call_that_ends_in_time_is_left_alone_ever_after() -> None:
    deadline = Deadline(SOON_S)
    with deadline.call() as quick:
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.create_task(stuck(deadline, []))
    assert not quick.expired
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_of_the_call_s_own_passes() -> None:
    with pytest.raises(ValueError, match="own"), Deadline(LATE_S).call():
        raise ValueError("own")


async def test_a_cancellation_by_another_task_stays_a_cancellation() -> None:
    deadline, calls = Deadline(LATE_S), list[Call]()
    task = asyncio.create_task(stuck(deadline, calls))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not calls[0].expired
    deadline.close()


async def test_a_cancellation_at_the_same_moment_as_the_deadline_stays_a_cancellation() -> None:
    deadline, calls = Deadline(LATE_S), list[Call]()
    task = asyncio.create_task(stuck(deadline, calls))
    await asyncio.sleep(0)
    calls[0].expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline.close()


async def test_a_handler_that_swallows_the_end_is_still_known_to_be_late() -> None:
    deadline = Deadline(SOON_S)
    call = deadline.call()
    with call, suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert call.expired
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0

"""Pausing and resuming: what changes, what would, and what there is to pause."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from adapters.postgres.bus import pauses
from adapters.postgres.pool import Pool
from adapters.redis.limits import RateLimiter
from adapters.redis.pauses import seconds_left
from daemon.accounts import CGB, META, SCOPES
from daemon.operator.pauses import UnknownName, set_paused
from daemon.workers import WORKERS


@pytest.mark.parametrize("name", ["contact-sync", "cgb"])
async def test_a_pause_and_a_resume_say_whether_they_change_anything(db: Pool, redis: Redis, name: str) -> None:
    assert await set_paused(db, redis, WORKERS, name, paused=True, dry_run=True)
    assert await pauses.paused(db) == frozenset()
    assert await set_paused(db, redis, WORKERS, name, paused=True)
    assert not await set_paused(db, redis, WORKERS, name, paused=True)
    assert not await set_paused(db, redis, WORKERS, name, paused=True, dry_run=True)
    assert await pauses.paused(db) == {name}
    assert await set_paused(db, redis, WORKERS, name, paused=False)
    assert not await set_paused(db, redis, WORKERS, name, paused=False)
    assert await pauses.paused(db) == frozenset()


async def test_a_name_that_is_neither_a_worker_nor_a_provider_is_refused_with_those_that_are(
    db: Pool, redis: Redis
) -> None:
    with pytest.raises(UnknownName, match=r"contact-changes, contact-sync, .*, openai, .*transcription"):
        await set_paused(db, redis, WORKERS, "contact-snyc", paused=True)
    assert await pauses.paused(db) == frozenset()


async def test_a_resume_of_a_provider_ends_the_wait_that_the_provider_has_asked_for(db: Pool, redis: Redis) -> None:
    await RateLimiter(redis, per_minute=90).pause(SCOPES[CGB], 3600)
    assert await set_paused(db, redis, WORKERS, "cgb", paused=False, dry_run=True)
    assert await seconds_left(redis, SCOPES[CGB]) > 200
    assert await set_paused(db, redis, WORKERS, "cgb", paused=False)
    assert await seconds_left(redis, SCOPES[CGB]) == 0
    assert not await set_paused(db, redis, WORKERS, "cgb", paused=False)


async def test_a_stored_account_is_paused_by_its_name(db: Pool, redis: Redis) -> None:
    with pytest.raises(UnknownName, match="there is no account meta/second"):
        await set_paused(db, redis, WORKERS, "meta/second", paused=True)
    await db.execute("INSERT INTO credentials VALUES ('meta', 'second', '', '', now(), now(), 'me')")
    assert await set_paused(db, redis, WORKERS, "meta/second", paused=True)
    assert await set_paused(db, redis, WORKERS, "meta/default", paused=True)
    assert await pauses.paused(db) == {"meta/second", "meta/default"}
    await RateLimiter(redis, per_minute=90).pause(f"{SCOPES[META]}:second", 3600)
    assert await set_paused(db, redis, WORKERS, "meta/second", paused=False)
    assert await seconds_left(redis, f"{SCOPES[META]}:second") == 0
    for name in ("contact-sync/second", "meta/", "meta/a b", "/second", "meta/\x00"):
        with pytest.raises(UnknownName):
            await set_paused(db, redis, WORKERS, name, paused=True)

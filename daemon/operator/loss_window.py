"""The loss window: how much of what was answered 202 a crash could lose, with the servers as they are configured."""

from __future__ import annotations

from adapters.postgres.operator.inspect import PostgresServer
from adapters.redis.durability import untold
from adapters.redis.inspect import RedisServer


def loss_window(redis: RedisServer, postgres: PostgresServer) -> tuple[str, str]:
    """(one sentence that says what a crash could lose, what to do about it: "" when it could lose nothing)."""
    lost, todo = [], []
    if redis.durability == "none" and redis.appendonly is not False and untold(redis.lacks):
        lost.append("a crash of Redis may lose events, as its user may run neither CONFIG GET nor WAITAOF")
        todo.append("allow one of the two (+config|get, +waitaof), which tell whether events are on disk")
    elif redis.durability == "none":
        lost.append(f"a crash of Redis loses {_redis_loses(redis)}")
        todo.append("set appendonly yes and appendfsync always")
    if redis.replicas:
        lost.append("a failover of Redis loses what its replica did not have yet and the journal neither")
        todo.append("see that replicas keep up")
    if not postgres.fsync:
        lost.append("a power failure of Postgres may lose all of it (fsync is off)")
        todo.append("set fsync on")
    elif postgres.synchronous_commit == "off":
        lost.append("a crash of Postgres loses the results of up to its last second, and no worker repeats that work")
        todo.append("set synchronous_commit on")
    if lost:
        return f"Loss window: {'; '.join(lost)}; a crash of Ferryman alone loses nothing.", ", ".join(todo)
    how = "every event is on Redis's disk before its answer" if redis.durability == "always" else "WAITAOF confirms it"
    return f"Loss window: a crash of Redis, Postgres or Ferryman loses nothing that was answered 202: {how}.", ""


def _redis_loses(redis: RedisServer) -> str:
    if redis.appendonly is False:
        return "every event since its last snapshot that the journal has not copied yet"
    if redis.appendfsync == "everysec":
        return "up to a second of events that the journal has not copied yet"
    return "the events that were not on its disk yet and not in the journal: as many as the system holds back"

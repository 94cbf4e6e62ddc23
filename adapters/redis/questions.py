"""Questions from an operator's command to the process that holds a lease, and its answers.

Both go by lists and not by channels: a channel would need rights of its own, reaches every installation on the server,
and no node of a cluster answers for all. A question that nobody takes is gone after KEPT_S.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

import orjson
from redis.asyncio import Redis

from adapters.redis.values import text

KEPT_S: Final = 5
"""How long a question waits to be taken, and an answer to be read."""


class Question(NamedTuple):
    """*id*: names the answer. *asked*: JSON."""

    id: str
    asked: Mapping[str, Any]


def _questions(member: str) -> str:
    return f"ferryman:{{bus}}:questions:{member}"


def _answer(id: str) -> str:
    return f"ferryman:{{bus}}:answer:{id}"


async def ask(redis: Redis, member: str, asked: Mapping[str, Any], patience_s: float) -> dict[str, Any] | None:
    """The answer of the process *member*; None where it said nothing within *patience_s*. Raises: redis errors."""
    id = uuid4().hex
    pipe = redis.pipeline(transaction=False)
    pipe.rpush(_questions(member), orjson.dumps({"id": id, "asked": asked}))
    pipe.expire(_questions(member), KEPT_S)
    await pipe.execute()
    found = await cast("Any", redis).blpop([_answer(id)], timeout=patience_s)
    return None if found is None else cast("dict[str, Any]", orjson.loads(found[1]))


async def next_question(redis: Redis, member: str, wait_s: float) -> Question | None:
    """The next question to *member*; None where there is none within *wait_s*, or it was no question of ours."""
    found = await cast("Any", redis).blpop([_questions(member)], timeout=wait_s)
    if found is None:
        return None
    try:
        document = orjson.loads(found[1])
        return Question(text(document["id"]), dict(document["asked"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


async def answer(redis: Redis, question: Question, told: Mapping[str, Any]) -> None:
    """Answer *question*."""
    pipe = redis.pipeline(transaction=False)
    pipe.rpush(_answer(question.id), orjson.dumps(told))
    pipe.expire(_answer(question.id), KEPT_S)
    await pipe.execute()

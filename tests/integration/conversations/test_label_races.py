"""Two of ours and a person write the labels of one conversation at once, each the whole list: nothing is lost."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, Conversation
from schemas.envelope import Event
from tests.support.crm import FIRST, CrmWorker, changed, event_of, worker_on, written
from tests.support.until import until

ROUNDS = 500
AT_ONCE = 25
"""Conversations in which the rounds go on side by side."""
OURS = {"from-one", "from-two"}


@pytest.fixture(autouse=True)
def _slow(sandbox: ChatwootSandbox) -> None:
    """Between a read and a write others have time to write."""
    sandbox.crm.read_delay_s, sandbox.crm.write_delay_s = 0.001, 0.003


def labels(sandbox: ChatwootSandbox, talk: Conversation) -> set[str]:
    return set(sandbox.crm.labels.get(talk.id, ()))


async def test_three_writers_lose_nothing_in_500_rounds(
    db: Pool, sandbox: ChatwootSandbox, session: ClientSession, redis: Redis
) -> None:
    pair = [worker_on(db, sandbox, session, redis, settle_s=0.03) for _ in range(2)]
    talks = [sandbox.account.receive(f"+97250555{n:04}", "hello") for n in range(AT_ONCE)]
    lost = await asyncio.gather(*(_rounds(pair, sandbox, session, talk, ROUNDS // AT_ONCE) for talk in talks))
    assert [one for rounds in lost for one in rounds] == []
    print(f"{_restored(pair)} labels were put back after a list was written over them")
    assert _restored(pair) > 0, "the writers met"


async def test_labels_that_a_stale_page_wrote_over_come_back(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    worker.settle = worker.settle * 10
    page = ["vip"]  # as it was shown when the person began to edit
    handling = asyncio.create_task(worker.handle(written("diesel", talk=talk)))
    await until(lambda: "preference-diesel" in labels(sandbox, talk))
    sandbox.set_labels(talk.id, [*page, "urgent"])
    await handling
    assert labels(sandbox, talk) >= FIRST | {"preference-diesel", "vip", "urgent"}


async def test_a_label_of_a_person_that_our_list_wrote_over_comes_back(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation
) -> None:
    sandbox.crm.write_delay_s = 0.2
    handling = asyncio.create_task(worker.handle(written("diesel", talk=talk)))
    await until(lambda: any(path.endswith(f"/{talk.id}/labels") for path, _ in sandbox.bodies))
    sandbox.set_labels(talk.id, ["vip"])  # after ours was read, and before it is written
    before = labels(sandbox, talk)
    await handling
    assert "vip" not in labels(sandbox, talk), "Chatwoot keeps the last list alone"
    assert await worker.handle(changed(talk, sorted(before), sorted(labels(sandbox, talk)))) == "done"
    assert labels(sandbox, talk) == FIRST | {"preference-diesel", "vip"}
    assert "vip" not in await worker.pool.fetchval("SELECT put FROM crm_labels"), "it is not ours"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (["a"], ["a", "b"], "takes no label away"),
        (["a", "preference-diesel"], ["a"], "meant so"),
        (["a", "b"], ["a", "c"], "meant so"),
        (["preference-diesel", "vip"], ["preference-diesel"], "meant so"),
    ],
)
async def test_what_a_person_means_to_take_off_stays_off(
    worker: CrmWorker, sandbox: ChatwootSandbox, talk: Conversation, before: list[str], after: list[str], why: str
) -> None:
    await worker.handle(written("diesel", talk=talk))
    sandbox.set_labels(talk.id, after)
    assert await worker.handle(changed(talk, before, after)) == why
    assert labels(sandbox, talk) == set(after)


def _restored(pair: list[CrmWorker]) -> int:
    return sum(one.restored for one in pair)


async def _rounds(
    pair: list[CrmWorker], sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation, rounds: int
) -> list[tuple[int, set[str]]]:
    """The rounds at whose end a label was missing, and what was there."""
    chance = random.Random(talk.id)
    lost = []
    for n in range(rounds):
        sandbox.set_labels(talk.id, ["kept"])
        _heard_of(sandbox, talk)
        by_hand = f"hand-{n}"
        await asyncio.gather(
            _later(chance, pair[0], _asks(talk, "from-one")),
            _later(chance, pair[1], _asks(talk, "from-two")),
            _edits(chance, sandbox, session, talk, by_hand),
        )
        while told := _heard_of(sandbox, talk):
            for event in told:  # as the lane of the person has them, one after the other
                await pair[0].handle(event)
        there = set(sandbox.crm.labels[talk.id])
        if there != OURS | {"kept", by_hand}:
            lost.append((n, there))
    return lost


async def _later(chance: random.Random, worker: CrmWorker, event: Event) -> None:
    await asyncio.sleep(chance.random() * 0.02)
    await worker.handle(event)


async def _edits(
    chance: random.Random, sandbox: ChatwootSandbox, session: ClientSession, talk: Conversation, label: str
) -> None:
    """As the page of a conversation does: it shows the labels for a while, then it posts them with one more."""
    url = f"{sandbox.url}/api/v1/accounts/{ACCOUNT_ID}/conversations/{talk.id}/labels"
    headers = {"Api-Access-Token": sandbox.token}
    await asyncio.sleep(chance.random() * 0.02)
    async with session.get(url, headers=headers) as answer:
        shown = (await answer.json())["payload"]
    await asyncio.sleep(chance.random() * 0.02)
    async with session.post(url, headers=headers, json={"labels": [*shown, label]}) as answer:
        assert answer.status == 200


def _asks(talk: Conversation, label: str) -> Event:
    return event_of("labels.requested", {"conversation": {"id": talk.id}, "labels": [label]})


def _heard_of(sandbox: ChatwootSandbox, talk: Conversation) -> list[Event]:
    """What webhooks tell of the labels of *talk* since it was last asked."""
    mine = [one for one in sandbox.crm.changes if one[0] == talk.id]
    sandbox.crm.changes[:] = [one for one in sandbox.crm.changes if one[0] != talk.id]
    return [changed(talk, before, after) for _, before, after in mine]

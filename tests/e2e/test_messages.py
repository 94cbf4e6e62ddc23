"""Messages through real processes and simulated providers: sent once, tracked to their last state, whatever happens."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from adapters.postgres.pool import Pool
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_chats import OLDEST_S
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID
from tests.support.daemons import Running, environment, ferryman, running
from tests.support.file_server import HTML, PDF, FileServer, redirect
from tests.support.until import until

SECRET: Final = "meta-app-secret-0123456789"
TOKEN: Final = "e2e-admin-token-0123456789"
TEMPLATE: Final = {"name": "order_confirmation", "language": "he", "variables": {"1": "Noa"}}


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


@pytest.fixture
async def meta() -> AsyncIterator[MetaSandbox]:
    async with MetaSandbox(app_secret=SECRET) as sandbox:
        yield sandbox


@pytest.fixture
def sending(stores: dict[str, str], meta: MetaSandbox) -> dict[str, Any]:
    """Settings of a process that sends by `meta`."""
    return stores | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "META_ACCESS_TOKEN": meta.token,
        "META_APP_SECRET": SECRET,
        "META_VERIFY_TOKEN": "meta-verify-token-0123456789",
        "MESSAGES_DEFAULT_PROVIDER": "meta",
        "FERRYMAN_LEASE_SECONDS": 2,
    }


class Api:
    """`/api/v1/messages` of a process."""

    def __init__(self, here: Running) -> None:
        self._here = here

    async def send(self, to: str, key: str | None = None, **content: Any) -> str:
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({} if key is None else {"Idempotency-Key": key})
        body = {"to": to, **(content or {"template": TEMPLATE})}
        async with self._here.session.post(f"{self._here.url}/api/v1/messages", json=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            id: str = (await answer.json())["message_id"]
            return id

    async def get(self, id: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._here.session.get(f"{self._here.url}/api/v1/messages/{id}", headers=headers) as answer:
            document: dict[str, Any] = await answer.json()
            return document


async def statuses(db: Pool) -> dict[str, int]:
    rows = await db.fetch("SELECT status, count(*) AS n FROM messages WHERE direction = 'out' GROUP BY status")
    return {row["status"]: row["n"] for row in rows}


def all_are(db: Pool, **wanted: int) -> Callable[[], Any]:
    async def are() -> bool:
        return await statuses(db) == wanted

    return are


async def test_a_message_reaches_its_last_state_and_is_shown_with_its_statuses(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    meta.switches.fates = {phone(1)[1:]: ("read", "delivered", "sent"), phone(2)[1:]: ("sent", 131026)}
    async with running(tmp_path, **sending) as here:
        meta.callback_url, api = here.url, Api(here)
        first, second = await api.send(phone(1), key="k1"), await api.send(phone(2))
        assert await api.send(phone(1), key="k1") == first
        await until(all_are(db, read=1, failed=1), "the last state of both")
        updates = "SELECT count(*) = 3 FROM delivery_updates WHERE message_id = $1"
        await until(lambda: db.fetchval(updates, UUID(first)), "its statuses, of which the first is the last one told")
        shown = await api.get(first)
        assert shown["provider_message_id"].startswith("wamid.")
        assert sorted(update["status"] for update in shown["updates"]) == ["delivered", "read", "sent"]
        assert (await api.get(second))["error_code"] == "131026"
    assert meta.sends() == {first: 1, second: 1}


async def test_a_file_of_ours_is_uploaded_once_and_goes_by_its_id(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    async with FileServer() as files:
        files.files |= {"/visa.pdf": PDF, "/login.jpg": HTML, "/go.jpg": redirect("http://169.254.169.254/latest")}
        chatwoot = {
            "CHATWOOT_BASE_URL": files.url,
            "CHATWOOT_API_ACCESS_TOKEN": "chat-token",
            "CHATWOOT_ACCOUNT_ID": "1",
        }
        async with running(tmp_path, **sending, **chatwoot) as here:
            meta.callback_url, api = here.url, Api(here)
            for n in range(4):
                await meta.write(phone(n)[1:], "good morning")
            await until(lambda: db.fetchval("SELECT count(*) = 4 FROM customer_windows"), "the windows")
            for n in range(2):
                await api.send(phone(n), media={"url": f"{files.url}/visa.pdf", "type": "document"})
            page = await api.send(phone(2), media={"url": f"{files.url}/login.jpg", "type": "image"})
            inside = await api.send(phone(3), media={"url": f"{files.url}/go.jpg", "type": "image"})
            await until(all_are(db, delivered=2, failed=2), "the end of all")
            assert "web page" in (await api.get(page))["error"]
            assert "private network" in (await api.get(inside))["error"]
    (kept,) = meta.media.kept.items()
    assert kept[1].body == PDF
    assert [one.body["document"] for one in meta.sent] == [{"id": kept[0], "filename": "visa.pdf"}] * 2
    assert files.asked["/visa.pdf"] == 1


async def test_free_text_is_sent_to_a_person_who_has_written_and_stopped_by_their_stop(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    async with running(tmp_path, **sending) as here:
        meta.callback_url, api = here.url, Api(here)
        early = await api.send(phone(1), text="hello")
        await until(all_are(db, skipped=1), "the end of the message to nobody who has written")
        assert "window" in (await api.get(early))["error"]
        await meta.write(phone(1)[1:], "good morning")
        await until(lambda: db.fetchval("SELECT count(*) FROM customer_windows"), "the window")
        inside = await api.send(phone(1), text="hello")
        await until(all_are(db, skipped=1, delivered=1), "the message inside the window")
        await meta.write(phone(1)[1:], "STOP")
        await until(lambda: db.fetchval("SELECT count(*) FROM opt_outs"), "the stop")
        late = await api.send(phone(1))
        await until(all_are(db, skipped=2, delivered=1), "the message after the stop")
        assert "opted out" in (await api.get(late))["error"]
    assert meta.sends() == {inside: 1}


@pytest.mark.parametrize(
    "kind", ["cut", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("reset", "html", "short"))]
)
async def test_a_call_in_doubt_is_never_repeated_and_settled_by_the_status_that_carries_our_id(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool, kind: Any
) -> None:
    count = 24
    for n in range(0, count, 4):  # so that no breaker opens between them
        meta.faults.add(kind, times=1, contact=phone(n)[1:], performed=True)
    meta.switches.gap_s = 0.5
    async with running(tmp_path, **sending) as here:
        meta.callback_url, api = here.url, Api(here)
        ids = await asyncio.gather(*(api.send(phone(n)) for n in range(count)))
        await until(all_are(db, delivered=count), "the statuses that settle them")
    assert meta.sends() == dict.fromkeys(ids, 1)


async def test_what_stays_in_doubt_is_shown_and_sent_again_where_an_operator_says_so(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    meta.faults.add("reset", times=1, performed=False)
    env = environment(**sending)
    async with running(tmp_path, **sending) as here:
        id = await Api(here).send(phone(1))
        await until(all_are(db, uncertain=1), "the message in doubt")
        code, out, _ = await ferryman("uncertain", "list", cwd=tmp_path, env=env)
        assert (code, id in out) == (0, True)
        code, out, err = await ferryman("uncertain", "settle", id, "--again", cwd=tmp_path, env=env)
        assert (code, "--yes" in err) == (1, True)
        code, out, _ = await ferryman("uncertain", "settle", id, "--again", "--yes", cwd=tmp_path, env=env)
        assert (code, "queued" in out) == (0, True)
        await until(all_are(db, sent=1), "the message, sent again")
        code, out, _ = await ferryman("audit", "--json", cwd=tmp_path, env=env)
        assert code == 0, out
    assert meta.sends() == {id: 1}


async def test_an_outage_and_a_refused_token_cost_no_message(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    meta.faults.add("bad_token")
    async with running(tmp_path, **sending) as here:
        api = Api(here)
        ids = [await api.send(phone(n)) for n in range(10)]
        await until(lambda: meta.ledger.entries, "the first call")
        assert (await statuses(db)).keys() <= {"queued", "sending"}
        meta.faults.clear()
        await ferryman("resume", "meta", cwd=tmp_path, env=environment(**sending))
        await until(all_are(db, sent=10), "all messages, when the token is taken again", within_s=60)
    assert meta.sends() == dict.fromkeys(ids, 1)


def _more_than(meta: MetaSandbox, count: int) -> bool:
    return len(meta.sent) > count


async def test_a_process_that_is_killed_while_it_sends_sends_nothing_twice(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    """Each kill comes between the provider's taking a message and our record of it."""
    count, kills = 40, 8
    meta.switches.gap_s = 0.05
    ids: list[str] = []
    for n in range(kills):
        meta.faults.add("hang", performed=True, for_s=60)
        async with running(tmp_path, **sending) as here:
            meta.callback_url, api = here.url, Api(here)
            before = len(meta.sent)
            ids += [await api.send(phone(n * count + k)) for k in range(count // kills)]
            await until(partial(_more_than, meta, before), "a message that the provider has taken")
            await here.stop(signal.SIGKILL)
        meta.faults.clear()
    async with running(tmp_path, **sending) as here:
        meta.callback_url = here.url

        async def settled() -> bool:
            found = await statuses(db)
            # those whose later statuses were for the killed process alone stay sent
            return found.keys() <= {"sent", "delivered", "uncertain"} and sum(found.values()) == count

        await until(settled, "the end of every message", within_s=60)
    sends = meta.sends()
    assert max(sends.values()) == 1, "no message twice"
    never = set(ids) - sends.keys()
    uncertain = {str(row["id"]) for row in await db.fetch("SELECT id FROM messages WHERE status = 'uncertain'")}
    assert never <= uncertain, "what was not sent is not taken for sent"


async def test_what_a_killed_process_had_in_line_holds_up_no_other_for_longer_than_its_leases(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    count = 500
    async with running(tmp_path, **sending) as one, running(tmp_path, **sending) as other:
        api, later = Api(other), "2099-01-01T00:00:00Z"
        for n in range(0, count, 50):
            messages = (api.send(phone(k), template=TEMPLATE, not_before=later) for k in range(n, n + 50))
            await asyncio.gather(*messages)
        await db.execute("UPDATE messages SET not_before = now()")
        await until(partial(_more_than, meta, 100), "the first messages; the others wait at the rate limit")
        await one.stop(signal.SIGKILL)
        before = len(meta.sent)
        assert before < count - 100
        await until(partial(_more_than, meta, before + 60), "messages after the kill", within_s=9)

        async def ended() -> bool:
            found = await statuses(db)
            return found.keys() <= {"sent", "uncertain"} and sum(found.values()) == count

        await until(ended, "the end of every message")
    assert max(meta.sends().values()) == 1


async def test_a_scheduled_message_goes_out_at_its_time_after_a_restart(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    async with running(tmp_path, **sending) as here:
        at = await db.fetchval("SELECT now() + interval '4 seconds'")
        id = await Api(here).send(phone(1), template=TEMPLATE, not_before=at.isoformat())
        assert await statuses(db) == {"queued": 1}
    async with running(tmp_path, **sending):
        await until(all_are(db, sent=1), "the scheduled message")
        sent_at = await db.fetchval("SELECT sent_at FROM messages WHERE id = $1", id)
    assert 0 <= (sent_at - at).total_seconds() < 8  # a process needs a while to start


async def test_scheduled_messages_wait_for_no_sweep_of_the_outbox(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    async with running(tmp_path, **sending) as here:
        first = await db.fetchval("SELECT now() + interval '3 seconds'")
        for n in range(10):
            at = first + timedelta(milliseconds=200 * n)
            await Api(here).send(phone(n), template=TEMPLATE, not_before=at.isoformat())
        await until(all_are(db, sent=10), "the scheduled messages")
    late = await db.fetch("SELECT extract(epoch FROM sent_at - not_before) AS s FROM messages")
    assert all(0 <= row["s"] < 3 for row in late), "a row of the outbox is swept when it is five seconds old"


async def test_a_message_by_hand_waits_for_its_end(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    env = environment(**sending)
    async with running(tmp_path, **sending):
        argv = ["send", "template", phone(1), "order_confirmation", "--language", "he", "--var", "1=Noa", "--wait"]
        code, out, err = await ferryman(*argv, cwd=tmp_path, env=env)
        assert (code, "--yes" in err) == (1, True)
        code, out, _ = await ferryman(*argv, "--yes", cwd=tmp_path, env=env)
        assert (code, "is sent" in out) == (0, True)
        code, out, _ = await ferryman("send", "text", phone(2), "hello", "--wait", "--yes", cwd=tmp_path, env=env)
        assert (code, "window" in out) == (1, True)


async def test_a_chat_is_read_reacted_to_and_answered_at_length_in_order(
    tmp_path: Path, sending: dict[str, Any], meta: MetaSandbox, db: Pool
) -> None:
    person, theirs = phone(1)[1:], "SELECT id FROM messages WHERE provider_message_id = $1"
    async with running(tmp_path, **sending) as here:
        meta.callback_url, api = here.url, Api(here)
        new, old = [await meta.write(person, "good morning") for _ in range(2)]
        meta.chats.said[old].at -= OLDEST_S + 1  # Meta knows better than we
        await until(lambda: db.fetchval("SELECT count(*) = 2 FROM messages"), "what the person has written")
        shown = await api.send(phone(1), reaction={"message_id": new, "emoji": "👍"})
        late = await api.send(phone(1), reaction={"message_id": old, "emoji": "👍"})
        await until(all_are(db, sent=1, failed=1), "the end of both reactions")
        assert ((await api.get(shown))["status"], (await api.get(late))["error_code"]) == ("sent", "131009")
        headers, id = {"Authorization": f"Bearer {TOKEN}"}, await db.fetchval(theirs, new)
        async with here.session.post(f"{here.url}/api/v1/messages/{id}/read", headers=headers) as answer:
            assert (answer.status, meta.read) == (200, [new])
        text = "\n\n".join(f"{n} " + "word " * 600 for n in range(8))
        await api.send(phone(1), text=text, split=True)
        await until(all_are(db, sent=1, failed=1, delivered=8), "all parts")
    assert [one.body["text"]["body"][0] for one in meta.sent[2:]] == list("01234567")

"""Find: one text, and everything that it may name."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from adapters.postgres.bus import burials, journal
from adapters.postgres.bus.burials import DeadLetter
from adapters.postgres.bus.journal import Journaled
from adapters.postgres.operator import person
from adapters.postgres.pool import Pool
from daemon.operator.search import MOST, search
from schemas.envelope import event_id
from tests.support.conversations import PHONE, chatwoot_chat, insert
from tests.support.people import bought
from tests.support.plans import assert_reads_few
from tests.support.toy import NOON, make_event

EVENT = make_event(PHONE, 1, id=event_id("orders", "IL7"))
MESSAGE = UUID("6f1d1b56-5d0c-5f0e-9a37-0d7a5b1c2e11")


@pytest.fixture
async def world(db: Pool) -> dict[str, str]:
    """A person with an order, an event, a dead letter, a message and a conversation: what each is called."""
    contact = await bought(db, PHONE, 7, name="Noa Ben-Ari", email="noa@example.com")
    async with db.acquire() as conn, conn.transaction():
        await journal.append(conn, [Journaled(EVENT, "")])
        await burials.bury(conn, "contact-sync", [DeadLetter(EVENT, "Refused", "no", 1)])
    await insert(
        db,
        "messages",
        id=MESSAGE,
        direction="out",
        status="sent",
        provider="meta",
        phone=PHONE,
        kind="text",
        content={"text": "hello"},
        purpose="api",
        provider_message_id="wamid.HBgMOTcy",
        event_id="e1",
        created_at=NOON + timedelta(minutes=1),
    )
    await chatwoot_chat(db, 481)
    number = await db.fetchval("SELECT id FROM dead_letters")
    return {
        "person": str(contact),
        "order": "IL7",
        "event": EVENT.id,
        "message": str(MESSAGE),
        "conversation": "chatwoot:3:481",
        "dead letter": str(number),
    }


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (PHONE, {"person", "conversation"}),
        ("050-555-0142", {"person", "conversation"}),
        ("00972 50 555 0142", {"person", "conversation"}),
        ("Noa@Example.com", {"person"}),
        ("IL7", {"person", "order", "event"}),
        (EVENT.id, {"event"}),
        (EVENT.id[:9].upper(), {"event"}),
        (str(MESSAGE), {"message"}),
        ("6f1d1b56", {"message"}),
        ("wamid.HBgMOTcy", {"message"}),
        ("chatwoot:3:481", {"conversation"}),
        ("noa ben", {"person", "conversation"}),
    ],
)
async def test_a_text_finds_what_it_names(db: Pool, world: dict[str, str], text: str, kinds: set[str]) -> None:
    found = await search(db, f"  {text} ")
    assert {hit.kind for hit in found} == kinds
    assert {hit.id for hit in found} == {world[kind] for kind in kinds}
    for hit in found:
        assert "5550142" not in hit.text, "nothing of a person is told in full"
        assert "Noa" not in hit.text
        assert hit.link.endswith(hit.id)


async def test_a_number_finds_a_dead_letter(db: Pool, world: dict[str, str]) -> None:
    assert ("dead letter", world["dead letter"]) in {
        (hit.kind, hit.id) for hit in await search(db, world["dead letter"])
    }


@pytest.mark.parametrize(
    "text", ["", "  ", "nobody", "'", "%", "\x00", "a" * 5_000, "wamid.nothing", "+15550001111", "ffffffff"]
)
async def test_what_names_nothing_finds_nothing(db: Pool, world: dict[str, str], text: str) -> None:
    assert await search(db, text) == []


async def test_the_message_of_a_provider_is_found_by_an_index(db: Pool) -> None:
    fill = (
        "INSERT INTO messages (id, direction, status, provider, kind, content, purpose, provider_message_id, event_id)"
        " SELECT md5(n::text)::uuid, 'out', 'sent', 'meta', 'text', '{}', 'api', 'w' || n, 'e'"
        " FROM generate_series($1::int, $2::int) n"
    )
    given = "ARRAY['meta', 'twilio'], 'w7'"
    await assert_reads_few(db, ["messages"], [fill], 5_000, person._BY_PROVIDER_ID, "text[], text", given, 100)


def test_few_of_each_kind_are_told() -> None:
    assert MOST <= 20

"""Voice notes on real stores, against the simulator of OpenAI: their rows, their events, and what outages do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.postgres.pool import Pool
from adapters.redis.streams import stream_key
from daemon.bus.outcome import Turn
from daemon.conversations.understanding.transcription import NO_KEY, buried, waits
from daemon.conversations.understanding.wiring import open_classifier
from daemon.sandbox.faults import Kind
from daemon.sandbox.openai import OpenAiSandbox
from daemon.settings.model import Settings
from schemas.errors import Transient
from tests.support.until import until
from tests.support.voice import PARTITIONS, PHONE, VOICE_NOTE, Place, opened, settings_of


@pytest.fixture
async def openai() -> AsyncIterator[OpenAiSandbox]:
    async with OpenAiSandbox() as running:
        yield running


@pytest.fixture
async def place(redis: object, redis_url: str, db: Pool, openai: OpenAiSandbox, tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(redis_url, db, openai, settings_of(openai, tmp_path)) as made:
        yield made


async def test_a_voice_note_becomes_the_text_of_its_message(place: Place) -> None:
    place.openai.switches.hears = lambda body: "write a post about visas"
    note = await place.note()
    event = await place.voice(note)
    async with place.working():
        await place.bus.append([event])
        await until(place.ended, "the voice note to end")
    (row,) = await place.audio()
    assert (row["transcription_status"], row["transcription"]) == ("completed", "write a post about visas")
    assert (row["duration_seconds"], row["original_file_size"]) == (4, len(VOICE_NOTE))
    assert (row["openai_model"], row["user_id"], row["contact_identifier"]) == ("whisper-1", "user-7", PHONE)
    assert (row["chatwoot_attachment_id"], row["meeting_note_id"]) == ("91", note)
    assert row["file_path"].startswith("file:///")
    assert row["processed_at"] is not None
    assert await place.content(note) == ("write a post about visas", {"transcribed": True})
    (told,) = await emitted(place)
    assert told["subject"] == PHONE
    assert told["data"] | {"attachment_id": ""} == {
        "message_key": f"chatwoot:{note}",
        "text": "write a post about visas",
        "status": "completed",
        "attachment_id": "",
        "language": "en",
        "message": {"contact_id": "3:7"},
    }
    assert len(place.openai.ledger.entries) == 1


async def emitted(place: Place) -> list[dict[str, Any]]:
    """What was published of transcriptions, by the streams."""
    found = []
    for p in range(PARTITIONS):
        entries: Any = await place.bus.redis.xrange(stream_key("conversations", p))
        fields = [entry for _, entry in entries if entry[b"type"] == b"message.transcribed"]
        found += [{"subject": one[b"subject"].decode(), "data": json.loads(one[b"data"])} for one in fields]
    return found


async def test_a_note_that_has_a_text_of_its_own_keeps_it(place: Place) -> None:
    note = await place.note("see what I recorded")
    assert (await place.handled(await place.voice(note)))[0] is None
    assert await place.content(note) == ("see what I recorded", {})


async def test_a_note_with_several_files_says_all_in_their_order_however_they_end(place: Place) -> None:
    place.openai.switches.hears = lambda body: f"part {len(body) // 5000}"
    note = await place.note(None)
    events = [await place.voice(note, n, b"\1" * 5000 * (n + 1)) for n in range(2)]
    for event in (*reversed(events), *events):
        await place.handled(event)
    assert (await place.content(note))[0] == "part 1\npart 2"
    assert len(place.openai.heard) == 2


async def test_without_a_key_a_voice_note_is_skipped_at_once_with_the_reason(
    redis: object, redis_url: str, db: Pool, openai: OpenAiSandbox, tmp_path: Path
) -> None:
    async with opened(redis_url, db, openai, Settings(ferryman_data_dir=tmp_path)) as place:
        note = await place.note()
        reason, (told,) = await place.handled(await place.voice(note), step="")
        assert reason == "no key"
        assert (told.type, told.json()["status"], told.json()["text"]) == ("message.transcribed", "skipped", None)
        (row,) = await place.audio()
        assert (row["transcription_status"], row["transcription_error"]) == ("skipped", NO_KEY)
        assert (row["openai_model"], row["original_file_size"]) == (None, len(VOICE_NOTE))
        assert (await place.content(note))[0] == "[Audio Message]"
    assert openai.ledger.entries == []


@pytest.mark.parametrize(
    ("other", "why", "calls"),
    [
        ({"bytes": 26_214_401}, "larger than", 0),
        ({"bytes": 0}, "empty", 0),
        ({"content_type": "text/html"}, "text/html and no audio", 0),
        ({"content_type": "audio/amr"}, "HTTP 400", 1),
        ({"path": "whatsapp-audio/gone.ogg"}, "no such object", 0),
    ],
)
async def test_what_cannot_be_transcribed_is_an_error_with_its_reason_and_told(
    place: Place, other: dict[str, Any], why: str, calls: int
) -> None:
    reason, (told,) = await place.handled(await place.voice(await place.note(), **other))
    assert (reason, told.json()["status"]) == ("cannot be transcribed", "error")
    (row,) = await place.audio()
    assert row["transcription_status"] == "error"
    assert why in row["transcription_error"]
    assert len(place.openai.ledger.entries) == calls


async def test_a_file_that_is_no_voice_is_left_alone(place: Place) -> None:
    assert await place.handled(await place.voice(await place.note(), kind="image")) == ("no voice", [])
    assert await place.audio() == []


async def test_what_was_heard_is_never_sent_again_and_never_lost(place: Place) -> None:
    event = await place.voice(await place.note())
    _, (told,) = await place.handled(event)
    reason, (again,) = await place.handled(event._replace(replayid="transcription:1"), step="")
    assert reason == "transcribed already"
    assert (again.json()["text"], again.json()["status"]) == (told.json()["text"], "completed")
    assert len(place.openai.ledger.entries) == 1
    await place.write(waits(event, "openai is away", Turn(event.time)))
    await place.write(buried(event, Transient("HTTP 500"), Turn(event.time)))
    (row,) = await place.audio()
    assert row["transcription_status"] == "completed"


async def test_a_dead_letter_says_why_and_is_told_and_what_comes_of_it_later_is_told_too(place: Place) -> None:
    event = await place.voice(await place.note())
    (error,) = await place.write(buried(event, Transient("HTTP 500"), Turn(event.time)))
    (row,) = await place.audio()
    assert (row["transcription_status"], row["transcription_error"]) == ("error", "HTTP 500")
    assert error.json()["status"] == "error"
    _, (told,) = await place.handled(event)
    assert told.id != error.id
    assert [row["transcription_status"] for row in await place.audio()] == ["completed"]


async def test_an_event_that_cannot_be_read_leaves_no_row(place: Place) -> None:
    event = (await place.voice(await place.note()))._replace(data=b'{"kind": "audio"}')
    assert buried(event, Transient("HTTP 500"), Turn(event.time)) == ()
    assert waits(event, "away", Turn(event.time)) == ()


async def test_a_note_that_is_gone_takes_its_voice_with_it(place: Place) -> None:
    event = await place.voice(note := await place.note())
    await place.pool.execute("DELETE FROM meeting_notes WHERE id = $1", note)
    await place.handled(event)
    assert await place.audio() == []


async def test_an_account_without_credit_costs_time_and_nothing_else(place: Place) -> None:
    """Promise: nothing goes to dead letters, and the row says what it waits for."""
    place.openai.switches.credit = False
    note = await place.note()
    async with place.working():
        await place.bus.append([await place.voice(note)])

        async def waiting() -> bool:
            return [row["transcription_status"] for row in await place.audio()] == ["pending"]

        await until(waiting, "the row to say that it waits")
        assert "openai" in (await place.audio())[0]["transcription_error"]
        place.openai.switches.credit = True
        place.outside.channels["openai"].probe_now()
        await until(place.ended, "the voice note to end")
    assert await place.ended() == ["done"]
    assert [row["transcription_status"] for row in await place.audio()] == ["completed"]
    assert [row["transcription_error"] for row in await place.audio()] == [None]


async def test_a_transcript_of_an_hour_is_kept_and_told_whole(place: Place) -> None:
    said = "קול " * 20_000
    place.openai.switches.hears = lambda body: said
    async with place.working():
        await place.bus.append([await place.voice(await place.note())])
        await until(place.ended, "the voice note to end")
    assert [row["transcription"] for row in await place.audio()] == [said.strip()]
    (kept,) = await place.pool.fetch("SELECT data FROM payloads")
    assert json.loads(kept["data"])["text"] == said.strip()


async def test_failures_are_tried_again(place: Place) -> None:
    place.openai.faults.add("error", status=500, times=2)
    async with place.working():
        await place.bus.append([await place.voice(await place.note())])
        await until(place.ended, "the voice note to end")
    assert [row["transcription_status"] for row in await place.audio()] == ["completed"]
    assert [one.status for one in place.openai.ledger.of("transcribe")] == [500, 500, 200]


async def test_the_model_tells_intents_and_the_rules_where_it_does_not(
    redis: object, redis_url: str, db: Pool, openai: OpenAiSandbox, tmp_path: Path
) -> None:
    """Promise: whatever the model does, an intent comes, and soon."""
    settings = settings_of(openai, tmp_path, openai_intent_model="gpt-4o-mini")
    text = "write a post about visas #Visa"
    openai.switches.answers = lambda asked: {"intent": "ORDER", "confidence": 0.95, "params": {"tone": "casual"}}
    async with opened(redis_url, db, openai, settings) as place, open_classifier(place.outside) as classify:
        told = await classify(text, None)
        assert (told.kind, told.confidence, told.language) == ("ORDER", 0.95, "en")
        assert told.params == {"tone": "casual", "topic": "visas", "refs": "#visa"}
        openai.switches.answers = lambda asked: "I will not"
        assert (await classify(text, None)).reason == "words of the rule en-order"
        faults: list[Kind] = ["html", "limited", "bad_token", "reset"]
        for fault in faults:
            openai.faults.clear()
            openai.faults.add(fault)
            assert (await classify(text, "nl")).reason == "words of the rule en-order"
        assert place.outside.channels["openai"].closed, "a chat model in trouble stops no transcription"


async def test_without_a_model_the_rules_tell_intents_and_nobody_is_asked(place: Place) -> None:
    async with open_classifier(place.outside) as classify:
        assert (await classify("לכתוב פוסט", "en")).language == "he"
        assert (await classify("x" * 5000, "pt")).kind == "NOTE"
    assert place.openai.ledger.entries == []


async def test_a_slow_model_is_not_waited_for(
    redis: object, redis_url: str, db: Pool, openai: OpenAiSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.conversations.understanding.wiring.INTENT_DEADLINE_S", 0.1)
    settings = settings_of(openai, tmp_path, openai_intent_model="gpt-4o-mini")
    openai.faults.add("hang")
    async with opened(redis_url, db, openai, settings) as place, open_classifier(place.outside) as classify:
        assert (await classify("write a post", None)).reason == "words of the rule en-order"

"""What waits in a conversation: the sentences, as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from adapters.postgres.operator.conversation_parts import StoredFile, StoredMessage, StoredWaiting
from adapters.postgres.operator.conversations import StoredConversation
from daemon.operator import conversation_waits as waits
from daemon.operator.conversation_dialog import Dialog, dialog_in
from daemon.operator.conversation_documents import masked_name
from daemon.operator.conversation_timeline import Said
from tests.support.conversations import asking
from tests.support.toy import NOON

NOW: Final = NOON + timedelta(hours=1)
QUESTION: Final = UUID(int=9)


def conversation(**changes: Any) -> StoredConversation:
    given: dict[str, Any] = dict.fromkeys(StoredConversation.__slots__)
    given |= {"id": 1, "chat": "chatwoot:3:481", "context": {}, "context_version": 0, "created_at": NOON}
    return StoredConversation(**given | changes)


def held(at: datetime, *files: StoredFile, kind: str = "text", waits_for_text: bool = False) -> Said:
    waiting = StoredWaiting(
        message_key=f"chatwoot:{at}",
        event_id="e",
        at=at,
        kind=kind,
        text=None,
        waits_for_text=waits_for_text,
        understood_at=None,
    )
    return Said(key=waiting.message_key, at=at, waiting=waiting, files=files)


def file(kind: str = "voice", status: str = "stored", **spoken: Any) -> StoredFile:
    given: dict[str, Any] = dict.fromkeys(StoredFile.__slots__)
    return StoredFile(**given | {"note_id": UUID(int=1), "kind": kind, "status": status} | spoken)


def ours(id: UUID, status: str, error: str | None = None) -> Said:
    given: dict[str, Any] = dict.fromkeys(StoredMessage.__slots__)
    told = {"id": id, "direction": "out", "status": status, "provider": "chatwoot", "content": {}, "at": NOON}
    return Said(key=None, at=NOON, message=StoredMessage(**given | told | {"kind": "text", "error": error}))


@pytest.mark.parametrize(
    ("said", "settles_at", "stopped", "told"),
    [
        ([], None, None, []),
        (
            [held(NOON), held(NOW)],
            NOW + timedelta(seconds=20),
            "no daemon runs: `ferryman run`",
            ["2 messages wait until 2031-03-01 13:00:20 UTC, for what else the person writes, and are understood then"],
        ),
        (
            [held(NOON)],
            NOON,
            "no daemon runs: `ferryman run`",
            ["1 message waits to be understood: no daemon runs: `ferryman run`"],
        ),
        (
            [held(NOON)],
            None,
            None,
            ["1 message waits to be understood: its turn has not come yet, or it is being worked on"],
        ),
        (
            [held(NOON, file(spoken="error", spoken_error="429"), kind="voice", waits_for_text=True)],
            NOW,
            None,
            ["the voice message of 2031-03-01 12:00:00 UTC waits for its transcription (error, 429)"],
        ),
        (
            [held(NOON, file(status="pending"), kind="voice", waits_for_text=True), held(NOON)],
            None,
            "x",
            [
                "the voice message of 2031-03-01 12:00:00 UTC waits for its transcription (file pending)",
                "1 message waits to be understood: x",
            ],
        ),
    ],
)
def test_what_is_not_understood_yet_says_until_when_or_why(
    said: list[Said], settles_at: datetime | None, stopped: str | None, told: list[str]
) -> None:
    assert list(waits.not_understood(conversation(settles_at=settles_at), said, NOW, stopped)) == told


@pytest.mark.parametrize(
    ("context", "due_at", "said", "told"),
    [
        ({}, NOW, [], []),
        (
            asking("tone", QUESTION),
            None,
            [ours(QUESTION, "sent")],
            ["the answer about tone is waited for since 2031-03-01 12:05:00 UTC"],
        ),
        (
            asking("tone", UUID(int=8), QUESTION),
            NOW,
            [ours(QUESTION, "skipped", "outside the customer-service window")],
            [
                "the answer about tone is waited for since 2031-03-01 12:05:00 UTC, asked 2 times;"
                " a reminder or the end of the dialog is due at 2031-03-01 13:00:00 UTC",
                "the question about tone was not sent (skipped): outside the customer-service window",
            ],
        ),
        (
            {"pausedUntil": (NOW + timedelta(minutes=1)).isoformat()},
            None,
            [],
            ["the bot is silent until 2031-03-01 13:01:00 UTC, as a human agent is talking"],
        ),
        ({"pausedUntil": NOON.isoformat()}, None, [], []),
        (
            {name: value for name, value in asking("tone").items() if name != "since"},
            NOW,
            [],
            ["the question about tone is to be asked yet, at 2031-03-01 13:00:00 UTC"],
        ),
    ],
)
def test_an_open_question_says_since_when_and_what_became_of_it(
    context: dict[str, Any], due_at: datetime | None, said: list[Said], told: list[str]
) -> None:
    assert list(waits.dialog_waits(conversation(due_at=due_at), dialog_in(context), said, NOW)) == told


@pytest.mark.parametrize(("agent_at", "why"), [(None, "for a person to answer"), (NOW, "as a human agent is talking")])
def test_the_bot_is_silent_for_whom_it_says(agent_at: datetime | None, why: str) -> None:
    silent = dialog_in({"pausedUntil": (NOW + timedelta(minutes=1)).isoformat()})
    of = conversation(escalated_at=NOON, agent_at=agent_at)
    assert list(waits.dialog_waits(of, silent, [], NOW)) == [f"the bot is silent until 2031-03-01 13:01:00 UTC, {why}"]


def test_messages_files_and_people_that_are_waited_for_are_named() -> None:
    said = [ours(UUID(int=1), "uncertain"), ours(UUID(int=2), "queued"), ours(UUID(int=3), "sent")]
    assert list(waits.going_out(said, {UUID(int=2): "chatwoot is away"})) == [
        f"the message {UUID(int=1)} may have been sent, and nobody knows: `ferryman uncertain settle 00000000`",
        f"the message {UUID(int=2)} waits for chatwoot: chatwoot is away",
    ]
    files = Said(key="k", at=NOON, files=[file("image", "pending"), file(spoken="processing"), file(spoken="error")])
    at = "of 2031-03-01 12:00:00 UTC waits"
    assert list(waits.files_wait([files])) == [f"the image {at} to be stored", f"the voice {at} for its transcription"]
    handed = conversation(escalated_at=NOON, escalated_why="three wrong answers about tone")
    (sentence,) = waits.handed_over(handed)
    assert sentence == "a person has to answer, since 2031-03-01 12:00:00 UTC: three wrong answers about tone"


def test_of_what_is_known_only_what_was_chosen_from_our_options_is_shown() -> None:
    context = asking("tone") | {"orderParams": {"platform": "LinkedIn", "topic": "linkedin"}}
    dialog: Dialog = dialog_in(context)
    assert dialog.shown(reveal=False) == {"platform": "LinkedIn", "topic": "…"}
    assert dialog.shown(reveal=True) == {"platform": "LinkedIn", "topic": "linkedin"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [(None, None), ("", ""), ("N", "…"), ("Noa", "N…"), ("\u202e\u0301Noa", "N…"), ("…!", "…"), ("李明", "李…")],
)
def test_of_a_name_its_first_letter_is_shown(name: str | None, shown: str | None) -> None:
    assert masked_name(name) == shown

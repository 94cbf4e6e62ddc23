"""The invented people of the demonstration's conversation."""

from __future__ import annotations

import re
from pathlib import Path

import phonenumbers

from daemon.demo.customer import AREAS, IDS_OF_A_RUN, customer_of, next_run
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.openai import OpenAiSandbox
from schemas.phone import Phone


async def test_every_run_has_a_person_and_ids_of_its_own_and_their_numbers_are_fiction() -> None:
    phones = set()
    for run in range(1, 100 * len(AREAS) + 1):
        chatwoot = ChatwootSandbox()
        customer = customer_of(run, chatwoot, OpenAiSandbox())
        assert re.fullmatch(r"\+1[2-9]\d\d55501\d\d", customer.phone)
        assert phonenumbers.is_valid_number(phonenumbers.parse(customer.phone))
        assert Phone.parse_e164(customer.phone) is not None
        phones.add(customer.phone)
        written = customer.write("hello")
        assert run * IDS_OF_A_RUN <= written.id < (run + 1) * IDS_OF_A_RUN
    assert len(phones) == 100 * len(AREAS)


def test_runs_are_counted_whatever_became_of_them(tmp_path: Path) -> None:
    assert [next_run(tmp_path) for _ in range(3)] == [1, 2, 3]


async def test_a_voice_note_is_heard_as_it_was_said() -> None:
    openai = OpenAiSandbox()
    customer = customer_of(1, ChatwootSandbox(), openai)
    notes = [customer.speak(text) for text in ("one", "two")]
    bodies = [note.attachments[0][2] for note in notes]
    assert len(set(bodies)) == 2
    assert list(openai.switches.texts.values()) == ["one", "two"]

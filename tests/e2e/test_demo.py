"""`ferryman demo`: the ends that it promises to show, and a second run in which nothing is left to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ENDS: Final = {
    "Vizi's own test": "skipped: a test",
    "no phone": "failed: the order has no usable phone",
    "a landline": "not on WhatsApp, contact made",
    "a wrong phone": "synced, contact made",
    "the order, corrected": "synced, contact made by the right phone",
    "a report on documents": "found its order, passed on",
    "the same webhook again": "duplicate, nothing done",
    "forged": "refused (401)",
}


MESSAGES: Final = {
    ("text to a person who wrote", "meta"): "read",
    ("text to one who did not", "meta"): "skipped: outside the customer-service window",
    ("template to one who did not", "meta"): "delivered",
    ("template, a number not there", "meta"): "failed (131026): it cannot be delivered",
    ("template to one who wrote STOP", "meta"): "skipped: opted out",
    ("buttons", "meta"): "read",
    ("template", "twilio"): "read",
    ("file", "whapi"): "delivered",
    ("text", "whapi"): "failed: Whapi could not send it",
    ("reaction to the first text", "meta"): "sent",
    ("flow", "cgb"): "sent",
}

CHAT: Final = [
    ("customer", "no webhook told of it"),
    ("customer", ""),
    ("customer", "voice note"),
    ("customer", ""),
    ("bot", ["LinkedIn", "Instagram", "Twitter", "Blog"]),
    ("customer", "tapped"),
    ("bot", ["Short", "Medium", "Long"]),
    ("customer", "tapped"),
    ("bot", ["Professional", "Casual", "Friendly", "Authoritative"]),
    ("customer", ""),
    ("customer", "tapped"),
    ("bot", []),
]
"""Who writes, and what the customer's message is, or what buttons the bot's has."""
LABELS: Final = (
    "cold-lead",
    "engagement-medium",
    "interest-volkswagen",
    "journey-comparing",
    "preference-electric",
    "source-whatsapp",
)
STAGE: Final = ("Volkswagen", "comparing")


def demo(home: Path, *options: str) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    argv = [sys.executable, "-m", "daemon", "demo", "--json", *options]
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_demo_shows_every_kind_of_end_and_a_second_run_does_nothing_more(tmp_path: Path) -> None:
    first = demo(tmp_path, "--orders", "10")
    assert (first["ok"], first["disagreements"]) == (True, [])
    assert {one["what"]: one["outcome"] for one in first["orders"]}.items() >= ENDS.items()
    assert first["bulk"] == {"orders": 8, "outcomes": {"done": 8}, "writes": 0}

    assert {(one["what"], one["provider"]): one["outcome"] for one in first["messages"]} == MESSAGES
    assert [one["sends"] for one in first["messages"]] == [not end.startswith("skipped") for end in MESSAGES.values()]

    held(first["conversation"])

    again = demo(tmp_path, "--orders", "10")
    assert again["ok"] is True
    accepted = [one for one in again["orders"] if one["status"] == 202]
    assert {one["outcome"] for one in accepted} == {"duplicate, nothing done"}
    assert again["simulator"]["writes"] == 0
    assert {one["message_id"] for one in again["messages"]} == {one["message_id"] for one in first["messages"]}
    assert {(one["sends"], one["duplicate"]) for one in again["messages"]} == {(0, True)}
    held(again["conversation"])


def held(chat: dict[str, Any]) -> None:
    """The conversation took its course: silent notes, each question once, one order, as it was corrected."""
    said = chat["messages"]
    assert [(one["by"], one["buttons"] if one["by"] == "bot" else one["how"]) for one in said] == CHAT
    assert all(title in said[-1]["text"] for title in ("Instagram", "Short", "Friendly", "tidal power"))
    assert (chat["notes"], chat["objects"], chat["transcribed"], chat["found_by_sweep"]) == (8, 8, 1, 1)
    (order,) = chat["orders"]
    fields = {name: order[name] for name in ("platform", "length", "tone", "topic")}
    assert fields == {"platform": "instagram", "length": "short", "tone": "friendly", "topic": "tidal power"}
    assert tuple(chat["labels"]) == LABELS
    assert (chat["attributes"]["interested_in_make"], chat["attributes"]["conversation_stage"]) == STAGE

"""The settings in the code, in deploy/SETTINGS.md and in the example file are the same ones."""

from __future__ import annotations

import re
from pathlib import Path

from daemon.settings.load import NAMES, load_settings, shown
from daemon.settings.model import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
TEMPLATES = "CGB_TEMPLATE_<NAME>"


def in_code() -> dict[str, str]:
    return {name: text for name, text, _ in shown(Settings())} | {TEMPLATES: "unset"}


def on_the_page() -> list[tuple[str, str]]:
    text = (DEPLOY / "SETTINGS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z0-9_<>]+)` \| (.*?) \| .+ \|$", text, flags=re.M)
    return [(name, default.strip("`")) for name, default in rows]


def in_example() -> list[tuple[str, str]]:
    text = (DEPLOY / "ferryman.env.example").read_text(encoding="utf-8")
    return re.findall(r"^#?([A-Z0-9_<>]+)=(.*)$", text, flags=re.M)


def test_every_setting_is_on_the_page_once_with_its_default() -> None:
    rows = on_the_page()
    assert len(rows) == len(NAMES) + 1
    assert dict(rows) == in_code()


def test_every_setting_is_in_the_example_file_once_with_its_default() -> None:
    rows = in_example()
    assert len(rows) == len(NAMES) + 1
    assert {name: default or "unset" for name, default in rows} == in_code()


def test_the_example_file_can_be_used_as_it_is() -> None:
    assert load_settings({}, DEPLOY / "ferryman.env.example") == Settings()

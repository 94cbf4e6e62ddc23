"""Forms of pages in tests: the question before a verb, answered with yes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any, Final

from tests.support.browsers import Browser, Shown

FIELD: Final = re.compile(r'type="hidden" name="([^"]*)" value="([^"]*)"')
OURS: Final = ("csrf", "back", "zone")


def asked_count(shown: Shown) -> int:
    """The count that the question of *shown* names."""
    found = re.search(r'name="confirmed" value="(\d+)"', shown.text)
    assert found is not None, shown.text
    return int(found[1])


def kept(shown: Shown) -> dict[str, list[str]]:
    """The hidden fields of the question."""
    fields: dict[str, list[str]] = {}
    for name, value in FIELD.findall(shown.text.partition("<main")[2].partition("</main")[0]):
        if name not in OURS:
            fields.setdefault(name, []).append(unescape(value))
    return fields


async def say_yes(browser: Browser, path: str, fields: Mapping[str, Any], **more: str) -> tuple[int, Shown]:
    """Ask for the verb at *path*, and say yes with *more* fields: how many it named, and the answer to the yes."""
    asked = await browser.post(path, fields)
    assert asked.status == 200, asked.text
    return asked_count(asked), await browser.post(path, {**kept(asked), **more})

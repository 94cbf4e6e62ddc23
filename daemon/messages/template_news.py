"""`template.changed`: what a provider tells of one of its templates, as a row of what the table is to hold."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from adapters.postgres.templates import Told
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.told import time_told, told_in

_WORDS: Final = ("status", "category", "quality")


def told_of(event: Event) -> Told:
    """What *event* tells. Raises: Malformed."""
    told = told_in(event)
    template, system = told.get("template"), told.get("system")
    if not isinstance(template, dict) or not isinstance(system, str):
        raise Malformed("the event names no template")
    name, language, id = (template.get(member) for member in ("name", "language", "id"))
    if not isinstance(name, str) or not isinstance(language, str) or not isinstance(id, str | None):
        raise Malformed("the event's template has not its members")
    return _row(told, system, (name, language, id), time_told(told, event.time))


def _row(told: dict[str, Any], system: str, template: tuple[str, str, str | None], at: datetime) -> Told:
    words = {word: told.get(word) for word in _WORDS}
    if not all(isinstance(word, str | None) for word in words.values()):
        raise Malformed("what is new of the template is not text")
    name, language, id = template
    deleted, again = words["status"] == "DELETED", told.get("again") is True
    return Told(system, name, language, id, at, **words, deleted=deleted, again=again)

"""What is wrong between the parts of `messages.toml`: fields that no event has, and keys that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from daemon.messages.automatic_fields import DATA, MOMENTS, ORDER, REPORT, TIME, fault_of
from daemon.messages.automatic_texts import has_stray_brace, places
from daemon.rules.parts import table
from daemon.rules.problems import Fault, KeyPath, visible

_ONCE: Final[Mapping[str, tuple[str, ...]]] = {
    ORDER: ("order", "applicant", "status"),
    REPORT: ("report", "applicant", "order"),
}
"""Trigger -> for what a message may be sent once."""


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """All of them. *document* is parsed and not yet checked: any part may have any shape."""
    rules = document.get("rules")
    names: dict[str, int] = {}
    for at, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        name = rule.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Fault(("rules", at, "name"), f"is the name of rule {names[name] + 1} too: give each its own")
        yield from _of_rule(("rules", at), rule)


def _of_rule(path: KeyPath, rule: Mapping[str, Any]) -> Iterator[Fault]:
    when, then = table(rule, "when"), table(rule, "then")
    trigger, once = str(when.get("event")), then.get("once")
    if trigger in _ONCE and isinstance(once, str) and once not in _ONCE[trigger]:
        yield Fault((*path, "then", "once"), f"must be one of {', '.join(_ONCE[trigger])} for {trigger}")
    each = once == "applicant"
    for name in table(rule, "where"):
        if why := fault_of(name, trigger, each=each):
            yield Fault((*path, "where", name), why)
    for place, text in _texts(then):
        yield from _of_text((*path, "then", *place), text, trigger, each=each, timed="of" in then)
    yield from _of_then((*path, "then"), then, trigger, each)


def _of_text(path: KeyPath, text: str, trigger: str, *, each: bool, timed: bool) -> Iterator[Fault]:
    if has_stray_brace(text):
        yield Fault(path, "has a brace that belongs to no field: write a field as {order.id}, and no other brace")
    for place in places(text):
        if not (timed and place.field == TIME) and (why := fault_of(place.field, trigger, each=each)):
            yield Fault(path, why)


def _of_then(path: KeyPath, then: Mapping[str, Any], trigger: str, each: bool) -> Iterator[Fault]:
    """Which keys go together."""
    if ("templates" in then) == ("text" in then):
        yield Fault(path, "must have one of templates and text: templates reach people at any time")
    for key in ("templates", "text"):
        if then.get(key) == {}:
            yield Fault((*path, key), 'names no language: write one as he = …, or "*" = … for all')
    if "text" in then and "variables" in then:
        yield Fault((*path, "variables"), "are of templates: write the fields into the text")
    any_template = table(table(then, "templates"), "*")
    if any_template and "language" not in any_template:
        yield Fault((*path, "templates", "*"), "must have a language: the template's own")
    times = [key for key in ("delay", "before", "after") if key in then]
    if len(times) > 1:
        yield Fault((*path, times[1]), f"stands beside {times[0]}: write one of delay, before and after")
    relative = [key for key in ("before", "after") if key in then]
    if relative and "of" not in then:
        yield Fault((*path, relative[0]), 'needs of = "FIELD": the field that names the time')
    if "of" in then and not relative:
        yield Fault((*path, "of"), "needs before or after: how long")
    if isinstance(of := then.get("of"), str):
        yield from _of_moment((*path, "of"), of, trigger, each)


def _of_moment(path: KeyPath, name: str, trigger: str, each: bool) -> Iterator[Fault]:
    if why := fault_of(name, trigger, each=each):
        yield Fault(path, why)
    elif name not in MOMENTS and DATA not in name:
        known = ", ".join(sorted(MOMENTS))
        yield Fault(path, f"{visible(name)} names no time: take one of {known}, or a member of the webhook, data.…")


def _texts(then: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The texts with places, and where each stands."""
    variables = then.get("variables")
    numbered = list(enumerate(variables)) if isinstance(variables, list) else list(table(then, "variables").items())
    found: list[tuple[KeyPath, Any]] = [(("variables", key), text) for key, text in numbered]
    found += [(("text", language), text) for language, text in table(then, "text").items()]
    found.append((("document",), then.get("document")))
    return ((path, text) for path, text in found if isinstance(text, str))

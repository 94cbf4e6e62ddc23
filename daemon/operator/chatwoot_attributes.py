"""The definitions of what the rules of labels write on contacts: Chatwoot shows no other attribute."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from adapters.chatwoot.setup import ChatwootSetup, Definition
from daemon.conversations.labels.attributes import attributes
from daemon.conversations.labels.rules import LabelRules
from daemon.operator.steps import Step

PART: Final = "attributes"
_ODD: Final = (
    "leave it where that was meant; else delete it in Chatwoot → Settings → Custom Attributes, and run this again"
)


class Plan(NamedTuple):
    """*new*: to be made. *wider*: to be given further values. *odd*: there, and of another kind: left alone."""

    new: Sequence[Definition]
    wider: Sequence[Definition]
    odd: Sequence[Definition]


def plan(rules: LabelRules, there: Sequence[Definition]) -> Plan:
    """What lacks of the attributes that *rules* write."""
    known = {one.key: one for one in there}
    wanted = [Definition(one.key, one.title, one.kind, one.values) for one in attributes(rules)]
    same = [one for one in wanted if one.key in known and known[one.key].kind == one.kind]
    wider = [_wider(known[one.key], one) for one in same if set(one.values) - set(known[one.key].values)]
    odd = [known[one.key] for one in wanted if one.key in known and known[one.key].kind != one.kind]
    return Plan([one for one in wanted if one.key not in known], wider, odd)


def _wider(there: Definition, wanted: Definition) -> Definition:
    lacks = (value for value in wanted.values if value not in there.values)
    return replace(there, values=(*there.values, *lacks))


async def define(calls: ChatwootSetup, rules: LabelRules, *, dry_run: bool) -> AsyncIterator[Step]:
    """The steps. Raises: what the calls raise."""
    found = plan(rules, await calls.definitions())
    for one in found.new if not dry_run else ():
        await calls.define(one)
    if found.new:
        yield Step(PART, "planned" if dry_run else "made", _names(found.new))
    for one in found.wider if not dry_run else ():
        await calls.redefine(one)
    if found.wider:
        yield Step(PART, "planned" if dry_run else "changed", f"further values of {_names(found.wider)}")
    if found.odd:
        yield Step(PART, "warn", f"of another kind than we write: {_names(found.odd)}", _ODD)
    if not found.new and not found.wider:
        yield Step(PART, "ok", f"{len(attributes(rules)) - len(found.odd)} of contacts are defined")


def _names(of: Sequence[Definition]) -> str:
    return ", ".join(one.key for one in of)

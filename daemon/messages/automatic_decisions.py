"""Which automatic messages an event brings about, and why it brings about no other. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from daemon.messages.automatic_fields import TIME, Coded, Facts
from daemon.messages.automatic_rules import Condition, MessageRule, MessageRules, Presence, Then
from daemon.messages.automatic_texts import NoValue, filled
from daemon.messages.automatic_times import NoTime, named_by, time_of, zone_of
from daemon.rules.parts import ANY
from schemas.envelope import event_id
from schemas.languages import language_of
from schemas.messages import Content, Media, Template, Text
from schemas.phone import Phone

CANCELED: Final = "canceled"
OTHER_BRANCH: Final = "other branch"
NO_CONSENT: Final = "no consent"
NO_PHONE: Final = "no phone"
NO_RULE: Final = "no rule"
DISABLED: Final = "disabled"
NO_MATCH: Final = "does not match"
NO_TEMPLATE: Final = "no template for language"
NO_VALUE: Final = "a value is missing"
NO_DOCUMENT: Final = "no document"
TOO_OLD: Final = "too old"
REFUSED: Final = "refused"
OTHER_RULE: Final = "another rule counts"

LONGEST_ADDRESS: Final = 2000
HEADER: Final = "header"
"""The variable of a template that its header shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for all messages. *branches*: whose customers may get any; empty: all. *provider*: where a rule names
    none. *refusal*: why a provider cannot carry a content; None where it can."""

    rules: MessageRules
    branches: Collection[str]
    provider: str
    refusal: Callable[[str, Content], str | None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Wanted:
    """A message that is to be sent, at *not_before* (None: at once). *subject*: what *kind* tells of the order is told
    once for it. *old*: too old to be made now; it is changed where it waits already."""

    id: UUID
    rule: str
    kind: str
    subject: str
    provider: str
    account: str
    category: str
    language: str
    to: Phone
    content: Content
    not_before: datetime | None
    old: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule that asks for no message, for this *reason*, of a closed set. *detail*: what exactly, for an operator."""

    rule: str
    kind: str
    subject: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an event. *gate*: why its person gets no message at all."""

    gate: str | None
    wanted: Sequence[Wanted] = ()
    passed: Sequence[Passed] = field(default=())

    @property
    def skipped(self) -> str | None:
        """Why no message is asked for; None where one is."""
        if any(not one.old for one in self.wanted):
            return None
        reasons = [one.reason for one in self.passed if one.reason not in (NO_MATCH, DISABLED)]
        return self.gate or (TOO_OLD if self.wanted else reasons[0] if reasons else NO_RULE)


def decide(facts: Facts, told_language: str | None, terms: Terms, now: datetime) -> Decision:
    """Which messages *facts* bring about. *told_language*: what is known of the person's, as it was told."""
    if (gate := _gate(facts, terms)) is not None:
        return Decision(gate)
    assert facts.phone is not None
    person = _Person(facts.phone, language_of(told_language, facts.branch), zone_of(facts.branch, facts.phone))
    wanted: dict[UUID, Wanted] = {}
    passed: list[Passed] = []
    for rule in terms.rules.rules:
        if rule.when.event != facts.trigger:
            continue
        for applicant in _about(rule.then, facts):
            found = _of_rule(rule, facts, applicant, person, terms, now)
            if isinstance(found, Wanted) and found.id not in wanted:
                wanted[found.id] = found
            elif isinstance(found, Wanted):
                passed.append(Passed(rule.name, found.kind, found.subject, OTHER_RULE, wanted[found.id].rule))
            else:
                passed.append(found)
    return Decision(None, tuple(wanted.values()), tuple(passed))


@dataclass(frozen=True, slots=True)
class _Person:
    phone: Phone
    language: str | None
    zone: tzinfo


def _gate(facts: Facts, terms: Terms) -> str | None:
    if terms.branches and facts.branch not in terms.branches:
        return OTHER_BRANCH
    if facts.alerts is not True:
        return NO_CONSENT
    if facts.phone is None:
        return NO_PHONE
    if facts.canceled and not any(_tells_of_the_cancellation(rule) for rule in terms.rules.rules if rule.enabled):
        return CANCELED
    return None


def _tells_of_the_cancellation(rule: MessageRule) -> bool:
    statuses = rule.where.get("order.status")
    return isinstance(statuses, tuple) and CANCELED in (str(one).lower() for one in statuses)


def _about(then: Then, facts: Facts) -> Sequence[Mapping[str, Any]]:
    """The applicants that a message is about, one each; or none in particular."""
    return facts.applicants if then.each or facts.report else ({},)


def _of_rule(
    rule: MessageRule, facts: Facts, applicant: Mapping[str, Any], person: _Person, terms: Terms, now: datetime
) -> Wanted | Passed:
    then, subject = rule.then, _subject(rule.then, facts, applicant)
    passed = partial(Passed, rule.name, then.kind, subject)
    if not rule.enabled:
        return passed(DISABLED)
    if facts.canceled and not _tells_of_the_cancellation(rule):
        return passed(CANCELED)
    value = partial(facts.value, applicant=applicant)
    if (unmet := next(_unmet(rule.where, value), None)) is not None:
        return passed(NO_MATCH, unmet)
    named = None if then.of is None else named_by(value(then.of), facts.branch)
    try:
        not_before = time_of(then, named, facts.arrived_at, person.zone, now)
        content, language = _content(
            then, lambda name: named if name == TIME else value(name), person, terms.rules.words
        )
    except _No as no:
        return passed(no.reason, no.detail)
    except NoTime as no:
        return passed(no.reason, str(then.of))
    provider = then.provider or terms.provider
    if (refusal := terms.refusal(provider, content)) is not None:
        return passed(REFUSED, refusal)
    return Wanted(
        id=id_of(facts.order_id, then.kind, subject),
        rule=rule.name,
        kind=then.kind,
        subject=subject,
        provider=provider,
        account=then.account,
        category=then.category,
        language=language,
        to=person.phone,
        content=content,
        not_before=not_before,
        old=rule.when.within is not None and now - facts.said_at > rule.when.within,
    )


class _No(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


def id_of(order_id: str, kind: str, subject: str) -> UUID:
    """The id of the one message that tells *kind* of *subject* of an order."""
    return UUID(event_id("ferryman", "automatic", order_id, kind, subject))


def _subject(then: Then, facts: Facts, applicant: Mapping[str, Any]) -> str:
    if then.once == "status":
        return (facts.status or "").lower()
    if then.once == "applicant":
        return str(applicant.get("applicant.id"))
    if then.once == "report":
        return f"{applicant.get('applicant.id')}:{sha256(facts.report.encode()).hexdigest()[:16]}"
    return ""


def _unmet(where: Mapping[str, Condition], value: Callable[[str], Any]) -> Iterator[str]:
    """The conditions that do not hold, by their fields."""
    for name, condition in where.items():
        found = value(name)
        if isinstance(condition, Presence):
            holds = (found not in (None, "", [], {}, ())) is condition.present
        else:
            holds = not _forms(found).isdisjoint(str(one).lower() for one in condition)
        if not holds:
            yield name


def _forms(value: Any) -> frozenset[str]:
    """As what *value* may be named in a condition."""
    match value:
        case Coded(code):
            return frozenset({code.lower()})
        case tuple():
            return frozenset(form for item in value for form in _forms(item))
        case Decimal():
            return frozenset({str(value), f"{value:.0f}"} if value == value.to_integral_value() else {str(value)})
        case str() | int():
            return frozenset({str(value).lower()})
        case date():
            return frozenset({value.isoformat()})
    return frozenset()


def _content(
    then: Then, value: Callable[[str], Any], person: _Person, words: Mapping[str, Mapping[str, str]]
) -> tuple[Content, str]:
    """What is sent, and the language of the person that it is in. Raises: _No."""
    choices: Mapping[str, Any] = then.templates or then.text or {}
    language = person.language or ANY
    if language not in choices and (language := ANY) not in choices:
        raise _No(NO_TEMPLATE, person.language or "not known")
    spoken = {**words.get(ANY, {}), **words.get(person.language or "", {})}
    try:
        document = None if then.document is None else _address(then.document, value, person)
        if then.templates is None:
            text = filled(choices[language], value, spoken, person.zone)
            return (Text(text) if document is None else Media(document, "document", text)), language
        variables = {name: filled(text, value, spoken, person.zone) for name, text in then.variables.items()}
    except NoValue as lacking:
        raise _No(NO_VALUE, lacking.field) from None
    if document is not None:
        variables[HEADER] = document
    template = choices[language]
    return Template(template.name, template.language or language, variables), language


def _address(text: str, value: Callable[[str], Any], person: _Person) -> str:
    """Raises: _No."""
    try:
        address = filled(text, value, {}, person.zone, LONGEST_ADDRESS)
    except NoValue as lacking:
        raise _No(NO_DOCUMENT, lacking.field) from None
    if not address.startswith(("https://", "http://")) or any(c.isspace() for c in address):
        raise _No(NO_DOCUMENT, "no address")
    return address

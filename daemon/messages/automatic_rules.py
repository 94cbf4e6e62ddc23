"""The rules of automatic messages: `messages.toml`. Nothing here reads a file, and nothing decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from daemon.messages.automatic_faults import faults
from daemon.messages.automatic_fields import Trigger
from daemon.rules.files import RuleFile
from daemon.rules.parts import AnyLanguage, Flag, Integer, Part, Slug
from daemon.settings.model import Provider

_DURATION: Final = re.compile(r"([0-9]{1,4})([smhd])")
_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST: Final = timedelta(days=400)


def _duration(value: object) -> timedelta:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (length := timedelta(**{_UNITS[found[2]]: int(found[1])})) > _LONGEST:
        raise ValueError('must be a length of time, as "30m", "24h" or "2d", of 400 days at most')
    return length


def _clock(value: object) -> object:
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if not isinstance(value, str) or not re.fullmatch("(?:[01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError('must be a time of day, as "09:00"')
    return time.fromisoformat(value)


def _condition(value: object) -> object:
    """What may be written: a value, a list of values, or { present = true }."""
    if isinstance(value, dict) and value.keys() == {"present"} and isinstance(value["present"], bool):
        return Presence(present=value["present"])
    values = value if isinstance(value, list | tuple) else (value,)
    if not values or not all(isinstance(one, str | int) for one in values):
        raise ValueError("must be a text, a number, true or false, a list of these, or { present = true }")
    return tuple(values)


def _numbered(value: object) -> object:
    """A list of variables is of those that have numbers."""
    return {str(n): text for n, text in enumerate(value, 1)} if isinstance(value, list | tuple) else value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration)]
Filled: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096)]
Scalar: TypeAlias = Flag | Integer | str


class When(Part):
    """The event that a rule goes by. *within*: only so long after the order was changed last, or the report came."""

    event: Trigger
    within: Duration | None = None


class Presence(Part):
    """A condition: whether the field has a value."""

    present: Flag


Condition: TypeAlias = Annotated[Presence | tuple[Scalar, ...], BeforeValidator(_condition)]
"""Values of which the field has one, in whatever case of letters; or whether it has any."""


class NamedTemplate(Part):
    """A template of the provider. *language*: as the provider writes it; None: as the key that it stands under."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    language: Annotated[str, Field(min_length=2, max_length=20)] | None = None


class Then(Part):
    """What is sent, as `daemon/rules/shipped/messages.toml` says."""

    kind: Slug
    once: Literal["order", "applicant", "status", "report"]
    templates: Mapping[AnyLanguage, NamedTemplate] | None = None
    text: Mapping[AnyLanguage, Filled] | None = None
    variables: Annotated[
        Mapping[Annotated[str, Field(min_length=1, max_length=100)], Filled], BeforeValidator(_numbered)
    ] = Field(default_factory=dict)
    document: Filled | None = None
    provider: Provider | None = None
    account: Annotated[str, Field(min_length=1, max_length=60)] = "default"
    category: Literal["utility", "marketing", "authentication"] = "utility"
    delay: Duration | None = None
    before: Duration | None = None
    after: Duration | None = None
    of: str | None = None
    at: Annotated[time, BeforeValidator(_clock)] = time(9)

    @property
    def each(self) -> bool:
        """Whether it is about one applicant at a time."""
        return self.once == "applicant"


class MessageRule(Part):
    """One automatic message: by which event, under which conditions, and what is sent."""

    name: Slug
    enabled: Flag
    when: When
    where: Mapping[str, Condition] = Field(default_factory=dict)
    then: Then


class MessageRules(Part):
    """What `messages.toml` says. *words*: language -> code -> how the language says it."""

    words: Mapping[AnyLanguage, Mapping[str, Filled]] = Field(default_factory=dict)
    rules: tuple[MessageRule, ...]


MESSAGE_RULES: Final[RuleFile[MessageRules]] = RuleFile("messages.toml", MessageRules, faults)


def why_idle(rules: MessageRules) -> str | None:
    """Why no automatic message is sent by *rules*; None where one may be."""
    return None if any(rule.enabled for rule in rules.rules) else "no rule of messages.toml is enabled"

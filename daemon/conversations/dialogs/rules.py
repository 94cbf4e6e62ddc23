"""The rules of dialogs: `dialogs.toml`. Nothing here reads a file, and nothing decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from daemon.conversations.dialogs.faults import faults
from daemon.messages.automatic_rules import Duration
from daemon.rules.files import RuleFile
from daemon.rules.parts import ANY, AnyLanguage, Flag, Integer, Language, Part, Slug, listed

T = TypeVar("T")

MOST_OPTIONS: Final = 10
"""Rows of a list; Meta takes no more."""

LONGEST_BODY: Final = 1024
"""Characters of a question with options; Meta takes no longer ones."""

Kind: TypeAlias = Literal["choice", "text", "number", "date", "email", "phone", "photo"]


def _for_any_language(value: object) -> object:
    """What is said alike in all languages may be written without one."""
    return value if isinstance(value, dict) else {ANY: value}


def _label(title: str) -> str:
    if re.fullmatch("[a-z0-9_-]{1,60}", title):
        return title
    raise ValueError("must be small letters, digits, hyphens and underscores, 60 at most, as needs-human")


Body: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_BODY)]
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Words: TypeAlias = tuple[Word, ...]
Texts: TypeAlias = Annotated[Mapping[Language, Body], Field(min_length=1)]
Title: TypeAlias = Annotated[str, Field(min_length=1, max_length=24)]
Titles: TypeAlias = Annotated[Mapping[AnyLanguage, Title], BeforeValidator(_for_any_language), Field(min_length=1)]
Phrases: TypeAlias = Annotated[
    Mapping[AnyLanguage, Annotated[Words, BeforeValidator(listed)]], BeforeValidator(_for_any_language)
]


Labels: TypeAlias = tuple[Annotated[str, AfterValidator(_label)], ...]
"""Titles of labels, as Chatwoot takes them."""


class LanguageWords(Part):
    """How one language says what is no answer. *unsure*: the person does not know what to answer. *correct*: what
    follows counts in place of what was said before. *negate*: what follows is not meant. *fill*: means nothing beside
    an answer. *ordinals*: the words for 1, 2, 3, …"""

    cancel: Words = ()
    restart: Words = ()
    unsure: Words = ()
    correct: Words = ()
    negate: Words = ()
    fill: Words = ()
    ordinals: tuple[Words, ...] = ()
    last: Words = ()


class Notices(Part):
    """What is said beside questions. The `wrong_…` ones stand before a question that is asked again."""

    wrong_choice: Texts
    wrong_text: Texts
    wrong_number: Texts
    wrong_date: Texts
    wrong_email: Texts
    wrong_phone: Texts
    wrong_photo: Texts
    canceled: Texts
    handed_over: Texts
    bucket_failed: Texts
    order_failed: Texts
    ready: Texts


class Option(Part):
    """What may be answered. *value*: what is kept, in small letters. *title*: what is shown and tapped."""

    value: Slug
    title: Titles
    synonyms: Phrases = Field(default_factory=dict)


class DialogField(Part):
    """What a dialog asks for, as `daemon/rules/shipped/dialogs.toml` says."""

    name: Slug
    kind: Kind
    names: Phrases
    required: Flag = True
    where: Mapping[str, Annotated[Words, BeforeValidator(listed)]] = Field(default_factory=dict)
    prompt: Texts
    wrong: Texts | None = None
    options: Annotated[tuple[Option, ...], Field(max_length=MOST_OPTIONS)] = ()
    free: Flag = False
    lead: Phrases = Field(default_factory=dict)
    lower: Flag = False
    min: Integer | None = None
    max: Integer | None = None

    @property
    def takes_text(self) -> bool:
        """Whether any text may be its value."""
        return self.free or self.kind == "text"


class When(Part):
    """What begins a dialog: one of the two."""

    intent: Literal["ORDER"] | None = None
    event: Literal["applicant_issue.reported"] | None = None


class Reminder(Part):
    """What is said once, so long after the question."""

    after: Duration
    text: Texts


class GiveUp(Part):
    """When a dialog ends without an answer. *wrong_answers*: so often a question is asked again. *timeout*: what
    becomes of it when nobody answers."""

    wrong_answers: Annotated[Integer, Field(ge=0, le=9)] = 2
    timeout: Literal["silent", "escalate"] = "silent"
    labels: Labels = ()


class Done(Part):
    """What becomes of a dialog when all is known. *hand_over*: a person is to look at it. *labels*: of the conversation
    then."""

    hand_over: Flag = False
    labels: Labels = ()


class Dialog(Part):
    """A dialog: what begins it, what it asks for in which order, and how it ends. *given*: what it is told besides.
    *about*: which of these tells one such dialog from another. *notes*: longer texts that answer nothing are none."""

    name: Slug
    enabled: Flag
    title: Texts
    when: When
    given: tuple[Slug, ...] = ()
    about: Slug | None = None
    notes: Flag = True
    timeout: Duration
    reminder: Reminder | None = None
    give_up: GiveUp = Field(default_factory=GiveUp)
    done: Done = Field(default_factory=Done)
    confirmation: Texts
    fields: Annotated[tuple[DialogField, ...], Field(min_length=1, max_length=20)]

    def field(self, name: str | None) -> DialogField | None:
        """The field of that name; None where there is none."""
        return next((one for one in self.fields if one.name == name), None)

    @field_validator("reminder")
    @classmethod
    def _before_the_timeout(cls, reminder: Reminder | None, info: ValidationInfo) -> Reminder | None:
        if reminder is not None and reminder.after >= info.data.get("timeout", timedelta.max):
            raise ValueError("must come before the timeout")
        return reminder

    @property
    def languages(self) -> frozenset[str]:
        """The languages that it speaks."""
        return frozenset(self.confirmation)


class DialogRules(Part):
    """What `dialogs.toml` says. *language*: for people whose own a dialog does not speak."""

    language: Language
    words: Mapping[Language, LanguageWords] = Field(default_factory=dict)
    notices: Notices
    dialogs: tuple[Dialog, ...] = ()

    def dialog(self, name: str | None) -> Dialog | None:
        """The dialog of that name; None where there is none."""
        return next((one for one in self.dialogs if one.name == name), None)

    def begun_by(self, *, intent: str | None = None, event: str | None = None) -> Dialog | None:
        """The first enabled dialog that this begins; None where none does."""
        for one in self.dialogs:
            if one.enabled and ((one.when.intent, one.when.event) == (intent, event)):
                return one
        return None


DIALOGS: Final[RuleFile[DialogRules]] = RuleFile("dialogs.toml", DialogRules, faults)


def said_in(texts: Mapping[str, T], language: str, fallback: str) -> T:
    """What *texts* say in *language*; else alike in all; else in the *fallback*; else in the first one there is."""
    for key in (language, ANY, fallback):
        if key in texts:
            return texts[key]
    return next(iter(texts.values()))


def why_idle(rules: DialogRules) -> str | None:
    """Why no dialog begins by *rules*; None where one may."""
    return None if any(one.enabled for one in rules.dialogs) else "no dialog of dialogs.toml is enabled"

"""What a message says to an open dialog: answers, a correction, a wish to end it, or nothing. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from daemon.conversations.dialog_context import Asked, Context
from daemon.conversations.dialog_lexicon import Control, Speech, speech_of
from daemon.conversations.dialog_rules import Dialog, DialogField, DialogRules
from daemon.conversations.dialog_steps import Said
from daemon.conversations.dialog_values import option_value, text_value, typed_value
from daemon.conversations.matching import Hit, Token, hits, ordinal, readable, same, tokens

WORDS: Final = frozenset({"text", "choice", "voice", "audio"})
"""Kinds of messages whose text is what the person says; the text of a file is beside it."""

SILENT: Final = frozenset({"reaction", "system", "user_preferences"})

ANSWER_WORDS: Final = 8
"""A text of no more words, on one line, is meant as an answer."""

MOST_BESIDE: Final = 6
"""Words that may stand beside an answer to the open question."""

MOST_BESIDE_CORRECTION: Final = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """*values*: of fields, by name. *sure*: it is surely for the dialog. *wrong*: it was meant to answer the open
    question, and does not. Without any of these it is no answer."""

    values: Mapping[str, str] = field(default_factory=dict)
    control: Control | None = None
    sure: bool = False
    wrong: bool = False

    @property
    def used(self) -> bool:
        """Whether it is for the dialog."""
        return bool(self.values) or self.control is not None or self.wrong


NOTHING: Final = Reading()


def read(rules: DialogRules, dialog: Dialog, context: Context, said: Said) -> Reading:
    """What *said* says to *dialog*, which is the open one of *context*."""
    asked = context.question(said.answers)
    target = dialog.field(context.clarifying if asked is None else asked.field)
    if target is None or said.kind in SILENT:
        return NOTHING
    if said.choice and (values := _tapped(dialog, target, asked, said.choice)):
        return Reading(values, sure=True)
    if said.kind not in WORDS:
        found = _of_file(target, said)
        if found is not None:
            return found
    of_open = target.name == context.clarifying
    if not (text := said.text or said.choice or "").strip():
        return NOTHING
    found = _Text(speech_of(rules, dialog), dialog, target, asked, text).read(context)
    if found.used:
        return Reading(found.values, found.control, found.sure or asked is not None)
    return Reading(wrong=of_open and _is_meant_as_answer(dialog, said, text, direct=asked is not None))


def _tapped(dialog: Dialog, target: DialogField, asked: Asked | None, choice: str) -> dict[str, str]:
    """The value of what was tapped: of the question that it answers, of the open one, or of the only field that has
    such an option."""
    value = _of_options(target, asked, choice)
    if value is not None:
        return {target.name: value}
    if asked is not None:
        return {}
    others = [(one.name, value) for one in dialog.fields if (value := option_value(one, choice)) is not None]
    return dict(others) if len(others) == 1 else {}


def _of_options(target: DialogField, asked: Asked | None, text: str) -> str | None:
    """The value that *text* names: of an option as it was shown, else as the rules have it now."""
    for title, value in asked.options if asked is not None else ():
        if same(text, title) or same(text, value):
            return value
    return option_value(target, text)


def _of_file(target: DialogField, said: Said) -> Reading | None:
    """What a file says; None where its text is to be read."""
    if target.kind == "photo":
        taken = said.kind == "image"
        return Reading({target.name: said.message_key}, sure=True) if taken else Reading(wrong=True)
    return None


def _is_meant_as_answer(dialog: Dialog, said: Said, text: str, *, direct: bool) -> bool:
    """Whether a message that answers nothing was meant to: otherwise it is a note."""
    if direct:
        return True
    if said.kind not in WORDS:
        return False
    count = len(tokens(readable(text)))
    short = 0 < count <= ANSWER_WORDS and "\n" not in text.strip() and len(text) <= 200
    return short or not dialog.notes


@dataclass(frozen=True, slots=True)
class _Told:
    """What the phrases of a text say. *values*: of fields. *named*: fields that are called by name. *beside*: words
    that say nothing known. *corrects*: it begins as a correction, or has one."""

    values: Mapping[str, str]
    named: frozenset[str]
    beside: int
    corrects: bool


class _Text:
    """A text, read as an answer to the question for *target*."""

    def __init__(self, speech: Speech, dialog: Dialog, target: DialogField, asked: Asked | None, text: str) -> None:
        self._speech, self._dialog, self._target, self._asked = speech, dialog, target, asked
        self._whole = text
        self._text = readable(text)
        self._tokens: Sequence[Token] = tokens(self._text)
        self._words = [token.word for token in self._tokens]

    def read(self, context: Context) -> Reading:
        if (control := self._control()) is not None:
            return Reading(control=control, sure=True)
        if (value := self._whole_answer(context)) is not None:
            return Reading({self._target.name: value}, sure=True)
        if not self._words:
            return NOTHING
        told = self._told(list(hits(self._words, self._speech.lexicon)))
        if told.values and not told.beside:
            return Reading(told.values, sure=True)
        if (by_lead := self._by_lead(context)) is not None:
            return by_lead
        return self._beside_others(told)

    def _control(self) -> Control | None:
        for words in (self._words, [word for word in self._words if word not in self._speech.fill]):
            if (found := self._speech.controls.get(tuple(words))) is not None:
                return found
        return None

    def _whole_answer(self, context: Context) -> str | None:
        """The value that the text as a whole is: an option, its number, or what the kind of the field asks for."""
        target = self._target
        value = _of_options(target, self._asked, self._text)
        if value is not None:
            return value
        shown = self._asked or next((one for one in reversed(context.asked) if one.field == target.name), None)
        values = [value for _, value in shown.options] if shown else [one.value for one in target.options]
        at = ordinal(self._words, self._speech.ordinals, self._speech.fill, len(values))
        if at is not None:
            return values[at]
        return typed_value(target, self._text)

    def _told(self, found: Sequence[Hit]) -> _Told:
        """What the phrases say, field by field. Of several values of one field the last one counts after a correction,
        and else none: which one is meant is to be asked."""
        values: dict[str, list[str]] = {}
        named: list[str] = []
        beside, corrects, negated = 0, False, False
        for hit in found:
            field_of = hit.of("field")
            if (option := self._option(hit, named)) is not None:
                if not negated:
                    values.setdefault(option[0], []).append(option[1])
                negated = False
            elif hit.of("correct") is not None and (hit.of("negate") is None or hit.at == 0):
                corrects = True
            elif hit.of("negate") is not None:
                corrects = negated = True
            elif field_of is not None:
                named.append(field_of.field)
            elif not hit.meanings:
                beside += 1
                negated = False
        single = {name: told[-1] for name, told in values.items() if corrects or len(set(told)) == 1}
        return _Told(single, frozenset(named), beside + sum(name not in single for name in values), corrects)

    def _option(self, hit: Hit, named: Sequence[str]) -> tuple[str, str] | None:
        """The field and the value that *hit* names: of the field that was called by name, of the one that was asked
        for, else of the only one that has it."""
        found = {one.field: one.value for one in hit.meanings if one.kind == "option"}
        for name in (*named[-1:], self._target.name):
            if name in found:
                return name, found[name]
        return next(iter(found.items())) if len(found) == 1 else None

    def _by_lead(self, context: Context) -> Reading | None:
        """Free text after a word that leads to it, as in "short, about X" and "change the topic to X"."""
        found = list(hits(self._words, self._speech.lexicon))
        for at, hit in enumerate(found):
            name = self._led_to(hit, context)
            if name is None:
                continue
            before = self._told(found[:at])
            called = hit.of("field") is not None
            start = next((one.at for one in found[at + 1 :] if not (one.of("fill") or one.of("lead"))), None)
            if before.beside or start is None or not (before.values or called or name == self._target.name):
                return None
            field = self._dialog.field(name)
            value = text_value(field, self._rest(start)) if field is not None else None
            return None if value is None else Reading({**before.values, name: value}, sure=called)
        return None

    def _led_to(self, hit: Hit, context: Context) -> str | None:
        for kind in ("field", "lead"):
            meaning = hit.of(kind)
            field = self._dialog.field(meaning.field) if meaning is not None else None
            if field is not None and field.takes_text and (kind == "field" or field.name not in context.params):
                return field.name
        return None

    def _rest(self, start: int) -> str:
        """The text from its word number *start* on, whole."""
        rest = self._text[self._tokens[start].start :]
        return rest + self._whole.strip()[len(self._text) :] if len(self._whole.strip()) > len(self._text) else rest

    def _beside_others(self, told: _Told) -> Reading:
        """An answer among other words; or, where any text will do, the whole text."""
        target = self._target
        others = {name: value for name, value in told.values.items() if name != target.name}
        amends = told.corrects or bool(told.named)
        if others and amends and told.beside <= MOST_BESIDE_CORRECTION:
            return Reading(told.values)
        if target.takes_text:
            value = text_value(target, self._whole)
            return NOTHING if value is None else Reading({target.name: value})
        if target.name in told.values and told.beside <= MOST_BESIDE:
            return Reading(told.values)
        return NOTHING

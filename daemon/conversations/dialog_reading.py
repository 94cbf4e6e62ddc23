"""What a message says to an open dialog: answers, a correction, a wish to end it, or nothing. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from daemon.conversations.dialog_context import Asked, Context
from daemon.conversations.dialog_lexicon import Control, Speech, speech_of
from daemon.conversations.dialog_rules import Dialog, DialogField, DialogRules
from daemon.conversations.dialog_steps import Said
from daemon.conversations.dialog_values import option_value, text_value, typed_value
from daemon.conversations.matching import MOST_READ, Hit, Token, hits, ordinal, same, tokens
from schemas.cleaned import cut, visible

WORDS: Final = frozenset({"text", "choice", "voice", "audio"})
"""Kinds of messages whose text is what the person says; the text of a file is beside it."""

FILES: Final = frozenset({"video", "document"})
"""Kinds of files that somebody may send for a photo."""

SILENT: Final = frozenset({"reaction", "system", "user_preferences"})

MOST_KEPT: Final = 10_000
"""Characters of a message that free text is taken from."""

ANSWER_WORDS: Final = 3
"""A text on one line with no more words that mean something is meant as an answer. A longer one is a note."""

MOST_BESIDE: Final = 2
"""Words that say nothing known and may stand beside an answer."""

MOST_BESIDE_REPLY: Final = 6
"""The same, of a message that replies to the question."""


@dataclass(frozen=True, slots=True)
class Reading:
    """*values*: of fields, by name. *again*: the field that the person wants to answer anew. *sure*: it is surely for
    the dialog. *wrong*: it was meant to answer the open question, and does not. Without any of these it is no
    answer."""

    values: Mapping[str, str] = field(default_factory=dict)
    control: Control | None = None
    again: str | None = None
    sure: bool = False
    wrong: bool = False

    @property
    def used(self) -> bool:
        """Whether it is for the dialog."""
        return bool(self.values) or self.control is not None or self.again is not None or self.wrong


NOTHING: Final = Reading()


def read(rules: DialogRules, dialog: Dialog, context: Context, said: Said) -> Reading:
    """What *said* says to *dialog*, which is the open one of *context*."""
    asked = context.question(said.answers)
    target = dialog.field(context.clarifying if asked is None else asked.field)
    if target is None or said.kind in SILENT:
        return NOTHING
    if said.choice and (values := _tapped(dialog, target, asked, said.choice)):
        return Reading(values, sure=True)
    of_open, direct = target.name == context.clarifying, asked is not None
    if target.kind == "photo" and said.kind not in WORDS:
        if said.kind == "image":
            return Reading({target.name: said.message_key}, sure=True)
        return Reading(wrong=of_open and (direct or said.kind in FILES))
    text = (said.text or said.choice or "").strip()
    if not text:
        return NOTHING
    told = _Text(speech_of(rules, dialog), dialog, target, asked, text)
    found = told.read(context)
    if found.used and (found.sure or direct or said.kind in WORDS):
        return replace(found, sure=found.sure or direct)
    meant = direct or (said.kind in WORDS and (told.is_short or not dialog.notes))
    return Reading(wrong=of_open and meant)


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
        self._whole = visible(cut(text, MOST_KEPT)).strip()
        self._text = cut(self._whole, MOST_READ)
        self._is_cut = len(self._whole) > MOST_READ
        self._lines = text.strip().count("\n") + 1
        self._tokens: Sequence[Token] = tokens(self._text)
        self._words = [token.word for token in self._tokens]
        self._hits = tuple(hits(self._words, speech.lexicon))

    @property
    def is_short(self) -> bool:
        """Whether it has few enough words to be meant as an answer, and at least one."""
        count = sum(hit.of("fill") is None for hit in self._hits)
        return bool(self._words) and count <= ANSWER_WORDS and not self._is_cut and self._lines == 1

    def read(self, context: Context) -> Reading:
        """What it says."""
        if not self._words and not self._target.options:
            return NOTHING
        if (value := self._whole_answer(context)) is not None:
            return Reading({self._target.name: value}, sure=True)
        if (control := self._control()) is not None:
            return Reading(control=control, sure=True)
        told = self._told(self._hits)
        if not told.beside and not self._is_cut:
            if told.values:
                return Reading(told.values, sure=True)
            if told.corrects and len(told.named) == 1:
                return Reading(again=next(iter(told.named)), sure=True)
            if not told.named or not self._target.takes_text:
                return NOTHING
        return self._by_lead(context) or self._beside_others(told)

    def _control(self) -> Control | None:
        for words in (self._words, [word for word in self._words if word not in self._speech.fill]):
            if not self._is_cut and (found := self._speech.controls.get(tuple(words))) is not None:
                return found
        return None

    def _whole_answer(self, context: Context) -> str | None:
        """The value that the text as a whole is: an option, its number, or what the kind of the field asks for."""
        target = self._target
        if self._is_cut:
            return None
        value = _of_options(target, self._asked, self._text)
        if value is not None:
            return value
        shown = self._asked or next((one for one in reversed(context.asked) if one.field == target.name), None)
        values = [value for _, value in shown.options] if shown else [one.value for one in target.options]
        at = ordinal(self._words, self._speech.ordinals, self._speech.fill, len(values))
        if at is not None:
            return values[at]
        value = typed_value(target, self._text)
        loose = target.kind in ("number", "date") and self._asked is None
        return None if loose and len([word for word in self._words if word.isalpha()]) > MOST_BESIDE_REPLY else value

    def _told(self, found: Sequence[Hit]) -> _Told:
        """What the phrases say, field by field. Of several values of one field the last one counts after a correction,
        and else none: which one is meant is to be asked."""
        values: dict[str, list[str]] = {}
        named: list[str] = []
        beside, corrects, negated = 0, False, False
        for hit in found:
            called = hit.of("field")
            if (option := self._option(hit, named)) is not None:
                if not negated:
                    values.setdefault(option[0], []).append(option[1])
                negated = False
            elif hit.of("correct") is not None and (hit.of("negate") is None or hit.at == 0):
                corrects = True
            elif hit.of("negate") is not None:
                corrects = negated = True
            elif called is not None:
                named.append(called.field)
            elif not hit.meanings:
                beside += 1
                negated = False
        single = {name: told[-1] for name, told in values.items() if corrects or len(set(told)) == 1}
        return _Told(single, frozenset(named), beside + len(values) - len(single), corrects)

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
        for at, hit in enumerate(self._hits):
            field = self._led_to(hit, context)
            if field is None:
                continue
            before = self._told(self._hits[:at])
            called = hit.of("field") is not None
            skipped = ("fill", "lead", "correct") if called else ("lead",)
            start = next((one.at for one in self._hits[at + 1 :] if not any(one.of(kind) for kind in skipped)), None)
            if before.beside or start is None or not (before.values or called or field is self._target):
                return None
            value = text_value(field, self._whole[self._tokens[start].start :])
            return None if value is None else Reading({**before.values, field.name: value}, sure=called)
        return None

    def _led_to(self, hit: Hit, context: Context) -> DialogField | None:
        """The field whose text follows *hit*: one that is called by name, or is led to and not known yet."""
        for kind in ("field", "lead"):
            meaning = hit.of(kind)
            field = self._dialog.field(meaning.field) if meaning is not None else None
            if field is not None and field.takes_text and (kind == "field" or field.name not in context.params):
                return field
        return None

    def _beside_others(self, told: _Told) -> Reading:
        """An answer among other words; or, where any text will do, the whole text."""
        target, most = self._target, MOST_BESIDE if self._asked is None else MOST_BESIDE_REPLY
        few = told.beside <= most and not self._is_cut
        others = any(name != target.name for name in told.values)
        if others and (told.corrects or told.named) and few:
            return Reading(told.values)
        if target.takes_text:
            value = text_value(target, self._whole)
            return NOTHING if value is None else Reading({target.name: value})
        return Reading(told.values) if target.name in told.values and few else NOTHING

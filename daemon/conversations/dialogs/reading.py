"""What a message says to an open dialog: answers, a correction, a wish to end it, or nothing. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from daemon.conversations.dialogs.context import Asked, Context
from daemon.conversations.dialogs.lexicon import Control, Speech, speech_of
from daemon.conversations.dialogs.matching import ordinal, phrase, same
from daemon.conversations.dialogs.phrases import Phrases, Told
from daemon.conversations.dialogs.rules import Dialog, DialogField, DialogRules
from daemon.conversations.dialogs.steps import Said
from daemon.conversations.dialogs.values import option_value, text_value, typed_value
from schemas.told import SILENT, SPOKEN

WORDS: Final = frozenset({"text", "choice", *SPOKEN})
"""Kinds of messages whose text is what the person says; the text of a file is beside it."""

FILES: Final = frozenset({"video", "document"})
"""Kinds of files that somebody may send for a photo."""

ANSWER_WORDS: Final = 3
"""A text with no more words that mean something is meant as an answer. A longer one is a note."""

QUESTION_WORDS: Final = 8
"""The same, of a text that asks back."""

MOST_BESIDE: Final = 2
"""Words that say nothing known and may stand beside an answer."""

MOST_BESIDE_REPLY: Final = 6
"""The same, of a message that replies to the question."""

MOST_BESIDE_NUMBER: Final = 6
"""Words of a message whose number or day is an answer without a reply."""


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


def params_in(rules: DialogRules, dialog: Dialog, text: str) -> dict[str, str]:
    """What a message that begins *dialog* says already: options in whatever language, and free text that is led to, as
    in "a short post about X". An option of a field that takes any text counts where nothing else is said."""
    phrases = Phrases(speech_of(rules, dialog), dialog, text, None)
    if (led := phrases.led()) is not None:
        return {**led.values, led.field.name: led.value}
    told = phrases.told(phrases.hits)
    free = {field.name for field in dialog.fields if field.takes_text}
    return {name: value for name, value in told.values.items() if not told.beside or name not in free}


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
    told = _Answer(speech_of(rules, dialog), dialog, target, asked, context, text)
    found = told.read()
    if found.used and (found.sure or direct or said.kind in WORDS):
        return replace(found, sure=found.sure or direct)
    meant = direct or (said.kind in WORDS and told.is_meant(dialog))
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


class _Answer:
    """A text, read as an answer to the question for *target*."""

    def __init__(
        self, speech: Speech, dialog: Dialog, target: DialogField, asked: Asked | None, context: Context, text: str
    ) -> None:
        self._speech, self._target, self._asked, self._context = speech, target, asked, context
        self._text = Phrases(speech, dialog, text, target.name, context.params)

    def is_meant(self, dialog: Dialog) -> bool:
        """Whether it was meant as an answer, though it is none: it has words that mean something, and not so many that
        it is a note."""
        said = (hit for hit in self._text.hits if hit.of("fill") is None or hit.of("correct") is not None)
        count = sum(hit.length for hit in said)
        most = QUESTION_WORDS if self._text.whole.endswith(("?", "？", "؟")) else ANSWER_WORDS
        short = count <= most and not self._text.is_cut
        return self._control() is not None or (count > 0 and (short or not dialog.notes))

    def read(self) -> Reading:
        """What it says."""
        text, target = self._text, self._target
        if (value := self._whole_answer()) is not None:
            return Reading({target.name: value}, sure=True)
        if (control := self._control()) is not None:
            return NOTHING if control == "unsure" else Reading(control=control, sure=True)
        told = text.told(text.hits)
        if not told.beside:
            if told.values:
                return Reading(told.values, sure=True)
            if len(told.again) == 1:
                return Reading(again=next(iter(told.again)), sure=True)
            if not told.named or not target.takes_text:
                return NOTHING
        led = text.led()
        whole = led is None or (led.field is target and target.name in led.before.values)  # "News about X"
        if led is not None and not whole and (led.before.values or led.called or led.field is target):
            return Reading({**led.values, led.field.name: led.value}, sure=led.called)
        return self._beside_others(told)

    def _control(self) -> Control | None:
        words = self._text.words
        for some in (words, [word for word in words if word not in self._speech.fill]):
            if (found := self._speech.controls.get(tuple(some))) is not None:
                return None if self._text.is_cut else found
        return None

    def _whole_answer(self) -> str | None:
        """The value that the text as a whole is: an option, its number, or what the kind of the field asks for."""
        target, words = self._target, self._text.words
        if self._text.is_cut:
            return None
        if (value := _of_options(target, self._asked, self._text.whole)) is not None:
            return value
        shown = self._asked or next((one for one in reversed(self._context.asked) if one.field == target.name), None)
        values = [value for _, value in shown.options] if shown else [one.value for one in target.options]
        fill = self._speech.fill | {word for names in target.names.values() for name in names for word in phrase(name)}
        if (at := ordinal(words, self._speech.ordinals, fill, len(values))) is not None:
            return values[at]
        is_note = target.kind in ("number", "date") and self._asked is None and len(words) > MOST_BESIDE_NUMBER
        return None if is_note else typed_value(target, self._text.whole)

    def _beside_others(self, told: Told) -> Reading:
        """An answer among other words; or, where any text will do, the whole text."""
        target, most = self._target, MOST_BESIDE if self._asked is None else MOST_BESIDE_REPLY
        others = any(name != target.name for name in told.values)
        if target.takes_text:
            if others and told.begins_corrected and told.beside == 1:
                return Reading(told.values)
            value = text_value(target, self._text.whole) if self._text.words else None
            return NOTHING if value is None else Reading({target.name: value})
        answers = target.name in told.values or (others and (told.corrects or told.named))
        return Reading(told.values) if answers and told.beside <= most else NOTHING

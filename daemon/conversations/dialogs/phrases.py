"""A text as the phrases of a dialog that it holds. Values in, values out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.conversations.dialogs.lexicon import Speech
from daemon.conversations.dialogs.matching import MOST_READ, Hit, Meaning, hits, tokens
from daemon.conversations.dialogs.rules import Dialog, DialogField
from daemon.conversations.dialogs.values import text_value
from schemas.cleaned import cut, visible

MOST_KEPT: Final = 10_000
"""Characters of a message that free text is taken from."""

NEGATED_WORDS: Final = 2
"""So many unknown words may stand between "not" and what is not meant."""

NONE: Final[Mapping[str, str]] = {}

_AFTER_NO: Final = frozenset(",.:;!-–—")
_BETWEEN: Final = " ,;.!-–—"
_SEGMENT: Final = re.compile(r"[,;.!]\s+|\s+[-–—]\s+")


@dataclass(frozen=True, slots=True)
class Told:
    """What phrases say. *values*: of fields. *named*: fields that are called by name. *again*: fields that are to be
    asked for anew: their value is taken back, or to be changed, and no other one is told. *beside*: words that say
    nothing known, and fields of which several values are named. *corrects*: a phrase of correction is among them;
    *begins_corrected*: it is the first one."""

    values: Mapping[str, str]
    named: frozenset[str]
    again: frozenset[str]
    beside: int
    corrects: bool
    begins_corrected: bool


@dataclass(frozen=True, slots=True)
class Led:
    """Free text that is led to, as in "short, about X" and "change the topic to X". *at*: of the leading phrase.
    *before*: what stands before it. *called*: the field is called by name. *values*: what is told beside the text."""

    at: int
    field: DialogField
    value: str
    before: Told
    called: bool
    values: Mapping[str, str]


class Phrases:
    """A text. *target*: the name of the field that was asked for: of several fields that have a phrase it is meant.

    *known*: values of fields. *is_cut*: it is longer than what is read of it, so there are words beside whatever it
    says.
    """

    def __init__(
        self, speech: Speech, dialog: Dialog, text: str, target: str | None, known: Mapping[str, str] = NONE
    ) -> None:
        self._speech, self._dialog, self._target, self._known = speech, dialog, target, known
        self.whole = visible(cut(text, MOST_KEPT)).strip()
        self.is_cut = len(self.whole) > MOST_READ
        self._tokens = tokens(cut(self.whole, MOST_READ))
        self.words = [token.word for token in self._tokens]
        self.hits = _in_one_language(tuple(hits(self.words, speech.lexicon, speech.longest)))

    def told(self, found: Sequence[Hit]) -> Told:
        """What phrases of the text say, field by field. Of several values of one field the last one counts after a
        correction, and else none: which one is meant is to be asked."""
        values: dict[str, list[str]] = {}
        named: list[str] = []
        denied: list[str] = []
        beside, corrects, negated = MOST_READ if self.is_cut else 0, False, 0
        for hit in found:
            option, called = self._option(hit, named), hit.of("field")
            if option is not None and (negated or self._denies(found[0], option)):
                denied.append(option[0])
                negated = 0
            elif option is not None:
                values.setdefault(option[0], []).append(option[1])
            elif hit.of("correct") is not None and (hit.of("negate") is None or hit.at == 0):
                corrects = True
            elif hit.of("negate") is not None:
                corrects, negated = True, NEGATED_WORDS
            elif called is not None:
                named.append(called.field)
            elif not hit.meanings:
                beside, negated = beside + 1, max(0, negated - 1)
        single = {name: told[-1] for name, told in values.items() if corrects or len(set(told)) == 1}
        open_one = None if self._target in self._known else self._target
        again = frozenset(name for name in (*named, *denied) if corrects and name not in {*values, open_one})
        begins = bool(found) and found[0].of("correct") is not None
        beside += len(values) - len(single)
        return Told(single, frozenset(named), again, beside, corrects, begins)

    def _denies(self, first: Hit, option: tuple[str, str]) -> bool:
        """Whether the *first* word of the text, which says "no" as well as "not", takes *option* back, as in "não
        LinkedIn". It does not before a comma, as in "não, LinkedIn", nor where the option is a new value."""
        if first.at or first.of("negate") is None or first.of("correct") is None:
            return False
        field, value = option
        end = self._tokens[first.length - 1].end
        if self.whole[end : end + 1] in _AFTER_NO:
            return False
        if field in self._known:
            return self._known[field] == value
        return any(hit.at == first.length and Meaning("option", field, value) in hit.meanings for hit in self.hits)

    def _option(self, hit: Hit, named: Sequence[str]) -> tuple[str, str] | None:
        """The field and the value that *hit* names: of the field that was called by name, of the one that was asked
        for, else of the only one that has it."""
        found = {one.field: one.value for one in hit.meanings if one.kind == "option"}
        for name in (*named[-1:], self._target):
            if name in found:
                return name, found[name]
        return next(iter(found.items())) if len(found) == 1 else None

    def led(self) -> Led | None:
        """Free text after the first phrase that leads to it, where all before that phrase is understood, or where the
        text begins a dialog. To a field that is known its name alone leads."""
        for at, hit in enumerate(self.hits):
            field = self._led_to(hit)
            if field is None:
                continue
            called, before = hit.of("field") is not None, self.told(self.hits[:at])
            skipped = ("fill", "lead", "correct") if called else ("lead",)
            start = next((one.at for one in self.hits[at + 1 :] if not any(one.of(kind) for kind in skipped)), None)
            if start is None or (before.beside and self._target is not None):
                return None
            text, values = self._tail(self.whole[self._tokens[start].start :])
            value = text_value(field, text)
            if value is None:
                return None
            return Led(at, field, values.pop(field.name, value), before, called, {**before.values, **values})
        return None

    def _led_to(self, hit: Hit) -> DialogField | None:
        for kind in ("field", "lead"):
            meaning = hit.of(kind)
            field = self._dialog.field(meaning.field) if meaning is not None else None
            if field is not None and field.takes_text and (kind == "field" or field.name not in self._known):
                return field
        return None

    def _tail(self, text: str) -> tuple[str, dict[str, str]]:
        """*text* without the parts at its end that say something known, as ", short and casual"; and what these say."""
        values: dict[str, str] = {}
        cuts = [0, *(found.end() for found in _SEGMENT.finditer(text))]
        for start in reversed(cuts):
            part = Phrases(self._speech, self._dialog, text[start:], None)
            told = part.told(part.hits)
            if told.beside or not part.words:
                break
            values = {**told.values, **values}
            if start == 0:
                break
            text = text[:start].rstrip(_BETWEEN)
        return text.rstrip(_BETWEEN), values


def _in_one_language(found: Sequence[Hit]) -> Sequence[Hit]:
    """*found*, with the words that mean nothing in that language alone in which most of them do: what fills a sentence
    in one is a word of weight in another ("met", "para")."""
    counts = Counter(one.value for hit in found for one in hit.meanings if one.kind == "fill")
    if len(counts) < 2:
        return found
    language = counts.most_common(1)[0][0]
    kept = [tuple(one for one in hit.meanings if one.kind != "fill" or one.value == language) for hit in found]
    return tuple(hit._replace(meanings=meanings) for hit, meanings in zip(found, kept, strict=True))

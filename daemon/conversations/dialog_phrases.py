"""A text as the phrases of a dialog that it holds. Values in, values out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.conversations.dialog_lexicon import Speech
from daemon.conversations.dialog_rules import Dialog, DialogField
from daemon.conversations.dialog_values import text_value
from daemon.conversations.matching import MOST_READ, Hit, hits, tokens
from schemas.cleaned import cut, visible

MOST_KEPT: Final = 10_000
"""Characters of a message that free text is taken from."""

_BETWEEN: Final = " ,;.!-–—"
_SEGMENT: Final = re.compile(r"[,;.!]\s+|\s+[-–—]\s+")


@dataclass(frozen=True, slots=True)
class Told:
    """What phrases say. *values*: of fields. *named*: fields that are called by name. *beside*: words that say nothing
    known, and fields of which several values are named. *corrects*: a phrase of correction is among them;
    *begins_corrected*: it is the first one."""

    values: Mapping[str, str]
    named: frozenset[str]
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

    *is_cut*: it is longer than what is read of it, so there are words beside whatever it says.
    """

    def __init__(self, speech: Speech, dialog: Dialog, text: str, target: str | None) -> None:
        self._speech, self._dialog, self._target = speech, dialog, target
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
        beside, corrects, negated = MOST_READ if self.is_cut else 0, False, False
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
        begins = bool(found) and found[0].of("correct") is not None
        return Told(single, frozenset(named), beside + len(values) - len(single), corrects, begins)

    def _option(self, hit: Hit, named: Sequence[str]) -> tuple[str, str] | None:
        """The field and the value that *hit* names: of the field that was called by name, of the one that was asked
        for, else of the only one that has it."""
        found = {one.field: one.value for one in hit.meanings if one.kind == "option"}
        for name in (*named[-1:], self._target):
            if name in found:
                return name, found[name]
        return next(iter(found.items())) if len(found) == 1 else None

    def led(self, known: Collection[str]) -> Led | None:
        """Free text after the first phrase that leads to it, where all before that phrase is understood, or where the
        text begins a dialog. *known*: fields that have a value; only their names lead to them."""
        for at, hit in enumerate(self.hits):
            field = self._led_to(hit, known)
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

    def _led_to(self, hit: Hit, known: Collection[str]) -> DialogField | None:
        for kind in ("field", "lead"):
            meaning = hit.of(kind)
            field = self._dialog.field(meaning.field) if meaning is not None else None
            if field is not None and field.takes_text and (kind == "field" or field.name not in known):
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

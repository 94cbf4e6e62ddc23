"""Random dialogs: answers late, twice, out of order and by any means, with the context stored after every step.

Whatever happens, what is known in the end is what the person meant last, and each question was asked once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from hypothesis import given, note, settings
from hypothesis import strategies as st

from daemon.conversations.dialogs.rules import DialogField, said_in
from tests.support.dialogs import RULES, Talk

ORDER: Final = RULES.dialogs[0]
FIELDS: Final = {field.name: field for field in ORDER.fields}
TOPICS: Final = (
    "Remote work",
    "AI in health care",
    "עתיד העבודה",
    "O futuro da energia",
    "DUURZAAM",
    "C++ vs Rust",
)
NOTES: Final = (
    "Met Anna from the marketing team today",
    "Reunião com a equipe de vendas amanhã cedo",
    "פגישה עם צוות השיווק מחר בבוקר",
    "Remember to call the printer about the new brochures",
    "ok",
    "👍",
)
CORRECTIONS: Final = ("no, {}", "No, {}!", "sorry, I meant {}", "change it to {}", "não, {}", "לא, {}", "nee, {}")
SENTENCES: Final = ("{} please", "I want {}", "the {} one", "quero {}", "graag {}", "אני רוצה {}")
MEANS: Final = ("tap", "choice", "title", "value", "ordinal", "synonym", "voice", "sentence", "any language")
FILES: Final = ("image", "video", "document", "sticker", "location")
LANGUAGES: Final = ("en", "pt", "he", "nl")
ORDINALS: Final = (
    ("1", "2", "3", "4"),
    ("1.", "2.", "3.", "4."),
    ("#1", "#2", "#3", "#4"),
    ("１", "２", "３", "４"),
    ("١", "٢", "٣", "٤"),
    ("1️⃣", "2️⃣", "3️⃣", "4️⃣"),
    ("first", "second", "third", "fourth"),
    ("the first one", "the 2nd one", "the third one, please", "number four"),
    ("a primeira", "a segunda", "a terceira", "a quarta"),
    ("הראשון", "השני", "השלישי", "הרביעי"),
    ("de eerste", "de tweede", "de derde", "de vierde"),
)


class Person:
    """Somebody who means certain values, and says them as the random choices of *data* have it."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.talk = Talk(language=self._one([*LANGUAGES, None, "fr"]))
        self.means: dict[str, str] = {}
        self.said: list[tuple[str | None, dict[str, Any]]] = []

    def begin(self) -> None:
        """Order, with some of it said already."""
        known = [name for name in FIELDS if self._data.draw(st.integers(0, 3)) == 0]
        self.means = {name: self._value(name) for name in known}
        self.talk.begin({name: self._one([value, value.upper()]) for name, value in self.means.items()})

    def act(self) -> None:
        """Do one thing."""
        acts = [self.answer, self.answer, self.answer, self.answer_early, self.say_several]
        acts += [self.tap_late, self.tap_again, self.say_twice, self.correct, self.write_a_note, self.send_a_file]
        self._one(acts)()

    def answer(self) -> None:
        """Answer the open question."""
        name = self.talk.field
        assert name is not None
        value = self._value(name)
        self.means[name] = value
        if name == "topic" and value in TOPICS:
            self._say(value, **self._maybe_reply(name))
            return
        option, at = self._option(name, value)
        shown = said_in(option.title, self.talk.context.language or "en", "en")
        match self._one(MEANS):
            case "tap":
                self._say(shown, answers=self.talk.question(name))
            case "choice":
                self._say(shown, choice=value, kind="choice", **self._maybe_reply(name))
            case "title":
                self._say(self._one([shown, shown.upper(), shown.lower(), f" {shown}! ", f"*{shown}* 🙂"]))
            case "value":
                self._say(value, **self._maybe_reply(name))
            case "ordinal":
                self._say(self._one(ORDINALS)[at], **self._maybe_reply(name))
            case "synonym":
                self._say(self._one([text for texts in option.synonyms.values() for text in texts] or [value]))
            case "voice":
                self._say(f"{shown}.", kind="voice")
            case "sentence":
                self._say(self._one(SENTENCES).format(shown))
            case "any language":
                self._say(said_in(option.title, self._one(LANGUAGES), "en"))

    def answer_early(self) -> None:
        """Answer what is not asked for yet."""
        missing = [name for name in FIELDS if name not in self.means and name != self.talk.field]
        if missing:
            name = self._one(missing)
            value = self._one([option.value for option in FIELDS[name].options])
            self.means[name] = value
            self._say(self._title(name, value))

    def say_several(self) -> None:
        """Answer several questions at once, the open one among them."""
        names = [name for name in FIELDS if name == self.talk.field or self._data.draw(st.booleans())]
        values = {name: self._one([option.value for option in FIELDS[name].options]) for name in names}
        self.means |= values
        titles = [self._title(name, value) for name, value in self._data.draw(st.permutations(list(values.items())))]
        self._say(self._one([", ", " and ", "\n", " / "]).join(titles))

    def tap_late(self) -> None:
        """Tap another option of a question that was asked before."""
        if asked := [one for one in self.talk.context.asked if one.field != self.talk.field]:
            name = self._one(asked).field
            value = self._one([option.value for option in FIELDS[name].options])
            self.means[name] = value
            kind = self._one([{"text": self._title(name, value)}, {"choice": value, "kind": "choice"}])
            self._say(**kind, answers=self.talk.question(name))

    def tap_again(self) -> None:
        """Tap what is chosen already once more, and the system does not tell which question it answers."""
        if chosen := [name for name in self.means if name != self.talk.field and self.means[name] not in TOPICS]:
            name = self._one(chosen)
            self._say(self._title(name, self.means[name]))

    def say_twice(self) -> None:
        """The same message comes again."""
        if self.said:
            before = self.talk.context
            text, given = self._one(self.said)
            assert self.talk.say(text, **given).asks == ()
            assert self.talk.context == before

    def correct(self) -> None:
        """Take back what was said before."""
        if chosen := [name for name in self.means if name != self.talk.field]:
            name = self._one(chosen)
            value = self._one([option.value for option in FIELDS[name].options])
            self.means[name] = value
            self._say(self._one(CORRECTIONS).format(self._title(name, value)))

    def write_a_note(self) -> None:
        """Write something that has nothing to do with it."""
        text = self._one(NOTES)
        if self.talk.field != "topic" or len(text) < 4:
            before = self.talk.context
            self._say(text)
            assert self.talk.context == before
            assert not self.talk.last.used

    def send_a_file(self) -> None:
        """Send a file."""
        before = self.talk.context
        self._say(self._one([None, "our new office"]), kind=self._one(FILES))
        assert self.talk.context == before

    def _say(self, text: str | None = None, **given: Any) -> None:
        note(f"{self.talk.field}: {text!r} {given}")
        given["key"] = f"whapi:{len(self.said)}"
        self.talk.say(text, **given)
        if self.talk.last.used:
            self.said.append((text, given))

    def _value(self, name: str) -> str:
        values = [option.value for option in FIELDS[name].options]
        return str(self._one([*values, *TOPICS] if name == "topic" else values))

    def _option(self, name: str, value: str) -> tuple[Any, int]:
        at = [option.value for option in FIELDS[name].options].index(value)
        return FIELDS[name].options[at], at

    def _title(self, name: str, value: str) -> str:
        option, _ = self._option(name, value)
        return str(said_in(option.title, self.talk.context.language or "en", "en"))

    def _maybe_reply(self, name: str) -> Mapping[str, Any]:
        return {"answers": self.talk.question(name)} if self._data.draw(st.booleans()) else {}

    def _one(self, choices: Iterable[Any]) -> Any:
        return self._data.draw(st.sampled_from(list(choices)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_people_do_the_order_is_what_they_mean(data: st.DataObject) -> None:
    person = Person(data)
    talk = person.talk
    person.begin()
    asked_first = dict(person.means)
    for _ in range(data.draw(st.integers(0, 12))):
        if talk.field is not None:
            person.act()
    while talk.field is not None:
        person.answer()
    done = [step.completed for step in talk.steps if step.completed is not None]
    assert [dict(one.params) for one in done] == [{name: value.lower() for name, value in person.means.items()}]
    questions = Counter(one.field for step in talk.steps for one in step.context.asked[-1:] if step.asks)
    assert all(count == 1 for count in questions.values())
    assert not set(questions) & set(asked_first)
    assert [ask.what for ask in talk.asks].count("confirmation") == 1
    assert len({ask.id for ask in talk.asks}) == len(talk.asks) <= len(person.said) + 1
    assert not any(step.escalated for step in talk.steps)
    stored = talk.context.to_json()
    assert not {"clarifyingField", "dialog", "orderParams"} & stored.keys()
    assert talk.last.due_at is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["x " * 3, "LinkedIn", "2", "cancel", "restart", "short", "no", "change tone", "wait", "agent"])
    )
)
def test_whatever_is_said_the_bot_says_one_thing_and_ends(texts: list[str]) -> None:
    talk = Talk()
    talk.begin()
    for text in texts:
        if text == "wait":
            talk.wait(hours=1.5)
        elif not talk.context.is_open:
            talk.begin()
        else:
            talk.say(text)
    for _ in range(3):
        talk.wait(hours=20)
    assert not talk.context.is_open
    assert talk.last.due_at is None
    said = [ask.id for ask in talk.asks]
    assert len(set(said)) == len(said), "no message is said twice"


def test_the_fields_are_those_of_the_seed() -> None:
    assert list(FIELDS) == ["platform", "length", "tone", "topic"]
    assert all(isinstance(field, DialogField) and len(field.options) >= 3 for field in FIELDS.values())

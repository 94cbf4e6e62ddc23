"""dialogs.toml: what is wrong with one is told by its line and key; what ships is sound, in all of its languages."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.conversations.dialogs.asking import notice
from daemon.conversations.dialogs.faults import faults
from daemon.conversations.dialogs.rules import DIALOGS, why_idle
from daemon.conversations.labels.rules import LABELS
from daemon.rules.files import SHIPPED, check, load
from daemon.rules.folder import init

NOTICES = (
    "wrong_choice",
    "wrong_text",
    "wrong_number",
    "wrong_date",
    "wrong_email",
    "wrong_phone",
    "wrong_photo",
    "canceled",
    "handed_over",
    "bucket_failed",
    "order_failed",
    "ready",
)
HEAD = 'language = "en"\nnotices = { ' + ", ".join(f'{name} = {{ en = "x" }}' for name in NOTICES) + " }\n"
DIALOG = """[[dialogs]]
name = "order"
enabled = true
title = { en = "Order" }
when = { intent = "ORDER" }
given = ["client"]
timeout = "2h"
confirmation = { en = "Done: {size}" }
"""
FIELD = """[[dialogs.fields]]
name = "size"
kind = "choice"
names = { en = ["Size"] }
prompt = { en = "Which, {client|you}?" }
options = [{ value = "small", title = "Small" }, { value = "large", title = "Large", synonyms = ["big"] }]
"""
RULE = HEAD + DIALOG + FIELD


def changed(was: str, now: str) -> str:
    assert was in RULE
    return RULE.replace(was, now, 1)


def problems(folder: Path, text: str) -> list[str]:
    (folder / "dialogs.toml").write_text(text)
    return [str(problem).removeprefix(f"{folder / 'dialogs.toml'}:").strip() for problem in check(folder, [DIALOGS])]


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    assert problems(tmp_path, RULE) == []
    (dialog,) = load(tmp_path, DIALOGS).dialogs
    assert (dialog.give_up.wrong_answers, dialog.give_up.timeout, dialog.notes) == (2, "silent", True)
    assert dialog.fields[0].options[1].synonyms == {"*": ("big",)}
    assert problems(tmp_path, HEAD) == []


def test_what_ships_is_sound_and_can_be_written_to_a_folder(tmp_path: Path) -> None:
    list(init(tmp_path, [DIALOGS]))
    assert check(tmp_path, [DIALOGS]) == []
    rules = load(tmp_path, DIALOGS)
    assert [one.name for one in rules.dialogs] == ["content_order", "applicant_issue"]
    assert why_idle(rules) is None
    order = rules.begun_by(intent="ORDER")
    assert order is not None
    assert [field.name for field in order.fields] == ["platform", "length", "tone", "topic"]
    assert [
        [str(option.title["en" if "en" in option.title else "*"]) for option in one.options] for one in order.fields
    ] == [
        ["LinkedIn", "Instagram", "Twitter", "Blog"],
        ["Short", "Medium", "Long"],
        ["Professional", "Casual", "Friendly", "Authoritative"],
        ["Trends", "News", "Tips", "Product"],
    ]
    assert order.fields[0].prompt["en"] == "📱 Which platform would you like content for?"
    assert all(one.languages == {"en", "pt", "he", "nl"} for one in rules.dialogs)
    issue = rules.begun_by(event="applicant_issue.reported")
    assert issue is not None
    assert issue.name == "applicant_issue"


@pytest.mark.parametrize("name", NOTICES)
@pytest.mark.parametrize("language", ["en", "pt", "he", "nl", "fr", None])
def test_every_notice_is_said_in_every_language(name: str, language: str | None) -> None:
    said = notice(SHIPPED(DIALOGS), name, language, {"order": "77"})
    assert said
    assert "{" not in said
    assert ("77" in said) == (name == "ready")
    assert (said == notice(SHIPPED(DIALOGS), name, "en", {"order": "77"})) == (language in ("en", "fr", None))


def test_a_dialog_that_is_off_begins_nothing(tmp_path: Path) -> None:
    assert problems(tmp_path, changed("enabled = true", "enabled = false")) == []
    rules = load(tmp_path, DIALOGS)
    assert rules.begun_by(intent="ORDER") is None
    assert why_idle(rules) == "no dialog of dialogs.toml is enabled"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (changed('language = "en"', 'language = "english"'), "1: language: must be a language by its two letters"),
        (changed('language = "en"', ""), "1: language: is missing"),
        (changed('ready = { en = "x" }', 'ready = { pt = "x" }'), "2: notices.ready: lacks en, the language"),
        (changed('ready = { en = "x" }', 'ready = { en = "{order}" }'), "2: notices.ready.en: order may have no value"),
        (changed('canceled = { en = "x" }', 'canceled = { en = "{a|b}" }'), "2: notices.canceled.en: a is no field"),
        (changed('canceled = { en = "x" }, ', ""), "2: notices.canceled: is missing"),
        (changed('name = "order"', 'name = "The order"'), "4: dialogs[1].name: must be small letters"),
        (changed("enabled = true", ""), "3: dialogs[1].enabled: is missing"),
        (changed('{ intent = "ORDER" }', "{}"), "7: dialogs[1].when: must have one of intent and event"),
        (changed('intent = "ORDER"', 'intent = "NOTE"'), "7: dialogs[1].when.intent: must be 'ORDER'"),
        (changed('timeout = "2h"', 'timeout = "soon"'), "9: dialogs[1].timeout: must be a length of time"),
        (
            changed('timeout = "2h"', 'time = "2h"'),
            "9: dialogs[1].time: is no key that may stand here: did you mean ti",
        ),
        (changed("{size}", "{sise}"), "10: dialogs[1].confirmation.en: sise is no field: known are client, size"),
        (changed("{size}", "{client}"), "10: dialogs[1].confirmation.en: client may have no value here"),
        (changed("{size}", "{{size}}"), "10: dialogs[1].confirmation.en: has a brace that belongs to no field"),
        (changed("{client|you}", "{client}"), "15: dialogs[1].fields[1].prompt.en: client may have no value here"),
        (changed('{ en = "Done: {size}" }', '{ en = "a", pt = "b" }'), "6: dialogs[1].title: lacks pt, in which"),
        (changed('{ en = "Order" }', '{ pt = "Order" }'), "6: dialogs[1].title: lacks en, the language of people"),
        (changed('en = ["Size"]', 'pt = ["Size"]'), "14: dialogs[1].fields[1].names: lacks en, which the dialog"),
        (
            changed('name = "size"', 'name = "client"'),
            "12: dialogs[1].fields[1].name: is the name of something that is",
        ),
        (RULE + FIELD, "18: dialogs[1].fields[2].name: is the name of field 1 too"),
        (RULE + DIALOG + FIELD, "18: dialogs[2].name: is the name of dialog 1 too"),
        (RULE + DIALOG.replace('"order"', '"b"') + FIELD, "21: dialogs[2].when: begins dialog 1 already"),
        (HEAD + DIALOG, "3: dialogs[1].fields: is missing"),
        (changed('kind = "choice"', 'kind = "chioce"'), "13: dialogs[1].fields[1].kind: must be 'choice', 'text'"),
        (changed('kind = "choice"', 'kind = "date"'), "16: dialogs[1].fields[1].options: may stand where kind is"),
        (
            changed('value = "large"', 'value = "small"'),
            "16: dialogs[1].fields[1].options[2].value: names option 1 too",
        ),
        (changed('"Large"', '"SMALL"'), "16: dialogs[1].fields[1].options[2].title: names option 1 too"),
        (changed('["big"]', '["big", "small!"]'), "16: dialogs[1].fields[1].options[2].synonyms[2]: names option 1"),
        (
            changed('"Large"', '"Large and larger still"'),
            "16: dialogs[1].fields[1].options[2].title: has 22 characters",
        ),
        (
            changed('"Large"', f'"{"x" * 25}"'),
            "16: dialogs[1].fields[1].options[2].title: has more than 24 characters: write fewer",
        ),
        (changed('"Large"', '" Large"'), "16: dialogs[1].fields[1].options[2].title: has blanks around it"),
        (changed('"Large"', '"La\\u202erge"'), "16: dialogs[1].fields[1].options[2].title: has blanks around it, or"),
        (changed('"Large"', '{ pt = "Large" }'), "16: dialogs[1].fields[1].options[2].title: lacks en"),
        (changed('"Large"', '{ english = "Large" }'), "16: dialogs[1].fields[1].options[2].title.english"),
        (
            changed('value = "large"', 'value = "Large"'),
            "16: dialogs[1].fields[1].options[2].value: must be small letters",
        ),
        (RULE + 'where = { city = "x" }\n', "17: dialogs[1].fields[1].where.city: city is not among what is given"),
        (RULE + 'lead = ["about"]\n', "17: dialogs[1].fields[1].lead: may stand where any text counts alone"),
        (RULE + "min = 2\n", "17: dialogs[1].fields[1].min: may stand where kind is text or number alone"),
        (RULE + "free = true\nmin = 5\nmax = 2\n", "19: dialogs[1].fields[1].max: must not be less than min"),
        (RULE + "required = false\n", "11: dialogs[1].fields: are none that is required"),
        (changed('given = ["client"]', 'given = ["client"]\nabout = "id"'), "9: dialogs[1].about: id is not among"),
        (
            changed('timeout = "2h"', 'timeout = "2h"\ngive_up = { labels = ["a:b"] }'),
            "10: dialogs[1].give_up.labels[1]: must be small letters, digits, hyphens and underscores",
        ),
        (HEAD + "[words.en]\ncancle = []\n", "4: words.en.cancle: is no key that may stand here: did you mean cancel?"),
        (HEAD + "[words.english]\n", "3: words.english"),
        (
            changed('timeout = "2h"', 'timeout = "2h"\nreminder = { after = "3h", text = { en = "x" } }'),
            "10: dialogs[1].reminder: must come before the timeout",
        ),
        (
            changed(
                "options = [", "options = [" + "".join(f'{{ value = "v{n}", title = "T{n}" }}, ' for n in range(9))
            ),
            "16: dialogs[1].fields[1].options: has more than 10 items: take some out",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_by_line_and_key(tmp_path: Path, text: str, wanted: str) -> None:
    found = problems(tmp_path, text)
    assert any(one.startswith(wanted) for one in found), found


def test_a_button_has_fewer_characters_than_a_row_of_a_list(tmp_path: Path) -> None:
    long = changed('"Large"', '"Twenty-two characters!"')
    two_more = '{ value = "c", title = "C" }, { value = "d", title = "D" }, { value = "small"'
    assert problems(tmp_path, long)
    assert problems(tmp_path, long.replace('{ value = "small"', two_more)) == []


def test_a_field_that_is_wrong_is_told_and_not_that_there_is_none(tmp_path: Path) -> None:
    found = problems(tmp_path, changed('kind = "choice"', 'kind = "chioce"'))
    assert "13: dialogs[1].fields[1].kind: must be 'choice', 'text', 'number'" in "\n".join(found)
    assert [one for one in found if "dialogs[1].fields: " in one] == []


def test_labels_that_the_shipped_dialogs_give_are_among_those_that_are_made() -> None:
    """Promise: what a conversation is marked with when a person has to go on can be seen in Chatwoot."""
    dialogs, labels = tomllib.loads(DIALOGS.shipped().decode()), tomllib.loads(LABELS.shipped().decode())
    made = {title for group in labels["groups"].values() for title in group["labels"]}
    for dialog in dialogs["dialogs"]:
        named = {*dialog["give_up"]["labels"], *dialog.get("done", {}).get("labels", ())}
        assert named <= made, dialog["name"]


KEYS = (
    "dialogs",
    "fields",
    "options",
    "title",
    "value",
    "synonyms",
    "names",
    "where",
    "given",
    "when",
    "*",
    "confirmation",
    "en",
    "pt",
    "prompt",
    "kind",
    "name",
    "lead",
    "min",
    "max",
    "about",
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(max_size=12)
    | st.sampled_from(["en", "{a}", "choice", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from(["language", "notices", "dialogs", "words"]), ODD, max_size=4), ODD)
def test_no_shape_of_a_document_breaks_the_check(document: dict[str, object], dialog: object) -> None:
    for shape in (document, {"language": "en", "dialogs": [dialog]}, {"dialogs": [{"fields": [dialog]}]}):
        for fault in faults(shape):
            assert fault.text

"""messages.toml: what is wrong with one is told by its line and key; and by which rules the worker runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.messages.automatic import WORKER
from daemon.messages.automatic_faults import faults
from daemon.messages.automatic_rules import MESSAGE_RULES
from daemon.rules.files import SHIPPED, check, load, load_all
from daemon.settings.model import Settings
from daemon.workers import enabled, rule_files

RULE = """[[rules]]
name = "confirmation"
enabled = true
when = { event = "order.received" }
where = { "order.branch" = "il" }
[rules.then]
kind = "order_confirmation"
once = "order"
templates = { he = { name = "order_confirmation" } }
variables = ["{order.id}"]
"""


def rule(**changed: str) -> str:
    """RULE with other lines. An underscore stands for the space of a name; "" takes the line out."""
    lines = []
    for line in RULE.splitlines():
        key = line.partition(" = ")[0]
        if key not in changed:
            lines.append(line)
        elif changed[key]:
            lines.append(f"{key} = {changed[key]}")
    present = {line.partition(" = ")[0] for line in RULE.splitlines()}
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in changed.items() if key not in present)]) + "\n"


def problems(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "messages.toml").write_text(text)
    place = f"{tmp_path / 'messages.toml'}"
    return [str(problem).removeprefix(f"{place}:") for problem in check(tmp_path, [MESSAGE_RULES])]


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    text = rule(before='"24h"', of='"data.form.appointment"', at='"18:30"', document='"{data.form.file}"')
    assert problems(tmp_path, text) == []
    (read,) = load(tmp_path, MESSAGE_RULES).rules
    assert (read.then.at.hour, read.then.at.minute, read.then.variables) == (18, 30, {"1": "{order.id}"})
    assert problems(tmp_path, rule(at="18:30:00", variables='{ name = "{client.name|you}" }')) == []
    assert problems(tmp_path, "rules = []\n") == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            rule(variables='["{order.idd}"]'),
            "10: rules[1].then.variables[1]: order.idd is no field of order.received: did",
        ),
        (rule(variables='["a", "{order}"]'), "10: rules[1].then.variables[2]: order is no field"),
        (
            rule(variables='{ a = "{zzz}" }'),
            "10: rules[1].then.variables.a: zzz is no field of order.received: known are",
        ),
        (
            rule(variables='["{applicant.name}"]'),
            "10: rules[1].then.variables[1]: applicant.name is of one applicant: write",
        ),
        (rule(variables='["{issues.list}"]'), "10: rules[1].then.variables[1]: issues.list is no field"),
        (rule(variables='["{data.}"]'), "10: rules[1].then.variables[1]: data. is no field"),
        (rule(variables='["{time}"]'), "10: rules[1].then.variables[1]: time is no field"),
        (rule(variables='["order.id}"]'), "10: rules[1].then.variables[1]: has a brace that belongs to no field"),
        (rule(variables='["{{order.id}}"]'), "10: rules[1].then.variables[1]: has a brace"),
        (rule(variables='[""]'), "10: rules[1].then.variables: "),
        (rule(document='"{order.file}"'), "11: rules[1].then.document: order.file is no field"),
        (rule(where='{ "order.brunch" = "il" }'), "5: rules[1].where.order.brunch: order.brunch is no field"),
        (rule(where='{ "order.branch" = [] }'), "5: rules[1].where.order.branch: must be a text, a number"),
        (rule(where='{ "order.branch" = 1.5 }'), "5: rules[1].where.order.branch: must be a text, a number"),
        (rule(where='{ "order.branch" = { presnt = true } }'), "5: rules[1].where.order.branch: must be a text"),
        (rule(when='{ event = "order.recieved" }'), "4: rules[1].when.event: must be 'order.received' or"),
        (
            rule(when='{ event = "order.received", within = "2 days" }'),
            "4: rules[1].when.within: must be a length of time",
        ),
        (
            rule(when='{ event = "order.received", within = "401d" }'),
            "4: rules[1].when.within: must be a length of time",
        ),
        (rule(once='"report"'), "8: rules[1].then.once: must be one of order, applicant, status for order.received"),
        (rule(kind='"Order Confirmation"'), "7: rules[1].then.kind: must be small letters"),
        (rule(enabled=""), "1: rules[1].enabled: is missing"),
        (rule(enabled='"yes, please"'), "3: rules[1].enabled: must be true or false, without quotes"),
        (rule(templates=""), "6: rules[1].then: must have one of templates and text"),
        (rule(text='{ he = "x" }'), "6: rules[1].then: must have one of templates and text"),
        (rule(templates="", text='{ he = "x" }'), "9: rules[1].then.variables: are of templates"),
        (rule(templates="{}"), "9: rules[1].then.templates: names no language"),
        (rule(templates='{ hebrew = { name = "x" } }'), "9: rules[1].then.templates.hebrew"),
        (rule(templates='{ "*" = { name = "x" } }'), "9: rules[1].then.templates.*: must have a language"),
        (rule(templates='{ he = "x" }'), "9: rules[1].then.templates.he: must be a"),
        (rule(delay='"soon"'), "11: rules[1].then.delay: must be a length of time"),
        (rule(delay='"1h"', before='"1h"', of='"order.entry_date"'), "12: rules[1].then.before: stands beside delay"),
        (rule(before='"1h"'), "11: rules[1].then.before: needs of"),
        (rule(of='"order.entry_date"'), "11: rules[1].then.of: needs before or after"),
        (rule(before='"1h"', of='"order.id"'), "12: rules[1].then.of: order.id names no time"),
        (rule(before='"1h"', of='"order.entry"'), "12: rules[1].then.of: order.entry is no field"),
        (rule(at='"9"'), "11: rules[1].then.at: must be a time of day"),
        (rule(at='"25:00"'), "11: rules[1].then.at: must be a time of day"),
        (rule(provider='"telegram"'), "11: rules[1].then.provider: must be"),
        (rule(category='"spam"'), "11: rules[1].then.category: must be"),
        (rule(templats="1"), "11: rules[1].then.templats: is no key that may stand here"),
        (rule() + rule(), "12: rules[2].name: is the name of rule 1 too"),
        ("[words]\nhebrew = {}\n" + rule(), "2: words.hebrew"),
        ("rules = 1\n", "1: rules: must be a list"),
        ("rules = [1]\n", "1: rules[1]: must be a table"),
        ("x = 1\n", "rules: is missing"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_by_line_and_key(tmp_path: Path, text: str, wanted: str) -> None:
    found = problems(tmp_path, text)
    assert any(one.startswith(wanted) or (wanted == "rules: is missing" and wanted in one) for one in found), found


ODD = st.recursive(
    st.none() | st.booleans() | st.text(max_size=12) | st.sampled_from(["order.received", "{order.id}", "applicant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["when", "then", "where", "event", "once", "of", "before", "variables", "text", "templates", "*"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
)


@given(ODD)
def test_no_shape_of_a_document_breaks_the_check(rules: object) -> None:
    for fault in faults({"rules": rules}):
        assert fault.text


def test_the_worker_does_not_run_while_no_rule_is_enabled(tmp_path: Path) -> None:
    running, off = enabled(Settings(), (WORKER,), SHIPPED)
    assert (running, off) == ([], {"automatic-messages": "no rule of messages.toml is enabled"})
    (tmp_path / "messages.toml").write_text(rule())
    assert enabled(Settings(), (WORKER,), load_all(tmp_path, rule_files())) == ([WORKER], {})
    given = Settings(ferryman_rules_dir=tmp_path)
    assert enabled(given, (WORKER,)) == ([WORKER], {}), "a command reads the rules that the settings name"
    (tmp_path / "messages.toml").write_text("x = 1\n")
    assert enabled(given, (WORKER,))[0] == []

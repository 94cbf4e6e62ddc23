"""Which side owns a field: fields.toml, what is wrong with it, and the policy that it makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.channel import Channels
from daemon.bus.worker import Outside, utc_now
from daemon.contacts.field_policy import FIELDS, FieldPolicy, FieldRules
from daemon.contacts.fields import WRITTEN
from daemon.contacts.wiring import CONTACTS
from daemon.rules.files import check, load, load_all
from daemon.settings.model import Settings
from daemon.telemetry.metrics import Metrics


def rule(field: str, owner: str = '"cgb"') -> str:
    return f"[[rules]]\nwhere = {{ field = {field} }}\nthen = {{ owner = {owner} }}\n"


def policy(tmp_path: Path, text: str) -> FieldPolicy:
    (tmp_path / "fields.toml").write_text(text)
    return FieldPolicy.of(load(tmp_path, FIELDS))


def test_what_ships() -> None:
    shipped = FieldPolicy.of(load(None, FIELDS))
    assert shipped == FieldPolicy(newest=frozenset({"Email", "customer_name", "language"}))
    assert {name for name in WRITTEN if shipped.owner_of(name) == "orders"} == WRITTEN - shipped.newest


def test_the_first_rule_that_names_a_field_counts_and_the_orders_own_the_rest(tmp_path: Path) -> None:
    some = policy(tmp_path, rule('"Email"') + rule('["country", "language"]', '"newest"'))
    assert some == FieldPolicy(cgb=frozenset({"Email"}), newest=frozenset({"country", "language"}))
    assert some.owner_of("OrderNumber") == "orders"
    rest = policy(tmp_path, rule('"Email"', '"orders"') + rule('"*"'))
    assert rest == FieldPolicy(cgb=WRITTEN - {"Email"})
    assert (rest.owner_of("Email"), rest.owner_of("country")) == ("orders", "cgb")
    assert FieldPolicy.of(FieldRules(rules=())) == FieldPolicy()


async def test_the_handlers_are_given_the_policy_of_the_rules_in_force(tmp_path: Path) -> None:
    (tmp_path / "fields.toml").write_text(rule('"country"'))
    outside = Outside(
        settings=Settings(),
        secret=str,
        pool=cast(Any, None),
        redis=cast(Any, None),
        session=cast(Any, None),
        channels=Channels(),
        metrics=Metrics(()),
        now=utc_now,
    )
    async with CONTACTS.opened(outside) as deps:
        assert deps.policy.newest == {"Email", "customer_name", "language"}
    async with CONTACTS.opened(replace(outside, rules=load_all(tmp_path, CONTACTS.rules))) as deps:
        assert deps.policy == FieldPolicy(cgb=frozenset({"country"}))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (rule('"Emial"'), ["2: rules[1].where.field: Emial is no field that Ferryman writes: did you mean Email?"]),
        (rule('"EMAIL"'), ["2: rules[1].where.field: EMAIL is no field that Ferryman writes: did you mean Email?"]),
        (rule('["Email", "zzz"]'), ["2: rules[1].where.field[2]: zzz is no field that Ferryman writes: known are "]),
        (rule('"\\u001b[2J"'), [r"2: rules[1].where.field: \x1b[2J is no field"]),
        (rule("[]"), ["2: rules[1].where.field: names no field"]),
        (rule("7"), ["2: rules[1].where.field: must be a name in quotes"]),
        (rule('["Email", "*"]'), ['2: rules[1].where.field: has "*" beside other names']),
        (rule('"Email"', '"vizi"'), ["3: rules[1].then.owner: must be 'orders', 'cgb' or 'newest'"]),
        (rule('["Email", "Email"]'), ["2: rules[1].where.field: Email is named 2 times"]),
        (
            rule('["Email", "country"]') + rule('["language", "Email"]'),
            ["5: rules[2].where.field: Email is named by rule 1 too, so it never counts here"],
        ),
        (rule('"*"') + rule('"Email"'), ['5: rules[2].where.field: comes after rule 1, which is about "*"']),
        (rule('"*"') + rule('"*"'), ['5: rules[2].where.field: comes after rule 1, which is about "*"']),
        ("# nothing\n", ["1: rules: is missing"]),
        ('[[rules]]\nwhere = { field = "Email" }\n', ["1: rules[1].then: is missing"]),
        (
            '[[rule]]\n[[rules]]\nwhen = 1\nwhere.field = "Email"\nthen.owner = "cgb"\n'
            + rule('"Email"')
            + rule('"x"'),
            [
                "1: rule: is no key",
                "3: rules[1].when: is no key",
                "7: rules[2].where.field: Email is named by rule 1",
                "10: rules[3].where.field: x is no field",
            ],
        ),
    ],
)
def test_every_problem_is_told_with_its_line(text: str, wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "fields.toml").write_text(text)
    found = [str(problem).removeprefix(f"{tmp_path}/fields.toml:") for problem in check(tmp_path, [FIELDS])]
    assert len(found) == len(wanted), found
    assert all(line.startswith(start) for line, start in zip(found, wanted, strict=True)), found

"""Automatic messages: which ones an order brings about, to whom, when, in which words, and why no other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from daemon.messages.automatic_decisions import decide
from daemon.messages.automatic_fields import facts_of_order, facts_of_report
from daemon.messages.automatic_rules import MESSAGE_RULES
from daemon.messages.automatic_texts import LONGEST, SEPARATOR, one_line
from daemon.rules.files import load
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.messages import Media, Template, Text
from schemas.orders import order_from
from tests.support.automatic import HOUR, NOW, a_rule, body, decided, rules_of, terms_for
from tests.support.reports import E164

DAY = timedelta(days=1)


def reasons(order: dict[str, Any], *rules: dict[str, Any], **given: Any) -> list[str]:
    return [one.reason for one in decided(order, terms_for(*rules), **given).passed]


def test_an_order_brings_about_the_message_of_the_rule_that_fits() -> None:
    decision = decided(body(), terms_for(a_rule(variables=["{client.name}", "{order.id}"])))
    (wanted,) = decision.wanted
    name = body()["form"]["client"]["name"].strip()
    assert wanted.content == Template("order_confirmation", "he", {"1": name, "2": "IL1"})
    assert (wanted.rule, wanted.kind, wanted.subject, wanted.language) == ("confirmation", "confirmation", "", "he")
    assert (wanted.provider, wanted.account, wanted.category, wanted.to.e164) == ("meta", "default", "utility", E164)
    assert (wanted.not_before, wanted.old, decision.skipped, wanted.id.version) == (None, False, None, 5)


@pytest.mark.parametrize(
    ("order", "given", "reason"),
    [
        ({"alerts": None}, {}, "no consent"),
        ({"alerts": False}, {}, "no consent"),
        ({"alerts": "yes"}, {}, "no consent"),
        ({"phone": None}, {}, "no phone"),
        ({"phone": {"code": "972", "number": "12"}}, {}, "no phone"),
        ({"branch": "se"}, {"branches": ("il",)}, "other branch"),
        ({"status": "canceled"}, {}, "canceled"),
        ({"status": "Canceled"}, {}, "canceled"),
    ],
    ids=str,
)
def test_a_closed_gate_lets_no_message_through(order: dict[str, Any], given: dict[str, Any], reason: str) -> None:
    decision = decided(body(**order), terms_for(a_rule(), **given))
    assert (decision.gate, decision.skipped, decision.wanted) == (reason, reason, ())


def test_a_rule_that_names_the_cancellation_tells_of_it_and_no_other_does() -> None:
    rules = a_rule(), a_rule("farewell", where={"order.status": ["CANCELED"]})
    decision = decided(body(status="canceled"), terms_for(*rules))
    assert [one.kind for one in decision.wanted] == ["farewell"]
    assert [(one.rule, one.reason) for one in decision.passed] == [("confirmation", "canceled")]


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ({}, True),
        ({"order.branch": "il", "order.status": ["ACTIVE", "issue"]}, True),
        ({"order.branch": "se"}, False),
        ({"order.branch": "il", "order.status": "issue"}, False),
        ({"order.quantity": [1, 2, 3]}, True),
        ({"order.quantity": 9}, False),
        ({"order.amount": 399}, True),
        ({"order.country": "UK"}, True),
        ({"order.urgent": False}, True),
        ({"order.urgent": True}, False),
        ({"order.entry_date": "2031-05-02"}, True),
        ({"order.entry_port": {"present": True}}, False),
        ({"order.entry_port": {"present": False}}, True),
        ({"data.form.hotel": {"present": True}}, True),
        ({"data.form.hotel": "the HOTEL"}, True),
        ({"data.form.applicants.0.id": "apl_1"}, True),
        ({"data.form.applicants.7.id": {"present": True}}, False),
        ({"data.form.client.name.more": {"present": True}}, False),
        ({"data.form.client": {"present": True}}, True),
    ],
    ids=str,
)
def test_all_conditions_must_hold(where: dict[str, Any], fits: bool) -> None:
    form = {"entry": {"date": "2031-05-02", "port": " "}, "hotel": " The Hotel ", "quantity": 2, "urgency": "none"}
    decision = decided(body(form=form, amount=399), terms_for(a_rule(where=where)))
    assert bool(decision.wanted) is fits
    assert decision.skipped == (None if fits else "no rule")


@pytest.mark.parametrize(
    ("told", "branch", "template"),
    [
        ("", "il", ("for_he", "he")),
        ("", "se", ("for_all", "en_US")),
        ("", "kz", ("for_all", "en_US")),
        ("ru_RU", "il", ("for_ru", "ru_RU")),
        ("RU", "il", ("for_ru", "ru_RU")),
        ("Hebrew", "co", ("for_all", "en_US")),
        ("fr", "il", ("for_all", "en_US")),
    ],
)
def test_a_person_is_written_to_in_their_own_language_else_that_of_the_branch(
    told: str, branch: str, template: tuple[str, str]
) -> None:
    templates = {
        "he": {"name": "for_he"},
        "ru": {"name": "for_ru", "language": "ru_RU"},
        "*": {"name": "for_all", "language": "en_US"},
    }
    (wanted,) = decided(body(branch=branch), terms_for(a_rule(templates=templates)), language=told).wanted
    assert isinstance(wanted.content, Template)
    assert (wanted.content.name, wanted.content.language) == template


def test_without_a_template_in_the_language_nothing_is_sent() -> None:
    decision = decided(body(branch="se"), terms_for(a_rule()))
    assert (decision.wanted, decision.skipped) == ((), "no template for language")


def test_codes_are_said_in_the_persons_language_as_far_as_there_are_words() -> None:
    words = {"he": {"uk": "בריטניה", "true": "כן"}, "*": {"uk": "Britain"}}
    rule = a_rule(
        templates={"*": {"name": "t", "language": "en"}},
        variables=["{order.country}", "{order.urgent}", "{order.flag}"],
    )
    order = body(form={"urgency": "few_hours"})
    for language, said in (("he", ["בריטניה", "כן", "🇬🇧"]), ("fr", ["Britain", "true", "🇬🇧"])):
        (wanted,) = decided(order, terms_for(rule, words=words), language=language).wanted
        assert isinstance(wanted.content, Template)
        assert list(wanted.content.variables.values()) == said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{order.entry_date}", "02.05.2031"),
        ("{order.amount} {order.currency}", "420.50 ILS"),
        ("{order.entry_port|any port}", "any port"),
        ("{data.form.stay}", "7"),
        ("{data.form.hotel}", f"One{SEPARATOR}Two{SEPARATOR}Three"),
        ("{data.order.status}!", "active!"),
        ("{order.placed_at}", "14.02.2031 11:00"),
    ],
)
def test_values_are_shown_as_people_write_them_and_on_one_line(text: str, shown: str) -> None:
    form = {"entry": {"date": "2031-05-02"}, "hotel": "One\r\n\n Two\tThree ", "stay": 7}
    form["created_at"] = "2031-02-14T09:00:00.000Z"
    (wanted,) = decided(body(form=form, amount=420.5), terms_for(a_rule(variables=[text]))).wanted
    assert isinstance(wanted.content, Template)
    assert wanted.content.variables == {"1": shown}


@pytest.mark.parametrize("field", ["order.entry_port", "data.form.nothing", "data.form.client", "client.email"])
def test_a_message_that_lacks_a_value_is_not_sent(field: str) -> None:
    order = body(form={"entry": {"date": "2031-05-02"}})
    order["form"]["client"]["email"] = " "
    (passed,) = decided(order, terms_for(a_rule(variables=[f"{{{field}}}"]))).passed
    assert (passed.reason, passed.detail) == ("a value is missing", field)


def test_a_family_of_three_gets_three_and_each_with_its_own_document() -> None:
    rule = a_rule(
        "approval",
        once="applicant",
        where={"applicant.data.visa.url": {"present": True}},
        variables={"1": "{applicant.name}"},
        document="{applicant.data.visa.url}",
    )
    family = [
        {"id": f"apl_{n}", "passport": {"firstName": f"N{n}"}, "visa": {"url": f"https://example.com/{n}.pdf"}}
        for n in range(3)
    ]
    decision = decided(body(applicants=[*family, {"id": "apl_9"}, {"passport": {}}]), terms_for(rule))
    assert [one.subject for one in decision.wanted] == ["apl_0", "apl_1", "apl_2"]
    assert len({one.id for one in decision.wanted}) == 3
    variables = [one.content.variables for one in decision.wanted if isinstance(one.content, Template)]
    assert variables == [{"1": f"N{n}", "header": f"https://example.com/{n}.pdf"} for n in range(3)]
    assert [(one.subject, one.reason) for one in decision.passed] == [
        ("apl_9", "does not match"),
        ("5", "does not match"),
    ]


@pytest.mark.parametrize("address", ["file.pdf", "javascript:alert(1)", "https://example.com/a b.pdf", 7, {}])
def test_what_is_no_address_is_no_document(address: Any) -> None:
    order = body(form={"file": address})
    assert reasons(order, a_rule(document="{data.form.file}")) == ["no document"]


def test_a_long_address_stays_whole() -> None:
    address = "https://example.com/" + "a" * 1500 + ".pdf"
    (wanted,) = decided(body(form={"file": address}), terms_for(a_rule(document="{data.form.file}"))).wanted
    assert isinstance(wanted.content, Template)
    assert wanted.content.variables["header"] == address


def test_free_text_and_a_file_with_words_beside_it() -> None:
    texts = {"he": "Order {order.id}\nis on its way", "*": "x"}
    plain = a_rule(templates=None, variables=None, text=texts)
    (wanted,) = decided(body(), terms_for(plain)).wanted
    assert wanted.content == Text("Order IL1\nis on its way")
    filed = a_rule(templates=None, variables=None, text=texts, document="https://example.com/a.pdf")
    (wanted,) = decided(body(), terms_for(filed)).wanted
    assert wanted.content == Media("https://example.com/a.pdf", "document", "Order IL1\nis on its way")


def test_the_same_thing_has_one_id_whatever_the_rule_is_called_and_however_the_order_changes() -> None:
    def id_of(order: dict[str, Any], **given: Any) -> UUID:
        (wanted,) = decided(order, terms_for(a_rule(**{"kind": "confirmation"} | given))).wanted
        return wanted.id

    first = id_of(body())
    assert first == id_of(body(status="issue", name="Another")) == id_of(body(), name="renamed")
    assert first != id_of(body("IL2")) != id_of(body(), kind="other")
    by_status = [id_of(body(status=status), once="status") for status in ("issue", "ISSUE", "completed")]
    assert by_status[0] == by_status[1] != by_status[2]


def test_of_several_rules_of_one_kind_the_first_that_fits_counts() -> None:
    rules = [
        a_rule("se", kind="c", where={"order.branch": "se"}),
        a_rule("lacking", kind="c", variables=["{order.entry_port}"]),
        a_rule("first", kind="c"),
        a_rule("second", kind="c"),
        a_rule("off", kind="c", enabled=False),
    ]
    decision = decided(body(), terms_for(*rules))
    assert [one.rule for one in decision.wanted] == ["first"]
    assert [one.reason for one in decision.passed] == [
        "does not match",
        "a value is missing",
        "another rule counts",
        "disabled",
    ]


def test_what_the_provider_cannot_carry_is_refused_before_it_is_asked_for() -> None:
    terms = terms_for(a_rule(provider="whapi"), refusal=lambda provider, content: f"{provider} takes no such thing")
    decision = decided(body(), terms)
    assert (decision.wanted, decision.skipped) == ((), "refused")
    assert decision.passed[0].detail == "whapi takes no such thing"


APPOINTMENT = NOW + 3 * DAY


@pytest.mark.parametrize(
    ("given", "appointment", "now", "at"),
    [
        ({"delay": "10m"}, None, NOW, NOW + timedelta(minutes=10)),
        ({"delay": "10m"}, None, NOW + HOUR, None),
        ({"before": "24h"}, APPOINTMENT.isoformat(), NOW, APPOINTMENT - DAY),
        ({"before": "24h"}, APPOINTMENT.isoformat(), APPOINTMENT - HOUR, None),
        ({"before": "24h"}, APPOINTMENT.isoformat(), APPOINTMENT, "too late"),
        ({"before": "24h"}, None, NOW, "no time"),
        ({"before": "24h"}, "next week", NOW, "no time"),
        ({"before": "24h"}, "9999-12-31", NOW, datetime(9999, 12, 30, 7, tzinfo=UTC)),
        ({"before": "24h"}, "0001-01-01", NOW, "no time"),
        ({"after": "24h"}, "9999-12-31", NOW, "no time"),
        ({"before": "24h"}, "2031-03-04", NOW, datetime(2031, 3, 3, 7, tzinfo=UTC)),  # 9 in the morning in Israel
        ({"before": "1h", "at": "18:30"}, "2031-03-04", NOW, datetime(2031, 3, 4, 15, 30, tzinfo=UTC)),
        ({"before": "1d"}, "20310304", NOW, datetime(2031, 3, 3, tzinfo=UTC)),
        ({"before": "24h"}, int(APPOINTMENT.timestamp()), NOW, APPOINTMENT - DAY),
        ({"after": "2d"}, APPOINTMENT.isoformat(), NOW, APPOINTMENT + 2 * DAY),
        ({"after": "2d"}, APPOINTMENT.isoformat(), APPOINTMENT + 3 * DAY, None),
        ({"after": "2d"}, APPOINTMENT.isoformat(), APPOINTMENT + 3 * DAY + HOUR, "too late"),
    ],
    ids=str,
)
def test_when_a_message_is_sent(
    given: dict[str, Any], appointment: Any, now: datetime, at: datetime | str | None
) -> None:
    of = {} if "delay" in given else {"of": "data.form.appointment"}
    decision = decided(body(form={"appointment": appointment}), terms_for(a_rule(**given, **of)), now=now)
    if isinstance(at, str):
        assert (decision.wanted, decision.skipped) == ((), at)
    else:
        assert [one.not_before for one in decision.wanted] == [at]


def test_the_time_that_a_rule_goes_by_is_shown_as_the_clocks_of_the_person_do() -> None:
    rule = a_rule(before="24h", of="data.form.appointment", variables=["{time}"])
    for told, shown in (("2031-03-05T10:00:00Z", "05.03.2031 12:00"), ("2031-03-05", "05.03.2031")):
        (wanted,) = decided(body(form={"appointment": told}), terms_for(rule)).wanted
        assert isinstance(wanted.content, Template)
        assert wanted.content.variables == {"1": shown}


def test_what_is_older_than_the_rule_allows_is_not_made_and_yet_changed_where_it_waits() -> None:
    terms = terms_for(a_rule(when={"within": "2d"}))
    (wanted,) = decided(body(changed=NOW - 2 * DAY), terms).wanted
    assert not wanted.old
    decision = decided(body(changed=NOW - 2 * DAY - HOUR), terms)
    assert [one.old for one in decision.wanted] == [True]
    assert decision.skipped == "too old"


def a_report(*issues: tuple[str, str | None, str | None], **changed: Any) -> Event:
    told = {
        "order_id": "IL1",
        "order_status": "active",
        "branch": "il",
        "country": "uk",
        "client_name": "Noa Buyer",
        "applicant_id": "apl_2",
        "applicant_name": "APL TWO",
        "phone": E164,
        "contact_id": None,
        "issues": [dict(zip(("category", "code", "label"), issue, strict=True)) for issue in issues],
    }
    data = json.dumps(told | changed).encode()
    return Event("e1", "applicant_issue.reported", "ferryman", E164, NOW, data)


ISSUES = a_rule(
    "issues",
    when={"event": "applicant_issue.reported"},
    once="report",
    variables=["{applicant.name}", "{issues.categories}", "{issues.list}", "{issues.count}"],
)


def test_a_report_becomes_one_message_without_a_break_of_a_line() -> None:
    terms = terms_for(ISSUES, a_rule(), words={"he": {"blurred": "מטושטש"}})
    report = a_report(
        ("face_photo", "blurred", "Photo is blurred"), ("face_photo", None, "Too\ndark"), ("business", "x_y", None)
    )
    decision = decide(facts_of_report(report), None, terms, NOW)
    (wanted,) = decision.wanted
    assert isinstance(wanted.content, Template)
    assert list(wanted.content.variables.values()) == [
        "APL TWO",
        f"face photo{SEPARATOR}business",
        f"מטושטש{SEPARATOR}Too{SEPARATOR}dark{SEPARATOR}x y",
        "3",
    ]
    assert decision.passed == (), "rules of other events are not asked"


def test_the_same_issues_of_an_applicant_are_told_once_and_others_anew() -> None:
    def id_of(*issues: tuple[str, str | None, str | None], **changed: Any) -> UUID:
        (wanted,) = decide(facts_of_report(a_report(*issues, **changed)), None, terms_for(ISSUES), NOW).wanted
        return wanted.id

    one, two = ("face_photo", "blurred", "Blurred"), ("business", "x", None)
    assert id_of(one, two) == id_of(two, ("face_photo", "blurred", "Other words"))
    assert id_of(one) != id_of(one, two) != id_of(one, two, applicant_id="apl_3")


@pytest.mark.parametrize("changed", [{"issues": None}, {"issues": [1]}, {"phone": "x"}, {"phone": None}])
def test_a_report_without_its_members_is_malformed(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        facts_of_report(a_report(**changed))
    with pytest.raises(Malformed):
        facts_of_report(Event("e1", "applicant_issue.reported", "ferryman", E164, NOW, b"[]"))


def test_what_ships_is_off_and_fits_a_real_order_once_it_is_on() -> None:
    shipped = load(None, MESSAGE_RULES)
    assert [rule.then.kind for rule in shipped.rules] == [
        "order_confirmation",
        "visa_approval",
        "applicant_issues",
        "status_update",
        "appointment_reminder",
    ]
    assert not any(rule.enabled for rule in shipped.rules)
    on = shipped.model_copy(
        update={"rules": tuple(rule.model_copy(update={"enabled": True}) for rule in shipped.rules)}
    )
    terms = terms_for(rules=on)
    applicant = {"id": "apl_1", "passport": {"firstName": "NOA"}, "visa": {"url": "https://example.com/1.pdf"}}
    order = body(applicants=[applicant], form={"appointment": "2031-03-05T10:00:00Z"})
    assert [one.kind for one in decided(order, terms).wanted] == [
        "order_confirmation",
        "visa_approval",
        "appointment_reminder",
    ]
    told = body(status="completed", applicants=[{"id": "apl_1"}])
    assert [(one.kind, one.subject) for one in decided(told, terms).wanted] == [("status_update", "completed")]
    report = facts_of_report(a_report(("face_photo", "blurred", "Blurred")))
    assert [one.kind for one in decide(report, None, terms, NOW).wanted] == ["applicant_issues"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=30)
    | st.sampled_from(["a\nb", "x     y", "\t", "2031-03-09"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
APPLICANT = JSON | st.fixed_dictionaries(
    {}, optional={"id": JSON, "passport": JSON, "visa": st.fixed_dictionaries({"url": JSON})}
)
ANY_ORDER = st.fixed_dictionaries(
    {
        "form": st.fixed_dictionaries(
            {
                "client": st.fixed_dictionaries(
                    {"whatsappAlertsEnabled": st.just(True) | JSON}, optional={"name": JSON, "email": JSON}
                )
            },
            optional={
                "applicants": st.lists(APPLICANT, max_size=4),
                "entry": st.fixed_dictionaries({}, optional={"date": JSON, "port": JSON}),
                "updated_at": st.datetimes().map(datetime.isoformat) | JSON,
                "created_at": st.datetimes().map(datetime.isoformat) | JSON,
                "appointment": JSON | st.datetimes().map(datetime.isoformat),
                "hotel": JSON,
            },
        ),
        "order": st.fixed_dictionaries(
            {"id": st.just("IL1")}, optional={"branch": st.sampled_from(["il", "se", "co", "zz"]), "status": JSON}
        ),
    }
)
EVERY = (
    a_rule("a", variables=["{client.name|-}", "{order.status|-}", "{data.form.hotel|-}", "{order.placed_at}"]),
    a_rule("b", once="applicant", variables=["{applicant.name|-}", "{applicant.data.passport|-}"]),
    a_rule("c", once="status", document="{data.form.hotel}"),
    a_rule("d", before="24h", of="data.form.appointment", variables=["{time}"]),
    a_rule("e", after="400d", of="order.entry_date", variables=["{order.entry_date}"]),
    a_rule("f", kind="a"),
)


@given(ANY_ORDER, st.sampled_from([None, "he", "en_US", "", "\x00"]))
def test_whatever_an_order_holds_no_message_has_another_ones_id_nor_a_break_in_a_parameter(
    order: dict[str, Any], language: str | None
) -> None:
    order["form"]["client"]["phone"] = {"code": "972", "number": "505550001"}
    try:
        read = order_from(json.dumps(order).encode(), NOW)
    except Malformed:
        return
    terms = terms_for(
        *(one | {"then": one["then"] | {"templates": {"*": {"name": "t", "language": "en"}}}} for one in EVERY)
    )
    decision = decide(facts_of_order(read, NOW), language, terms, NOW)
    assert len({one.id for one in decision.wanted}) == len(decision.wanted)
    assert (decision.skipped is None) == any(not one.old for one in decision.wanted)
    for wanted in decision.wanted:
        assert isinstance(wanted.content, Template)
        for value in wanted.content.variables.values():
            assert not any(bad in value for bad in ("\n", "\r", "\t", "    ", "\u2028", "\x00"))
            assert 0 < len(value) <= 2000


@given(st.text() | st.text(alphabet=" \t\n\r\u200e\u2028ab·"))
@example("a  \u200e  b")
@example("\n · \n")
def test_a_parameter_has_no_break_tab_or_gap_and_stays_as_it_is_when_it_is_cleaned_again(text: str) -> None:
    line = one_line(text)
    assert not any(bad in line for bad in ("\n", "\r", "\t", "    ", "\x0b", "\x85"))
    assert line == line.strip()
    assert one_line(line) == line


def test_a_value_is_cut() -> None:
    (wanted,) = decided(body(form={"hotel": "x" * 5000}), terms_for(a_rule(variables=["{data.form.hotel}"]))).wanted
    assert isinstance(wanted.content, Template)
    assert wanted.content.variables == {"1": "x" * LONGEST}


def test_rules_without_any_enabled_one_bring_nothing_about() -> None:
    decision = decided(body(), terms_for(a_rule(enabled=False)))
    assert (decision.wanted, decision.skipped) == ((), "no rule")
    assert rules_of().rules == ()

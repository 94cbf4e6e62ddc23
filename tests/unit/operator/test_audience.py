"""The rows of a campaign's file, whatever the cells hold."""

from __future__ import annotations

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.messages import Request
from daemon.operator.audience import BadRows, Wrong, checked, rows_of_csv
from daemon.operator.faults import Unusable
from schemas.api.campaigns import CampaignIn
from schemas.api.messages import MessageIn

cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
tables = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8)


@given(tables, st.sampled_from(",;\t"), st.booleans())
def test_every_cell_is_read_as_it_was_written_and_every_row_has_its_line(
    table: list[tuple[str, str, str]], delimiter: str, marked: bool
) -> None:
    text = StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["Phone", "1", "name"])
    begins = []
    for row in table:
        begins.append(_lines(text.getvalue()) + 1)
        writer.writerow(row)
    found, torn = rows_of_csv(("\ufeff" if marked else "") + text.getvalue())
    assert torn == []
    wanted = [(at, row) for at, row in zip(begins, table, strict=True) if any(cell.strip() for cell in row)]
    assert [(row.line, row.phone, row.variables, row.name) for row in found] == [
        (at, phone.strip(), {"1": one.strip()}, name.strip() or None) for at, (phone, one, name) in wanted
    ]


def _lines(text: str) -> int:
    """How many lines have ended, as csv counts them."""
    return len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1


def test_a_row_of_another_length_is_named_by_its_line_and_all_of_them_at_once() -> None:
    rows, torn = rows_of_csv('phone,1\n+972505550142,"a\nb"\n+972505550143\n+972505550144,a,b\n')
    assert [dict(row.variables) for row in rows] == [{"1": "a\nb"}]
    assert torn == [
        Wrong(4, "it has 1 cells, and there are 2 columns"),
        Wrong(5, "it has 3 cells, and there are 2 columns"),
    ]


def test_rows_of_another_length_are_told_with_what_is_wrong_with_the_others() -> None:
    rows, torn = rows_of_csv("phone,1\n12,a\n+972505550143\n+972505550144,\n")
    given = CampaignIn.model_validate({"name": "n", "template": "t", "csv": "-"})

    def check(message: MessageIn) -> Request:
        raise Unusable("no usable phone")

    with pytest.raises(BadRows) as raised:
        checked(given, rows, check, torn)
    assert [(one.line, one.error.partition(",")[0]) for one in raised.value.rows] == [
        (2, "no usable phone"),
        (3, "it has 1 cells"),
        (4, "the variable 1 is empty"),
    ]


def test_a_column_is_a_variable_where_it_says_so() -> None:
    ((row,), _) = rows_of_csv("name,var:name,phone,consent,code\nNoa,Noa S,+972505550142,yes,7\n")
    assert (row.name, dict(row.variables), row.consent) == ("Noa", {"name": "Noa S", "code": "7"}, "yes")


def test_what_no_table_can_hold_is_said_with_its_line() -> None:
    with pytest.raises(Unusable, match="line 2"):
        rows_of_csv("phone,1\n+972505550142,\x00\n")

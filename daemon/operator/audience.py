"""Whom a campaign goes to: rows of a file, of a list, or of stored orders, each of them checked."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Final, NamedTuple

from pydantic import ValidationError

from adapters.postgres.audience import FIELDS, Buyer
from adapters.postgres.campaigns import Recipient
from adapters.postgres.messages import Request
from daemon.operator.faults import Unusable
from schemas.api.campaigns import MOST_RECIPIENTS, CampaignIn, RecipientIn
from schemas.api.messages import MessageIn
from schemas.api.wrong import told
from schemas.phone import line

PHONE: Final = "phone"
NAME: Final = "name"
CONSENT: Final = "consent"
AS_VARIABLE: Final = "var:"
"""Before the name of a column: it is a variable, also where it is called as one of the others."""

NO_CONSENT: Final = "consent: the person has not agreed to marketing"
NO_ALERTS: Final = "consent: the person's order does not say that they want messages"

_NO: Final = frozenset({"", "no", "n", "false", "0", "-"})
_SHOWN: Final = 10


class Wrong(NamedTuple):
    """What is wrong with a row, by its *line*; never its values."""

    line: int
    error: str


class BadRows(Unusable):
    """Rows that cannot be sent: nothing was made."""

    def __init__(self, rows: Sequence[Wrong]) -> None:
        self.rows = sorted(rows)
        lines = "; ".join(f"line {one.line}: {one.error}" for one in self.rows[:_SHOWN])
        more = f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        super().__init__(f"{count} cannot be sent, so nothing was made: {lines}{more}")


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """A row as it was given. *error*: why the person gets no message, where that is known."""

    line: int
    phone: str
    variables: Mapping[str, str]
    name: str | None = None
    consent: str | None = None
    error: str | None = None


@dataclass(slots=True, repr=False)
class Audience:
    """The people. *provider*: by which they are written to. *duplicates*: (line, that of the row that counts) of rows
    whose person another row names before."""

    recipients: list[Recipient] = field(default_factory=list)
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    provider: str = ""


def rows_of_csv(text: str) -> tuple[list[Row], list[Wrong]]:
    """The rows of a file with a line of column names, and what is wrong with those that have not its columns. Raises:
    Unusable."""
    if "\x00" in text:
        raise Unusable(f"line {text.partition(chr(0))[0].count(chr(10)) + 1} holds U+0000: save the file as CSV UTF-8")
    lines = text.removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(lines, newline=""), delimiter=_delimiter(lines), strict=True)
    rows, wrong = [], []
    try:
        columns = _columns(next(reader, []))
        before = reader.line_num
        for cells in reader:
            at, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                wrong.append(Wrong(at, f"it has {len(cells)} cells, and there are {len(columns)} columns"))
                continue
            rows.append(_row(at, columns, cells))
    except csv.Error as exc:
        raise Unusable(f"line {reader.line_num} is no CSV ({exc}): mend its quotes") from None
    return rows, wrong


def _delimiter(text: str) -> str:
    """What stands between the columns of the first line: a comma, or what spreadsheets of some countries write."""
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _columns(cells: Sequence[str]) -> list[str]:
    """The names of the columns. Raises: Unusable."""
    names = [cell.strip() for cell in cells]
    names = [name.lower() if name.lower() in (PHONE, NAME, CONSENT) else name for name in names]
    if PHONE not in names:
        raise Unusable("the first line names no column phone: it has the names of the columns, phone among them")
    if "" in names or len(set(names)) < len(names):
        raise Unusable("the first line has a column without a name, or a name twice: give each column its own")
    return names


def _row(at: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    given = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    phone, name, consent = given.pop(PHONE), given.pop(NAME, None), given.pop(CONSENT, None)
    variables = {column.removeprefix(AS_VARIABLE): value for column, value in given.items()}
    return Row(at, phone, variables, name or None, consent)


def rows_of_list(given: Sequence[RecipientIn]) -> list[Row]:
    """The rows of a list, counted from 1."""
    return [Row(n, one.phone, one.variables, one.name, one.consent) for n, one in enumerate(given, 1)]


def rows_of_orders(buyers: Sequence[Buyer], variables: Mapping[str, str]) -> list[Row]:
    """The rows of buyers, counted from 1. *variables*: texts with names of FIELDS in braces. Raises: Unusable."""
    for name, text in variables.items():
        if not _fields(text) <= set(FIELDS):
            raise Unusable(f"the variable {name}: in braces it may name {', '.join(FIELDS)}")
    rows = []
    for n, buyer in enumerate(buyers, 1):
        known = {name: value or "" for name, value in buyer.fields.items()}
        filled = {name: text.format_map(known) for name, text in variables.items()}
        error = None if buyer.alerts else NO_ALERTS
        rows.append(Row(n, buyer.phone, filled, known["client_name"] or None, error=error))
    return rows


def _fields(text: str) -> set[str]:
    """The names in braces. What has more in its braces than a name has a name that is none."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return {"{"}
    return {f"{name}{spec}{kind or ''}" for _, name, spec, kind in parts if name is not None}


def checked(
    given: CampaignIn, rows: Sequence[Row], check: Callable[[MessageIn], Request], torn: Sequence[Wrong] = ()
) -> Audience:
    """The people of *rows*, each once. *check*: gives the message as it would be stored, and raises Unusable. *torn*:
    what is wrong with further rows. Raises: Unusable, where nobody is left; BadRows."""
    if len(rows) > MOST_RECIPIENTS:
        raise Unusable(f"a campaign has at most {MOST_RECIPIENTS} people: make several of it")
    found, wrong, seen = Audience(), list(torn), dict[str, int]()
    for row in rows:
        try:
            request = check(_message(given, row, rows[0]))
        except Unusable as exc:
            wrong.append(Wrong(row.line, str(exc)))
            continue
        person = line(request.phone)
        if (first := seen.setdefault(person, row.line)) != row.line:
            found.duplicates.append((row.line, first))
            continue
        found.provider = request.provider
        found.recipients.append(_recipient(given, row, request, person))
    if wrong:
        ((error, count),) = Counter(one.error for one in wrong).most_common(1)
        raise Unusable(error) if count == len(rows) > 1 and not torn else BadRows(wrong)
    _require_somebody(given, found)
    return found


def _message(given: CampaignIn, row: Row, first: Row) -> MessageIn:
    """The message to the person of *row*. Raises: Unusable."""
    if row.variables.keys() != first.variables.keys():
        raise Unusable("its variables are others than those of the first row")
    if empty := [name for name, value in row.variables.items() if not value.strip()]:
        raise Unusable(f"the variable {empty[0][:40]} is empty")
    template = {"name": given.template, "language": given.language, "variables": row.variables}
    message = {"to": row.phone, "provider": given.provider, "account": given.account, "template": template}
    try:
        return MessageIn.model_validate(message)
    except ValidationError as exc:
        raise Unusable(told(exc, {"to": "phone"}).replace("template.variables.", "the variable ")) from None


def _recipient(given: CampaignIn, row: Row, request: Request, person: str) -> Recipient:
    consent = None if row.consent is None or row.consent.strip().lower() in _NO else row.consent.strip()
    lacks = given.category == "marketing" and given.consent is None and consent is None
    refused = given.category == "marketing" and row.consent is not None and row.consent.strip().lower() in _NO - {""}
    return Recipient(
        line=row.line,
        phone=request.phone,
        person=person,
        variables=dict(request.content["variables"]),
        name=row.name,
        consent=consent,
        error=row.error or (NO_CONSENT if lacks or refused else None),
    )


def _require_somebody(given: CampaignIn, found: Audience) -> None:
    """Raises: Unusable where nobody would get a message."""
    if any(one.error is None for one in found.recipients):
        return
    if not found.recipients:
        raise Unusable("nobody to send to: there is no row, or nothing that fits")
    if given.category == "marketing" and given.consent is None:
        raise Unusable("marketing needs consent: give it for each person, or for all (--consent): how it was obtained")
    raise Unusable("nobody to send to: none of the people has agreed to get messages")


def shown_duplicates(duplicates: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Which rows are left out, and for which."""
    for at, first in duplicates[:_SHOWN]:
        yield f"line {at} names the person of line {first}: one message"
    if len(duplicates) > _SHOWN:
        yield f"and {len(duplicates) - _SHOWN} more"

"""What people write: kept as inbound messages, it opens their windows, and tells whether they want messages.

What a person has written while a message to them waits in its lane stands behind that message. It counts all the same:
a stop is honoured, and a window is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from adapters.postgres.messages import MessageState
from adapters.postgres.opt_outs import Preference
from adapters.postgres.windows import Written
from daemon.bus.outcome import Done, Outcome, Row
from daemon.messages.preferences import told_preference, wants
from daemon.messages.rules import HEARD_BY
from schemas.envelope import Event
from schemas.errors import Malformed
from schemas.identity import key
from schemas.told import came_by_whatsapp, is_test_contact, phone_told, time_told, told_in


def received(event: Event) -> Outcome:
    """A person has written. Raises: Malformed."""
    told = told_in(event)
    if is_test_contact(told.get("contact_id")):
        return Done(skipped="test contact")
    phone = phone_told(told)
    content = {name: told.get(name) for name in ("text", "media", "choice", "reply_to")}
    row = Written(
        system=str(told.get("system")),
        line=None if phone is None else key(phone=phone),
        phone=None if phone is None else phone.e164,
        at=time_told(told, event.time),
        kind=str(told.get("kind") or "text"),
        content=content,
        provider_id=told.get("message_id"),
        event_id=event.id,
        opens=came_by_whatsapp(told),
        our_number=told.get("number"),
    )
    if row.kind == "user_preferences":
        wish = told_preference(told.get("received"))
        told_of = (
            [] if wish is None or row.line is None else [Preference(row.line, *wish, row.at, row.system, event.id)]
        )
        return Done(rows=tuple(told_of), skipped=None if told_of else "tells nothing")
    rows: list[Row] = [row]
    wanted = wants(row.content["text"], tapped=row.kind == "choice")
    if row.kind == "choice" and wanted is None:
        wanted = wants(row.content["choice"], tapped=True)
    if row.line is not None and wanted is not None:
        rows.append(Preference(row.line, "all", not wanted, row.at, "message", event.id))
    return Done(rows=tuple(rows))


def with_behind(state: MessageState, provider: str, behind: Sequence[Event]) -> MessageState:
    """*state* of a message through *provider*, with what its person has written since, in the events *behind* it. A
    wish to have messages again counts there only where it takes back a stop that is behind as well."""
    told = sorted(_told(behind), key=lambda row: row.at)
    stopped, written_at = False, state.written_at
    for row in told:
        if isinstance(row, Preference):
            if row.scope == "all" or state.category == "marketing":
                stopped = row.opted_out
        elif row.opens and row.system in HEARD_BY.get(provider, ()):
            written_at = row.at if written_at is None else max(written_at, row.at)
    return replace(state, opted_out=state.opted_out or stopped, written_at=written_at)


def _told(behind: Sequence[Event]) -> Iterator[Written | Preference]:
    for event in behind:
        if event.type != "message.received":
            continue
        with suppress(Malformed):  # its own turn will tell
            outcome = received(event)
            if isinstance(outcome, Done):
                yield from (row for row in outcome.rows if isinstance(row, Written | Preference))

"""A value of another's that an open operation hides was not seen: who writes again does not pass for knowing it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapters.records_client import RecordsClient
from schemas.records.overlay import seen_version
from tests.support.deciding import operation
from tests.support.records_server import RecordsServer


async def test_an_edit_over_an_open_one_names_the_version_that_was_seen(
    client: RecordsClient, server: RecordsServer, tmp_path: Path
) -> None:
    server.write("Lead", "l1", stage="new", city="Acre")
    await client.sync()
    await client.update("Lead", "l1", {"stage": "won"})
    server.rejects = lambda one: {"reason": "internal", "retry": True}
    server.write("Lead", "l1", stage="lost", city="Haifa")
    await client.sync()
    found = await client.get("Lead", "l1")
    assert found is not None
    assert dict(found) == {"stage": "won", "city": "Haifa"}
    await client.update("Lead", "l1", {"stage": "paid"})
    await client.update("Lead", "l1", {"city": "Eilat"})
    await client.delete("Lead", "l1")
    with sqlite3.connect(tmp_path / "phone.sqlite") as file:
        rows = file.execute("SELECT operation, base_version FROM operations ORDER BY n").fetchall()
    file.close()
    assert rows == [("UPDATE", 1), ("UPDATE", 1), ("UPDATE", 2), ("DELETE", 1)]


_FIELDS = st.lists(st.sampled_from("abc"), max_size=2, unique=True)
_OPEN = st.lists(st.tuples(st.sampled_from(["CREATE", "UPDATE", "DELETE"]), _FIELDS, st.integers(0, 9)), max_size=4)


@given(st.integers(0, 9), _OPEN, _FIELDS)
def test_nothing_that_shows_makes_a_version_older(
    version: int, said: list[tuple[str, list[str], int]], fields: list[str]
) -> None:
    ops = [operation(n, verb, dict.fromkeys(names, "x"), base=base) for n, (verb, names, base) in enumerate(said)]  # type: ignore[arg-type]
    seen = seen_version(version, ops, "UPDATE", fields)
    hiding = [base for verb, names, base in said if verb == "DELETE" or set(names) & set(fields)]
    assert seen == min([version, *hiding])
    assert seen_version(version, ops, "DELETE", []) == min([version, *(base for _, _, base in said)])

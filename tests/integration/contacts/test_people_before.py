"""People that the tables held before contacts could be merged, and processes of that version, which go on working."""

from __future__ import annotations

from adapters.postgres.migrate import apply, migrations
from adapters.postgres.pool import single_connection

NUMBER = 13
_MADE = "INSERT INTO contacts (id, name) VALUES (md5($1)::uuid, $1)"
_KNOWN = """
INSERT INTO contact_identities (contact_id, kind, value) VALUES (md5($1)::uuid, $2, $3)
ON CONFLICT (kind, value) DO NOTHING
"""


async def test_what_was_known_of_people_is_known_afterwards(empty_database_url: str) -> None:
    async with single_connection(empty_database_url) as conn:
        await apply(conn, [one for one in migrations() if one.version < NUMBER])
        for name in ("Noa  Levi", "Dan"):
            await conn.execute(_MADE, name)
            await conn.execute(_KNOWN, name, "phone", f"+97250555000{len(name)}")
            await conn.execute(_KNOWN, name, "email", "a@b.example")
        await apply(conn, migrations())
        assert await conn.fetchval("SELECT count(*) FROM contact_identities WHERE kind = 'phone' AND id > 0") == 2
        rows = await conn.fetch(
            "SELECT name, contact_emails.email FROM contact_emails JOIN contacts c ON c.id = contact_id"
        )
        assert [tuple(row) for row in rows] == [("Noa  Levi", "a@b.example")]
        assert await conn.fetchval("SELECT name FROM contacts WHERE words @@ '''lev'':*'::tsquery") == "Noa  Levi"
        await conn.execute(_MADE, "Ann")
        for _ in range(2):
            await conn.execute(_KNOWN, "Ann", "phone", "+972505550009")
            await conn.execute(_KNOWN, "Ann", "email", "a@b.example")

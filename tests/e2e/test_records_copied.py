"""An edge's database is copied, with an operation in its queue, and both copies run: two edges of one name. Neither
overwrites unseen what the other has written, and the operator is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tests.support.records_rig import site
from tests.support.records_world import current
from tests.support.servers import copied, dropped

RECORD = "/api/v1/records/Item/first"


def _create(id: str, value: str) -> dict[str, Any]:
    return {"op_id": str(uuid4()), "operation": "CREATE", "model": "Item", "record_id": id, "data": {"value": value}}


async def test_two_copies_of_an_edge_overwrite_nothing_unseen(tmp_path: Path, postgres_url: str) -> None:
    async with site(tmp_path, "hub", postgres_url) as hub:
        proof = await hub.token("--edge", "north", "--owners", "noa")
        upstream: dict[str, Any] = {"SYNC_UPSTREAM_URL": hub.url, "SYNC_UPSTREAM_TOKEN": proof}
        upstream |= {"AUTO_SYNC_ENABLED": "false"}  # who pushes when is up to the test
        async with site(tmp_path, "edge", postgres_url, **upstream) as edge:
            noa = await edge.token("--user", "noa")
            await edge.push(_create("first", "1"), token=noa)
            await edge.verb("records", "sync")
            await edge.push(_create("waits", "w"), token=noa)
            await edge.stop()
            name = f"copy_of_{urlsplit(edge.database_url).path[1:]}"
            url = await copied(edge.database_url, name)
            copy = edge.beside()
            copy.settings["DATABASE_URL"] = url
            async with copy.kept():
                await edge.start()
                for place, value in ((edge, "of the edge"), (copy, "of the copy")):
                    told = await place.ask("PATCH", RECORD, {"value": value}, token=noa, If_Match='"1"')
                    assert told.status == 200, told
                    await place.push(_create("both", value), token=noa)
                said = [await place.told("records", "sync", "--json") for place in (edge, copy, edge)]
                assert [(code, json.loads(out)["error"]) for code, out, _ in said] == [(0, None)] * 3
                assert ["another copy of this database" in err for _, _, err in said] == [False, True, False], said
                tables = []
                for place in (hub, edge, copy):
                    async with place.looked_into() as pool:
                        tables.append(dict(await current(pool)))
                assert tables[0].keys() == {"first", "waits", "both"}
                assert tables == [tables[0]] * 3
            await dropped(url, name)
        async with hub.looked_into() as pool:
            met = await pool.fetch("SELECT record_id, ours::text || theirs::text AS both FROM sync_conflicts")
        assert {row["record_id"] for row in met} == {"first", "both"}
        assert all("of the edge" in row["both"] and "of the copy" in row["both"] for row in met)

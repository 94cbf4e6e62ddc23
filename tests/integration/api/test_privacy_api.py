"""`/api/v1/privacy`: a person is shown what is kept, erased, and looked for."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

from adapters.postgres.pool import Pool
from schemas.api.privacy import ErasurePlan, ErasureReceipt, FoundPlaces, PrivacyMap
from tests.integration.api.conftest import Served
from tests.support import planted

PATH = "/api/v1/privacy"


async def asked(served: Served, what: str, person: str = planted.PHONE, status: int = 200) -> Any:
    answer = await served.ask("POST", f"{PATH}/{what}", json.dumps({"person": person}).encode())
    assert answer.status == status, answer.body
    return answer


async def someone(db: Pool) -> None:
    contact = await planted.insert(db, "contacts", name=planted.SURNAME)
    await planted.insert(db, "contact_identities", contact_id=contact, kind="phone", value=planted.PHONE)
    now = datetime.now(UTC)
    await planted.insert(
        db,
        "orders",
        order_id=planted.ORDER,
        client_phone_e164=planted.PHONE,
        cbb_contact_uuid=contact,
        ordered_at=now,
        raw_body="{}",
        webhook_received_at=now,
    )


async def test_a_person_is_shown_erased_and_gone(served: Served, db: Pool) -> None:
    await someone(db)
    with zipfile.ZipFile(io.BytesIO((await asked(served, "export")).body)) as archive:
        assert planted.ORDER in archive.read("database/orders.jsonl").decode()
        assert "database/orders.jsonl" in json.loads(archive.read("MANIFEST.json"))["sha256"]
    plan = ErasurePlan.model_validate((await asked(served, "plan")).json)
    assert plan.rows == {"contacts": 1, "contact_identities": 1, "orders": 1}
    assert not FoundPlaces.model_validate((await asked(served, "verify")).json).clean
    receipt = ErasureReceipt.model_validate((await asked(served, "erase")).json)
    assert receipt.counts["orders"] == 1
    assert FoundPlaces.model_validate((await asked(served, "verify")).json).clean
    await asked(served, "erase", status=404)
    await asked(served, "plan", status=404)
    listed = await served.ask("GET", f"{PATH}/erasures")
    assert [one["erasure"] for one in listed.json["data"]] == [receipt.erasure]
    actions = [row[0] for row in await db.fetch("SELECT action FROM audit_log ORDER BY id")]
    assert actions == ["person.exported", "person.erased"]


async def test_what_names_nobody_is_refused_and_the_map_is_told(served: Served) -> None:
    await asked(served, "plan", person="  ", status=422)
    told = await served.ask("GET", f"{PATH}/map")
    assert PrivacyMap.model_validate(told.json).data

"""Orders that were left to the sync of another one, and orders that are not to be synced, in the tables."""

from __future__ import annotations

from adapters.postgres.order_marks import Coalesced, NotMeant, Syncing, SyncResult
from adapters.postgres.person_orders import Asked, of_persons
from adapters.postgres.pool import Pool
from daemon.contacts.reconciler import reconcile
from daemon.contacts.recording import record
from tests.integration.contacts.test_order_states import HOUR, NOW, ONE, TWO, row, state, stored

ONE_PHONE = "+972505550001"


async def recorded(db: Pool, *rows: object) -> None:
    async with db.acquire() as conn, conn.transaction():
        await record(conn, rows)


async def test_orders_of_the_person_that_are_under_way_end_with_the_one_that_is_synced(db: Pool) -> None:
    for number in range(4):
        await stored(db, state(1, id=f"IL{number}", phone=TWO if number == 3 else ONE))
    for number in (0, 1, 3):
        await recorded(db, Syncing(f"IL{number}", NOW, None, f"IL{number}-1"))
    done = SyncResult(order_id="IL1", status="synced", at=NOW + HOUR, contact_id="c", event_id="IL1-1")
    await recorded(db, done, Coalesced(ONE_PHONE, "IL1", NOW + HOUR, "c"))
    found = {f"IL{number}": await row(db, f"IL{number}") for number in range(4)}
    assert {id: one["cgb_sync_status"] for id, one in found.items()} == {
        "IL0": "synced",
        "IL1": "synced",
        "IL2": "pending",
        "IL3": "syncing",
    }
    assert (found["IL0"]["cgb_contact_id"], found["IL0"]["cgb_sync_completed_at"]) == ("c", NOW + HOUR)


async def test_an_order_that_was_left_to_the_next_one_may_be_the_one_that_the_contact_shows(db: Pool) -> None:
    await stored(db, state(1, id="IL1", changed=NOW))
    await stored(db, state(1, id="IL2", changed=NOW - 2 * HOUR))
    (before,) = await of_persons(db, [Asked(ONE_PHONE, "IL2")])
    assert (before.newest_id, before.orders) == ("IL2", 1)
    await recorded(db, Syncing("IL1", NOW, None, "IL1-1"))
    (after,) = await of_persons(db, [Asked(ONE_PHONE, "IL2")])
    assert (after.newest_id, after.orders) == ("IL1", 2)


async def test_an_order_that_is_not_to_be_synced_has_no_status_and_its_reason_and_is_left_alone(db: Pool) -> None:
    await stored(db, state(1))
    await recorded(db, NotMeant("IL1", "not this branch", "IL1-1"), NotMeant("IL1", "older", "IL1-0"))
    found = await row(db)
    assert (found["cgb_sync_status"], found["cgb_sync_error"]) == (None, "not this branch")
    await db.execute("UPDATE orders SET updated_at = now() - interval '1 hour'")
    looked = await reconcile(db, 60.0)
    assert looked is not None
    assert looked.unsettled == 0

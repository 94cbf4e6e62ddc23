"""Who a person is in the firm's own system: mappings that people add, list and remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.postgres import audit_log, user_mappings
from adapters.postgres.audit_log import Logged
from adapters.postgres.pool import Pool
from adapters.postgres.user_mappings import New, Row
from daemon.conversations.archive.names import OF_ACCOUNT, bucket_name
from daemon.conversations.archive.users import apply_one
from daemon.operator.faults import Conflict, NotThere, Unusable
from schemas.phone import parse_phone

_LONGEST: Final = 200
_LONGEST_NUMBER: Final = 18


def given(user: str, number: str | None, contact: str | None, account: str | None, verified: bool = False) -> New:
    """A mapping, checked. *number*: in any notation with its country code. Raises: Unusable, without its values."""
    user = checked_user(user)
    phone = None if number is None else parse_phone(number)
    if number is not None and phone is None:
        raise Unusable("whatsapp_number is no phone number: write it with + and its country code")
    if (contact is None) != (account is None):
        raise Unusable("chatwoot_contact_id and chatwoot_account_id go together: a contact's id counts in its account")
    if phone is None and contact is None:
        raise Unusable("a mapping needs whatsapp_number, or chatwoot_contact_id and chatwoot_account_id")
    for name, id in (("chatwoot_contact_id", contact), ("chatwoot_account_id", account)):
        if id is not None and not (id.isascii() and id.isdigit() and len(id) <= _LONGEST_NUMBER):
            raise Unusable(f"{name} is a number of Chatwoot's")
    return New(user, None if phone is None else phone.e164, contact, account, verified)


def checked_user(user: str) -> str:
    """*user*, an id in the firm's own system. Raises: Unusable."""
    user = user.strip()
    if not user or len(user) > _LONGEST or not user.isprintable():
        raise Unusable(f"user_id must have 1 to {_LONGEST} printable characters")
    if user.startswith(OF_ACCOUNT):
        raise Unusable(f"a user_id does not begin with {OF_ACCOUNT}: that stands for people without a mapping")
    return user


async def add(pool: Pool, new: New, by: str, prefix: str, notify: bool | None = None) -> tuple[dict[str, Any], bool]:
    """Keep *new*, and give the user the notes that nobody was known for. Returns the mapping, with how many notes were
    `reassigned`, and whether there was none like it. *notify*: as `set_notify` takes it; None: as it is.

    Raises: Conflict where the contact is another user's.
    """
    async with pool.acquire() as conn, conn.transaction():
        id = await user_mappings.add(conn, new)
        made = id is not None
        if id is None:
            there = await user_mappings.same(conn, new)
            if any(one.user != new.user for one in there):
                raise Conflict("this contact is mapped to another user: remove that mapping first")
            if len(there) != 1:
                raise Conflict("this number and this contact have a mapping each: remove one of them first")
            id = there[0].id
            await user_mappings.change(conn, id, new)
        if notify is not None:
            await user_mappings.notify(conn, new.user, bucket_name(prefix, new.user), notify)
        told = {"number": new.number is not None, "contact": new.contact is not None, "verified": new.verified}
        action = "user_mapping.added" if made else "user_mapping.changed"
        await audit_log.add(conn, [Logged(by, action, f"user-mapping:{id}", told)])
    count = await apply_one(pool, id)
    row = await user_mappings.one(pool, id)
    if row is None:
        raise NotThere("the mapping was removed meanwhile")
    return {**document(row), "reassigned": count}, made


async def listed(pool: Pool, user: str | None, after: int = 0, most: int = 50) -> Sequence[dict[str, Any]]:
    """Mappings in the order of their ids, those of *user* where that is given."""
    return [document(row) for row in await user_mappings.listed(pool, user, after, most)]


async def shown(pool: Pool, id: int) -> dict[str, Any]:
    """One mapping. Raises: NotThere."""
    row = await user_mappings.one(pool, id)
    if row is None:
        raise NotThere("there is no mapping with this id")
    return document(row)


async def remove(pool: Pool, id: int, by: str) -> None:
    """Remove a mapping. What is archived stays where it is: it was the user's. Raises: NotThere."""
    async with pool.acquire() as conn, conn.transaction():
        if not await user_mappings.remove(conn, id):
            raise NotThere("there is no mapping with this id")
        await audit_log.add(conn, [Logged(by, "user_mapping.removed", f"user-mapping:{id}", {})])


async def set_notify(pool: Pool, user: str, on: bool, by: str, prefix: str) -> None:
    """Whether *user* is told that something is ready. Raises: Unusable; NotThere where nothing is known of the user."""
    user = checked_user(user)
    async with pool.acquire() as conn, conn.transaction():
        if not await user_mappings.knows(conn, user):
            raise NotThere("there is no mapping of this user: add one first")
        await user_mappings.notify(conn, user, bucket_name(prefix, user), on)
        await audit_log.add(conn, [Logged(by, "user_mapping.notify", "user-bucket", {"on": on})])


def document(row: Row) -> dict[str, Any]:
    """A mapping as JSON has it."""
    return row._asdict()

"""A person in other systems: what can be deleted there, and what a human has to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from adapters.channel import Channels
from adapters.gate import Gate
from adapters.http import open_session
from adapters.redis.limits import RateLimiter
from adapters.registry import CONTACT_ERASER
from daemon.accounts import CHATWOOT, SCOPES, TIMEOUT_S, lacking, values_of
from daemon.bus.worker import Outside, utc_now
from daemon.conversations.archive.wiring import STORAGE, open_store
from daemon.records.pushing.service import Records
from daemon.records.wiring import METRICS, open_records
from daemon.rules.files import load_all
from daemon.settings.in_force import InForce
from daemon.telemetry.metrics import Metrics
from daemon.workers import rule_files
from schemas.errors import FerrymanError

if TYPE_CHECKING:
    from adapters.conversation_ports import ContactEraser
    from adapters.postgres.pool import Pool
    from adapters.redis.streams import Streams
    from daemon.conversations.archive.storing import Archive
    from daemon.settings.model import Settings

BY_HAND: Final[Mapping[str, tuple[str, str]]] = {
    "cgb": ("CGB", "its API deletes no contact: delete it in CGB, under Contacts"),
    "vizi": ("Vizi", "the order system keeps its orders: ask its operator"),
    "whatsapp": (
        "WhatsApp's providers",
        "Meta, Twilio and Whapi keep their logs for their own terms, and delete no person",
    ),
    "openai": ("OpenAI", "voice notes were sent there: it keeps what the account's agreement says"),
}
"""What other systems keep that cannot be deleted from here: (the system, what to do)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What an erasure reaches beside the tables and streams. *chatwoot*: None: it is not configured."""

    archive: Archive
    records: Records
    chatwoot: ContactEraser | None


@asynccontextmanager
async def open_beyond(settings: Settings, pool: Pool, bus: Streams) -> AsyncIterator[Beyond]:
    """What a command reaches. Raises: WrongRules."""
    rules, secret = load_all(settings.ferryman_rules_dir, rule_files()), InForce(settings).secret
    channels = Channels([STORAGE, CHATWOOT])
    async with open_session() as session:
        outside = Outside(
            settings=settings,
            secret=secret,
            pool=pool,
            redis=bus.redis,
            session=session,
            channels=channels,
            metrics=Metrics(METRICS, workers=[], sources=[], providers=[]),
            now=utc_now,
            rules=rules,
        )
        async with open_store(outside) as archive:
            records = open_records(outside)
            yield Beyond(archive=archive, records=records, chatwoot=chatwoot_of(outside))


def chatwoot_of(outside: Outside) -> ContactEraser | None:
    """The CRM's contacts, where it is configured."""
    if lacking(outside.settings, CHATWOOT):
        return None
    gate = Gate(
        session=outside.session,
        channel=outside.channels[CHATWOOT],
        limiter=RateLimiter(None, per_minute=None),
        scope=SCOPES[CHATWOOT],
        system="Chatwoot",
        timeout_s=TIMEOUT_S,
    )
    return CONTACT_ERASER()(gate, account=partial(values_of, outside.settings, outside.secret, CHATWOOT))


async def tell(found: Mapping[str, Sequence[str]], chatwoot: ContactEraser | None) -> list[dict[str, Any]]:
    """Delete what can be deleted in other systems. Each of them with whether it is *done*, and else what to *do*; no
    value of a person."""
    told: list[dict[str, Any]] = []
    if contacts := found.get("chatwoot", ()):
        told.append({"system": "Chatwoot", "contacts": len(contacts), **await _chatwoot(contacts, chatwoot)})
    kept = [
        *(("cgb",) if found.get("cgb") else ()),
        *(("vizi",) if found.get("order") else ()),
        *(("whatsapp",) if found.get("message") else ()),
        *(("openai",) if found.get("object") else ()),
    ]
    told += [{"system": BY_HAND[one][0], "done": False, "do": BY_HAND[one][1]} for one in kept]
    return told


async def _chatwoot(contacts: Sequence[str], eraser: ContactEraser | None) -> dict[str, Any]:
    if eraser is None:
        return {"done": False, "do": "Chatwoot is not configured here: delete the contact there"}
    try:
        done = [await eraser.delete(contact) for contact in contacts]
    except FerrymanError as exc:
        # 401 and 403 are its answer to an agent's token
        return {"done": False, "do": f"{exc}; an administrator's token may delete contacts: or delete it there"}
    if all(done):
        return {"done": True, "do": ""}
    return {"done": False, "do": "a contact is of another account than CHATWOOT_ACCOUNT_ID: delete it there"}

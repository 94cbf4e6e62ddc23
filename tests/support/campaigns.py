"""What tests of campaigns share: one that is made, its feeder, and how its people stand."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, cast
from uuid import UUID

from pydantic import SecretStr

from adapters.channel import Channels
from adapters.postgres.pool import Pool
from daemon.bus.worker import Outside, utc_now
from daemon.messages import campaigns as feeder
from daemon.operator import campaigns
from daemon.settings.model import Settings
from schemas.api.campaigns import CampaignIn

SETTINGS: Final = Settings(
    meta_phone_number_id="1", meta_access_token=SecretStr("m" * 20), messages_default_provider="meta"
)
FASTEST: Final = 500


def phone(n: int) -> str:
    return f"+97250555{n:04d}"


def people(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"phone": phone(n), "variables": {"1": f"Buyer {n}"}} for n in range(first, first + count)]


async def made(db: Pool, name: str = "news", **given: Any) -> UUID:
    """A campaign that is a draft."""
    told = {"name": name, "template": "news", "language": "he", "rate": FASTEST, "quiet": "off"} | given
    if not {"recipients", "csv", "orders"} & told.keys():
        told["recipients"] = people(3)
    asked = CampaignIn.model_validate(told)
    id, _ = await campaigns.create(db, SETTINGS, asked, actor="ops", key=None, now=utc_now())
    return id


async def moved(db: Pool, id: UUID, verb: campaigns.Verb) -> dict[str, Any]:
    return await campaigns.move(db, SETTINGS, str(id), verb, "ops")


def outside_of(db: Pool, settings: Settings = SETTINGS) -> Outside:
    return Outside(
        settings=settings,
        secret=lambda _: "",
        pool=db,
        redis=cast(Any, None),
        session=cast(Any, None),
        channels=Channels(),
        metrics=cast(Any, None),
        now=utc_now,
    )


async def fed(db: Pool, *, configured: bool = True) -> None:
    """One round of the feeder, a second after the last one by the rates of the campaigns."""
    await db.execute("UPDATE campaigns SET next_at = next_at - interval '1 second'")
    (duty,) = feeder.duties(outside_of(db), lambda *account: configured and account == ("meta", "default"))
    await duty.act()


async def standing(db: Pool, id: UUID) -> Counter[str]:
    """Status -> how many recipients stand so, by the table; those that have a message stand as it does."""
    rows = await db.fetch("SELECT status FROM campaign_recipients WHERE campaign_id = $1", id)
    apart = await db.fetchval(
        "SELECT count(*) FROM campaign_recipients r JOIN messages m ON m.id = r.message_id"
        " WHERE (r.status, r.error, r.error_code) IS DISTINCT FROM (m.status, m.error, m.error_code)"
    )
    assert apart == 0, "a recipient stands as its message does"
    return Counter(row["status"] for row in rows)

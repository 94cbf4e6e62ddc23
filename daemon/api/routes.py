"""The API, put together."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from aiohttp.web import RouteDef

from adapters.postgres.bus import outbox
from adapters.postgres.pool import Pool, PostgresError
from adapters.redis.streams import StreamErrors, Streams
from daemon.api import campaigns, credentials, messages, templates
from daemon.api.access import Access
from daemon.api.reference import Reference
from daemon.bus.publisher import publish
from daemon.bus.worker import utc_now
from daemon.settings.in_force import InForce
from schemas.envelope import Event

log = structlog.get_logger(__name__)


def routes_of(in_force: InForce, pool: Pool, bus: Streams, made_token: str) -> Sequence[RouteDef]:
    """All routes of the API. *made_token*: the admin token that was made for embedded stores, "" for none."""

    def admin() -> list[str]:
        given = in_force.settings.ferryman_admin_token
        made = [made_token] if made_token else []
        return made if given is None else [given.get_secret_value()]

    def readonly() -> list[str]:
        given = in_force.settings.ferryman_readonly_token
        return [] if given is None else [given.get_secret_value()]

    async def hurry(event: Event, seq: int) -> None:
        try:
            await publish(pool, bus, [event])
            await outbox.published(pool, [seq])
        except (*StreamErrors, PostgresError):
            log.info("outbox.left", event_id=event.id)  # the sweeper publishes it

    access = Access({"admin": admin, "readonly": readonly})
    routes = [
        *messages.Api(pool, in_force, access, utc_now, hurry).routes(),
        *templates.Api(pool, bus, in_force, access).routes(),
        *campaigns.CampaignsApi(pool, in_force, access, utc_now).routes(),
        *credentials.CredentialsApi(pool, in_force, access).routes(),
    ]
    return [*routes, *Reference(routes).routes()]

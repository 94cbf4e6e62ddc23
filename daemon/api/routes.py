"""The API, put together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
from aiohttp.web import RouteDef

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api import (
    campaigns,
    content_orders,
    conversations,
    credentials,
    labels,
    messages,
    sync_conflicts,
    sync_pull,
    sync_push,
    sync_stats,
    templates,
    tokens,
    user_mappings,
)
from daemon.api import (
    records as records_api,
)
from daemon.api.access import Access
from daemon.api.reference import Reference
from daemon.api.stored_tokens import StoredTokens
from daemon.bus.publisher import hurry
from daemon.bus.worker import Outside, utc_now
from daemon.records.pulling.service import Pulls
from daemon.records.pushing.service import Records
from daemon.settings.in_force import InForce

log = structlog.get_logger(__name__)


def routes_of(
    in_force: InForce, pool: Pool, bus: Streams, outside: Outside, made_token: str, records: Records, pulls: Pulls
) -> Sequence[RouteDef]:
    """All routes of the API. *outside*: what providers are reached by. *made_token*: the admin token that was made for
    embedded stores, "" for none."""

    def admin() -> list[str]:
        given = in_force.settings.ferryman_admin_token
        made = [made_token] if made_token else []
        return made if given is None else [given.get_secret_value()]

    def readonly() -> list[str]:
        given = in_force.settings.ferryman_readonly_token
        return [] if given is None else [given.get_secret_value()]

    access = Access({"admin": admin, "readonly": readonly}, stored=StoredTokens(pool))
    routes = [
        *messages.Api(pool, in_force, access, utc_now, partial(hurry, pool, bus), outside).routes(),
        *templates.Api(pool, bus, in_force, access).routes(),
        *campaigns.CampaignsApi(pool, in_force, access, utc_now).routes(),
        *conversations.ConversationsApi(pool, access, utc_now).routes(),
        *credentials.CredentialsApi(pool, in_force, access).routes(),
        *tokens.TokensApi(pool, access).routes(),
        *content_orders.ContentOrdersApi(in_force, access, outside).routes(),
        *user_mappings.UserMappingsApi(pool, in_force, access).routes(),
        *labels.LabelsApi(pool, in_force, access, utc_now, partial(hurry, pool, bus)).routes(),
        *sync_conflicts.SyncConflictsApi(pool, in_force, access, records).routes(),
        *records_api.RecordsApi(pool, access, records, outside).routes(),
        *sync_push.SyncPushApi(access, records).routes(),
        *sync_stats.SyncStatsApi(access, pool, in_force, utc_now).routes(),
        *sync_pull.SyncPullApi(access, pulls).routes(),
    ]
    return [*routes, *Reference(routes).routes()]

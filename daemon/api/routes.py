"""The API, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from aiohttp.web import RouteDef

from adapters.postgres.pool import Pool
from adapters.redis.streams import Streams
from daemon.api import (
    bus as bus_api,
)
from daemon.api import (
    campaigns,
    content_orders,
    conversations,
    credentials,
    dead_letters,
    events,
    labels,
    lists,
    messages,
    orders,
    overview,
    pauses,
    people,
    privacy,
    refused,
    replays,
    sync_conflicts,
    sync_pull,
    sync_push,
    sync_stats,
    templates,
    tokens,
    uncertain,
    user_mappings,
    webhooks,
)
from daemon.api import (
    records as records_api,
)
from daemon.api.access import Access, Role
from daemon.api.reference import Reference
from daemon.api.stored_tokens import StoredTokens
from daemon.bus.publisher import hurry
from daemon.bus.worker import Outside, utc_now
from daemon.operator.runs import Runs
from daemon.records.pulling.service import Pulls
from daemon.records.pushing.service import Records
from daemon.settings.in_force import InForce
from daemon.web.forwarded import Forwarded

log = structlog.get_logger(__name__)


def routes_of(
    in_force: InForce,
    pool: Pool,
    bus: Streams,
    outside: Outside,
    made_token: str,
    records: Records,
    pulls: Pulls,
    runs: Runs | None = None,
) -> Sequence[RouteDef]:
    """All routes of the API. *outside*: what providers are reached by. *made_token*: the admin token that was made for
    embedded stores, "" for none. *runs*: what goes on behind answers."""
    runs = runs or Runs()

    def admin() -> list[str]:
        given = in_force.settings.ferryman_admin_token
        made = [made_token] if made_token else []
        return made if given is None else [given.get_secret_value()]

    def readonly() -> list[str]:
        given = in_force.settings.ferryman_readonly_token
        return [] if given is None else [given.get_secret_value()]

    forwarded = Forwarded(in_force.settings.ferryman_trusted_proxies)
    tokens_of: dict[Role, Callable[[], list[str]]] = {"admin": admin, "readonly": readonly}
    access = Access(tokens_of, stored=StoredTokens(pool), address=forwarded.address)
    routes = [
        *messages.Api(pool, in_force, access, utc_now, partial(hurry, pool, bus), outside).routes(),
        *templates.Api(pool, bus, in_force, access).routes(),
        *campaigns.CampaignsApi(pool, in_force, access, utc_now).routes(),
        *conversations.ConversationsApi(pool, access, utc_now).routes(),
        *credentials.CredentialsApi(pool, in_force, access).routes(),
        *tokens.TokensApi(pool, access).routes(),
        *webhooks.WebhooksApi(pool, in_force, access).routes(),
        *content_orders.ContentOrdersApi(in_force, access, outside).routes(),
        *user_mappings.UserMappingsApi(pool, in_force, access).routes(),
        *labels.LabelsApi(pool, in_force, access, utc_now, partial(hurry, pool, bus)).routes(),
        *sync_conflicts.SyncConflictsApi(pool, in_force, access, records).routes(),
        *privacy.PrivacyApi(pool, bus, in_force, access, outside, records).routes(),
        *records_api.RecordsApi(pool, access, records, outside).routes(),
        *sync_push.SyncPushApi(access, records).routes(),
        *sync_stats.SyncStatsApi(access, pool, in_force, utc_now).routes(),
        *sync_pull.SyncPullApi(access, pulls).routes(),
        *lists.ListsApi(pool, access).routes(),
        *orders.OrdersApi(pool, bus, in_force, access, runs).routes(),
        *events.EventsApi(pool, bus, access).routes(),
        *uncertain.UncertainApi(pool, access, utc_now).routes(),
        *refused.RefusedApi(pool, access, utc_now).routes(),
        *people.PeopleApi(pool, bus, access).routes(),
        *dead_letters.DeadLettersApi(pool, access).routes(),
        *pauses.PausesApi(pool, bus, access).routes(),
        *replays.ReplaysApi(pool, bus, access, runs).routes(),
        *overview.OverviewApi(pool, access).routes(),
        *bus_api.BusApi(pool, bus, in_force, access).routes(),
    ]
    return [*routes, *Reference(routes).routes()]

"""Every route of the operator's pages with the role that it asks for. Tests, navigation and server go by this table.

Nothing here imports a page: that happens at the first request, so that a daemon whose pages nobody opens starts fast.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

Role: TypeAlias = Literal["anybody", "read", "operate", "admin"]

RANK: Final[dict[str, int]] = {"anybody": 0, "read": 1, "operate": 2, "admin": 3}
"""A role may do what those below it may."""


class PageRoute(NamedTuple):
    """*handler*: "module:function", the module one of `daemon.pages`; it is given a Visit. *nav*: its name in the
    navigation, of a GET without a place in its path; "": it is not there."""

    method: Literal["GET", "POST"]
    path: str
    role: Role
    handler: str
    nav: str = ""


ROUTES: Final[tuple[PageRoute, ...]] = (
    PageRoute("GET", "/", "read", "overview:page", "Overview"),
    PageRoute("GET", "/overview/live", "read", "overview:live"),
    PageRoute("POST", "/pause", "operate", "overview:pause"),
    PageRoute("POST", "/resume", "operate", "overview:resume"),
    PageRoute("GET", "/find", "read", "find:page", "Find"),
    PageRoute("POST", "/find", "read", "find:find"),
    PageRoute("GET", "/people/{id}", "read", "person:page"),
    PageRoute("POST", "/people/{id}/sync", "operate", "person:sync"),
    PageRoute("POST", "/people/{id}/labels", "operate", "person:labels"),
    PageRoute("GET", "/events/{id}", "read", "event:page"),
    PageRoute("POST", "/events/{id}/retry", "operate", "event:retry"),
    PageRoute("POST", "/events/{id}/discard", "operate", "event:discard"),
    PageRoute("POST", "/events/{id}/replay", "operate", "event:replay"),
    PageRoute("GET", "/tail", "read", "tail:page", "Tail"),
    PageRoute("GET", "/tail/live", "read", "tail:live"),
    PageRoute("GET", "/dead-letters", "read", "letters:groups", "Dead letters"),
    PageRoute("GET", "/letters", "read", "letters:page"),
    PageRoute("GET", "/letters/{id}", "read", "letters:one"),
    PageRoute("POST", "/letters/retry", "operate", "letters:retry"),
    PageRoute("POST", "/letters/discard", "operate", "letters:discard"),
    PageRoute("POST", "/letters/{id}/edit", "operate", "letters:edit"),
    PageRoute("GET", "/messages", "read", "messages:page", "Messages"),
    PageRoute("GET", "/messages/uncertain", "read", "messages:uncertain"),
    PageRoute("POST", "/messages/uncertain/sent", "operate", "messages:sent"),
    PageRoute("POST", "/messages/uncertain/again", "operate", "messages:again"),
    PageRoute("GET", "/messages/{id}", "read", "messages:one"),
    PageRoute("GET", "/orders", "read", "orders:page", "Orders"),
    PageRoute("POST", "/orders/sync", "operate", "orders:sync"),
    PageRoute("GET", "/orders/{id}", "read", "orders:one"),
    PageRoute("GET", "/syncs", "read", "syncs:page"),
    PageRoute("GET", "/syncs/{id}", "read", "syncs:one"),
    PageRoute("GET", "/syncs/{id}/live", "read", "syncs:live"),
    PageRoute("GET", "/campaigns", "read", "campaigns:page", "Campaigns"),
    PageRoute("GET", "/campaigns/{id}", "read", "campaigns:one"),
    PageRoute("GET", "/campaigns/{id}/live", "read", "campaigns:live"),
    PageRoute("GET", "/campaigns/{id}/report.csv", "read", "campaigns:report"),
    PageRoute("POST", "/campaigns/{id}/report.csv", "admin", "campaigns:whole_report"),
    PageRoute("POST", "/campaigns/{id}/start", "operate", "campaigns:start"),
    PageRoute("POST", "/campaigns/{id}/pause", "operate", "campaigns:pause"),
    PageRoute("POST", "/campaigns/{id}/resume", "operate", "campaigns:resume"),
    PageRoute("POST", "/campaigns/{id}/stop", "operate", "campaigns:stop"),
    PageRoute("GET", "/templates", "read", "template_lists:page", "Templates"),
    PageRoute("POST", "/templates/sync", "operate", "template_lists:sync"),
    PageRoute("GET", "/refused", "read", "refused:page", "Refused"),
    PageRoute("GET", "/refused/{id}", "read", "refused:one"),
    PageRoute("POST", "/refused/{id}/send", "operate", "refused:send"),
    PageRoute("GET", "/providers", "read", "providers:page", "Providers"),
    PageRoute("POST", "/providers/probe", "operate", "providers:probe"),
    PageRoute("GET", "/credentials", "read", "credentials:page", "Credentials"),
    PageRoute("POST", "/credentials", "admin", "credentials:put"),
    PageRoute("POST", "/credentials/delete", "admin", "credentials:delete"),
    PageRoute("GET", "/bus", "read", "bus:page", "Bus"),
    PageRoute("GET", "/bus/live", "read", "bus:live"),
    PageRoute("GET", "/replays", "read", "replays:listed", "Replays"),
    PageRoute("POST", "/replays", "operate", "replays:begin"),
    PageRoute("GET", "/replays/{id}", "read", "replays:page"),
    PageRoute("GET", "/replays/{id}/live", "read", "replays:live"),
    PageRoute("GET", "/records", "read", "conflicts:listed", "Records"),
    PageRoute("GET", "/records/conflicts/{id}", "read", "conflicts:page"),
    PageRoute("POST", "/records/conflicts/{id}/decide", "admin", "conflicts:decide"),
    PageRoute("GET", "/records/queue", "read", "records:queue"),
    PageRoute("POST", "/records/queue/retry", "operate", "records:retry"),
    PageRoute("GET", "/records/of/{model}/{id}", "read", "records:page"),
    PageRoute("GET", "/conversations", "read", "conversations:listed", "Conversations"),
    PageRoute("GET", "/conversations/{id}", "read", "conversations:page"),
    PageRoute("GET", "/subscribers", "admin", "subscribers:page", "Subscribers"),
    PageRoute("POST", "/subscribers", "admin", "subscribers:add"),
    PageRoute("GET", "/subscribers/{name}", "admin", "subscribers:one"),
    PageRoute("POST", "/subscribers/{name}/test", "admin", "subscribers:test"),
    PageRoute("POST", "/subscribers/{name}/rotate", "admin", "subscribers:rotate"),
    PageRoute("POST", "/subscribers/{name}/disable", "admin", "subscribers:disable"),
    PageRoute("POST", "/subscribers/{name}/enable", "admin", "subscribers:enable"),
    PageRoute("POST", "/subscribers/{name}/remove", "admin", "subscribers:remove"),
    PageRoute("POST", "/subscribers/{name}/retry", "admin", "subscribers:retry"),
    PageRoute("POST", "/subscribers/{name}/replay", "admin", "subscribers:replay"),
    PageRoute("GET", "/users", "admin", "users:page", "Users"),
    PageRoute("POST", "/users", "admin", "users:add"),
    PageRoute("POST", "/users/role", "admin", "users:role"),
    PageRoute("POST", "/users/disable", "admin", "users:disable"),
    PageRoute("POST", "/users/enable", "admin", "users:enable"),
    PageRoute("GET", "/tokens", "admin", "tokens:page", "Tokens"),
    PageRoute("POST", "/tokens", "admin", "tokens:add"),
    PageRoute("POST", "/tokens/revoke", "admin", "tokens:revoke"),
    PageRoute("GET", "/settings", "read", "settings:page", "Settings"),
    PageRoute("GET", "/audit-log", "read", "audit_log:page", "Audit log"),
    PageRoute("GET", "/account", "read", "account:page"),
    PageRoute("POST", "/account/password", "read", "account:password"),
    PageRoute("POST", "/account/sessions", "read", "account:end_others"),
    PageRoute("POST", "/reveal", "operate", "reveal:reveal"),
    PageRoute("GET", "/login", "anybody", "login:page"),
    PageRoute("POST", "/login", "anybody", "login:log_in"),
    PageRoute("GET", "/link/{token}", "anybody", "login:link"),
    PageRoute("POST", "/link/{token}", "anybody", "login:follow"),
    PageRoute("POST", "/logout", "read", "login:log_out"),
    PageRoute("POST", "/zone", "anybody", "account:zone"),
    PageRoute("GET", "/static/{name}", "anybody", "assets:file"),
)


def allows(role: str, wanted: Role) -> bool:
    """Whether an operator of *role* may use what is for *wanted*."""
    return RANK[role] >= RANK[wanted]

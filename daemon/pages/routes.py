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
    PageRoute("GET", "/users", "admin", "users:page", "Users"),
    PageRoute("POST", "/users", "admin", "users:add"),
    PageRoute("POST", "/users/role", "admin", "users:role"),
    PageRoute("POST", "/users/disable", "admin", "users:disable"),
    PageRoute("POST", "/users/enable", "admin", "users:enable"),
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

"""What a route of the API says of itself, for its document: one decorator at its handler.

The path, the method and who may call it come from where the route is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from aiohttp.web import RouteDef
from pydantic import BaseModel

Who: TypeAlias = Literal["anybody", "reader", "admin", "records", "writer"]
"""Whose token a route asks for: none; the installation's, or a stored one of an admin; such a one that may write; any;
any that may write."""

Precondition: TypeAlias = Literal["If-Match", "If-None-Match"]

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
API: Final = "/api/"
"""How the paths of the API begin."""

_DESCRIPTION: Final = "__api_description__"
_WHO: Final = "__api_who__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """*summary*: what the route does, in a few words. *takes*: the model of its body, of the type *body_type*; a body
    that is not JSON has none. *optional*: the body may be left out. *query*: the model of its query. *named*: what
    `{id}` of its path is, where that need not be a UUID. *gives*: the model of its answer, or its type; None: it has no
    body. *status*: of the answer when it goes well. *also*: other statuses of the same answer. *keyed*: it takes an
    Idempotency-Key. *headers*: those that it takes of how things must stand. *problems*: statuses of failures besides
    those that follow from the rest."""

    summary: str
    takes: type[BaseModel] | None = None
    body_type: str | None = None
    optional: bool = False
    query: type[BaseModel] | None = None
    named: str | None = None
    gives: type[BaseModel] | str | None = None
    status: int = 200
    also: Sequence[int] = ()
    keyed: bool = False
    headers: Sequence[Precondition] = ()
    problems: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the API with what it says of itself. *detail*: the docstring of its handler."""

    method: str
    path: str
    who: Who
    description: Description
    detail: str = ""


def described(
    summary: str,
    *,
    takes: type[BaseModel] | None = None,
    body_type: str | None = None,
    optional: bool = False,
    query: type[BaseModel] | None = None,
    named: str | None = None,
    gives: type[BaseModel] | str | None = None,
    status: int = 200,
    also: Sequence[int] = (),
    keyed: bool = False,
    headers: Sequence[Precondition] = (),
    problems: Sequence[int] = (),
) -> Callable[[F], F]:
    """Describe a handler; see Description. The decorated function stays as it is."""
    description = Description(
        summary=summary,
        takes=takes,
        body_type=body_type or (None if takes is None else JSON),
        optional=optional,
        query=query,
        named=named,
        gives=gives,
        status=status,
        also=tuple(also),
        keyed=keyed,
        headers=tuple(headers),
        problems=tuple(problems),
    )

    def describe(handler: F) -> F:
        setattr(handler, _DESCRIPTION, description)
        return handler

    return describe


def hand_on(handler: Callable[..., Any], wrapped: Callable[..., Any], who: Who) -> None:
    """Let *wrapped* say of itself what *handler* does, and who may call it."""
    setattr(wrapped, _DESCRIPTION, getattr(handler, _DESCRIPTION, None))
    setattr(wrapped, _WHO, who)
    wrapped.__doc__ = handler.__doc__


def described_routes(routes: Iterable[RouteDef]) -> list[Route]:
    """The routes that say something of themselves."""
    found = []
    for route in routes:
        description: Description | None = getattr(route.handler, _DESCRIPTION, None)
        who: Who = getattr(route.handler, _WHO, "anybody")
        if description is not None:
            found.append(Route(route.method, route.path, who, description, route.handler.__doc__ or ""))
    return found


def undescribed(routes: Iterable[RouteDef]) -> list[str]:
    """The routes of the API that say nothing of themselves, as `METHOD /path`."""
    return [
        f"{route.method} {route.path}"
        for route in routes
        if route.path.startswith(API) and getattr(route.handler, _DESCRIPTION, None) is None
    ]

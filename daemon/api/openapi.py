"""The document of the API: OpenAPI 3.1, made of the routes and of the models that they read and give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from daemon.api.description import JSON, PROBLEM, Description, Precondition, Route
from schemas.api.answers import Problem

PROBLEMS: Final[Mapping[int, str]] = {
    400: "The query, a header or the body cannot be read.",
    401: "There is no token, or a wrong one.",
    403: "The token does not allow it.",
    404: "There is no such thing.",
    409: "It does not go together with what there is.",
    412: "It has another version, or is there already.",
    413: "The body is too large.",
    415: "The body has another type, or is compressed.",
    422: "The request is understood, and cannot be carried out as it is.",
    428: "If-Match is missing.",
    429: "Too many wrong tokens from this address: wait for Retry-After.",
    502: "A provider did not answer as it should. What the others could do is done.",
    503: "A store does not answer, and the request may have been taken: send it again, with the same key.",
}

ABOUT: Final = """\
Send messages and campaigns, see how they stand, and take them back; read the lists of templates; store accounts at
providers; keep records, and sync them. Times are RFC 3339 with their offset; ids are UUIDs.

Send `Authorization: Bearer TOKEN`: FERRYMAN_ADMIN_TOKEN may do all, FERRYMAN_READONLY_TOKEN may read. With embedded
servers the admin token is in the file `admin-token` of the data directory, where none is set. People and branch offices
have tokens of their own, of `ferryman tokens create`, for records and their sync; one whose role is admin may do all.

In the examples `$TOKEN` is a token, and `$FERRYMAN` the address of the daemon, as `http://127.0.0.1:8080`; put your own
values in the place of names in braces and of words in capitals.

Errors are problem documents (RFC 9457): `detail` says what is wrong and what to do.

Lists have pages: `next` is the `cursor` of the page after.

A request with an `Idempotency-Key` may be sent again: the same key and body get the same answer, and nothing is done
twice."""

KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body again: the same answer. The same key with another body: 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}

PRECONDITIONS: Final[Mapping[Precondition, dict[str, Any]]] = {
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": 'The ETag that was seen, as `"7"`: at another version nothing is written. Missing: 428.',
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "`*`: only where there is none yet.",
        "schema": {"const": "*"},
    },
}

Refs: TypeAlias = Mapping[tuple[type[Any], JsonSchemaMode], dict[str, Any]]
"""A model, as it is read or as it is given -> the reference to it."""

_PLACE: Final = re.compile(r"\{(\w+)\}")
_UUID: Final = {"type": "string", "format": "uuid"}


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of *routes*. *version*: of this program."""
    refs, schemas = _models(route.description for route in routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ferryman", "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def tag_of(path: str) -> str:
    """The group of a path: what stands behind its version."""
    parts = [part for part in path.split("/") if part not in ("", "api", "v1")]
    return parts[0] if parts else "api"


def _operation(route: Route, refs: Refs) -> dict[str, Any]:
    told = route.description
    found: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [tag_of(route.path)],
        "summary": told.summary,
        "security": [] if route.who == "anybody" else [{"token": []}],
        "x-who": route.who,
    }
    if route.detail:
        found["description"] = " ".join(route.detail.split())
    if parameters := _parameters(route):
        found["parameters"] = parameters
    if told.body_type is not None:
        schema = {"type": "string"} if told.takes is None else refs[told.takes, "validation"]
        found["requestBody"] = {"required": not told.optional, "content": {told.body_type: {"schema": schema}}}
    found["responses"] = {str(status): _good(told, status, refs) for status in (told.status, *told.also)} | {
        str(status): {
            "description": PROBLEMS.get(status, HTTPStatus(status).phrase),
            "content": {PROBLEM: {"schema": refs[Problem, "serialization"]}},
        }
        for status in sorted(_problems(route))
    }
    return found


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.removeprefix("/api/v1/"))
    return "_".join((route.method.lower(), *words))


def _good(told: Description, status: int, refs: Refs) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    if told.gives is None or status in (204, 304):
        return {"description": phrase}
    if isinstance(told.gives, str):
        return {"description": phrase, "content": {told.gives: {"schema": {"type": "string"}}}}
    return {"description": phrase, "content": {JSON: {"schema": refs[told.gives, "serialization"]}}}


def _problems(route: Route) -> set[int]:
    """The failures that follow from what a route is, and those that it names."""
    told, found = route.description, set(route.description.problems)
    if route.who != "anybody":
        found |= {401, 429, 503}
    if route.who not in ("anybody", "records"):
        found |= {403}
    if told.body_type is not None:
        found |= {400, 413, 415, 422}
    if told.query is not None:
        found |= {400}
    if told.keyed:
        found |= {400, 409}
    if told.headers:
        found |= {400, 412}
    if "If-Match" in told.headers:
        found |= {428}
    if _PLACE.search(route.path):
        found |= {404}
    return found


def _parameters(route: Route) -> list[dict[str, Any]]:
    told = route.description
    places = [_place(name, told.named) for name in _PLACE.findall(route.path)]
    query = [] if told.query is None else _query(told.query)
    headers = [PRECONDITIONS[name] for name in told.headers]
    return [*places, *query, *headers, *([KEY] if told.keyed else [])]


def _place(name: str, named: str | None) -> dict[str, Any]:
    """A part of the path. *named*: what `id` is, where that need not be a UUID."""
    place = {"name": name, "in": "path", "required": True}
    if name != "id":
        return place | {"schema": {"type": "string"}}
    return place | ({"schema": _UUID} if named is None else {"description": named, "schema": {"type": "string"}})


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of *model* as parameters."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return [_parameter(name, field, name in required) for name, field in schema["properties"].items()]


def _parameter(name: str, field: Mapping[str, Any], required: bool) -> dict[str, Any]:
    """*field* without its null, which a query cannot say."""
    told = {key: value for key, value in field.items() if key not in ("title", "anyOf", "default")}
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        told |= kinds[0]
    elif kinds:
        told["anyOf"] = kinds
    if field.get("default") is not None:
        told["default"] = field["default"]
    described = {"description": text} if (text := told.pop("description", "")) else {}
    return {"name": name, "in": "query", "required": required, **described, "schema": told}


def _models(descriptions: Iterable[Description]) -> tuple[Refs, dict[str, Any]]:
    """The models of all routes, as they are read or as they are given: where each stands, and all by their names."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for told in descriptions:
        if told.takes is not None:
            models[told.takes, "validation"] = None
        if isinstance(told.gives, type):
            models[told.gives, "serialization"] = None
    refs, schema = models_json_schema(list(models), ref_template="#/components/schemas/{model}")
    found: dict[str, Any] = schema.get("$defs", {})
    return dict(refs), {name: found[name] for name in sorted(found)}

"""Requests against the description of its application API that Chatwoot publishes, as of v4.16.2.

It is right about paths, methods and the fields of requests but for DEVIATIONS. It is no part of this repository: it is
read from the file that OPENAPI_OF_CHATWOOT names, else from `shared/contracts` beside the checkout.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from daemon.sandbox.chatwoot import Requested

ROOT: Final = Path(__file__).parents[2]
BESIDE: Final = ROOT.parent / "shared" / "contracts" / "chatwoot-openapi.json"
PREFIX: Final = "/api/v1/accounts/{account_id}"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


class Place(NamedTuple):
    """A parameter or a member of a body, by the name that it has at the top."""

    method: str
    pattern: str
    name: str


DEVIATIONS: Final[Mapping[Place, str]] = {
    Place("GET", f"{PREFIX}/conversations", "source_id"): "app/finders/conversation_finder.rb filters by it",
    Place("GET", f"{PREFIX}/conversations", "updated_within"): "the same; it then gives all on one page",
    Place("POST", f"{PREFIX}/conversations/{{conversation_id}}/custom_attributes", "merge"): (
        "releases after v4.16.2 (chatwoot/chatwoot#15119) merge, older ones take no notice"
    ),
}
"""What the code of Chatwoot takes, and its description lacks -> where that is to be seen."""


def document() -> dict[str, Any] | None:
    """The description; None where it is not here."""
    path = Path(os.environ.get("OPENAPI_OF_CHATWOOT", BESIDE))
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def faults(published: Mapping[str, Any], requests: Iterable[Requested]) -> list[str]:
    """What of *requests* is otherwise than it is described."""
    told = {
        f"{one.method} {one.path}: {fault}": None
        for one in requests
        for fault in of_request(published, one, frozenset(DEVIATIONS))
    }
    return list(told)


def of_request(published: Mapping[str, Any], one: Requested, known: frozenset[Place]) -> Iterator[str]:
    """What is wrong with a request, but for what stands at *known* places."""
    pattern, operation = _operation(published, one.method, one.path)
    if operation is None:
        yield "it is not described"
        return

    def excused(name: str) -> bool:
        return Place(one.method, pattern, name) in known

    described = {found["name"]: found for found in _parameters(published, pattern, operation) if found["in"] == "query"}
    for name, text in one.query.items():
        if name in described:
            schema = resolved(published, described[name]["schema"])
            yield from _wrong(published, schema, _parsed(text, schema), name)
        elif not excused(name):
            yield f"the parameter {name} is not described"
    if one.body is not None:
        yield from (fault for name, fault in _of_body(published, operation, one.body) if not excused(name))
    elif operation.get("requestBody", {}).get("required"):
        yield "it has no body"


def _operation(published: Mapping[str, Any], method: str, path: str) -> tuple[str, dict[str, Any] | None]:
    """The pattern that *path* is, and what is described there. A pattern without places goes first."""
    for pattern in sorted(published["paths"], key=lambda one: one.count("{")):
        methods = published["paths"][pattern]
        if method.lower() in methods and re.fullmatch(re.sub(r"\{\w+\}", "[0-9]+", pattern), path):
            return pattern, methods[method.lower()]
    return path, None


def _parameters(published: Mapping[str, Any], pattern: str, operation: Mapping[str, Any]) -> list[dict[str, Any]]:
    shared = published["paths"][pattern].get("parameters", ())
    return [resolved(published, one) for one in (*shared, *operation.get("parameters", ()))]


def _of_body(published: Mapping[str, Any], operation: Mapping[str, Any], body: Any) -> Iterator[tuple[str, str]]:
    """(member at the top, what is wrong): of JSON, or of a form, whose files the simulator shows as `attachments`."""
    content = operation.get("requestBody", {}).get("content", {})
    form = isinstance(body, dict) and "attachments" in body
    if form:
        body = {("attachments[]" if name == "attachments" else name): value for name, value in body.items()}
        body["attachments[]"] = ["file"]
    kind = "multipart/form-data" if form else "application/json"
    if kind not in content:
        yield "", f"it takes no body of {kind}"
        return
    schema = resolved(published, content[kind]["schema"])
    for name in sorted(body.keys() - schema.get("properties", {}).keys()):
        yield name, f"{name} is not described"
    yield from (("", fault) for fault in _wrong(published, schema, body, ""))


def _wrong(published: Mapping[str, Any], schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    """Where *value* is not what *schema* says. An absent value may be null: Rails makes no difference."""
    schema = resolved(published, schema)
    kinds = _TYPES.get(schema.get("type", ""))
    if value is None or kinds is None:
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{at} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from (f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, inner in schema.get("properties", {}).items():
            yield from _wrong(published, inner, value.get(name), f"{at}.{name}")
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _wrong(published, schema.get("items", {}), one, f"{at}[{number}]")


def _parsed(text: str, schema: Mapping[str, Any]) -> Any:
    """A parameter, which is text, as what it stands for."""
    return int(text) if schema.get("type") in ("integer", "number") and re.fullmatch("[0-9]+", text) else text


def resolved(published: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """*schema*, or what it refers to."""
    while "$ref" in schema:
        found: Any = published
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return dict(schema)

"""The document of the API as a page for people: one file of HTML, without a script and without another host."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final

from daemon.api.description import PROBLEM

_STYLE: Final = """
:root{color-scheme:light dark;--line:light-dark(#d0d7de,#3d444d);--soft:light-dark(#f6f8fa,#161b22);
--dim:light-dark(#57606a,#9aa4b0);--mark:light-dark(#0a58ca,#79b8ff)}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;overflow-wrap:break-word}
a{color:var(--mark)}
h1,h2{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
nav ul{columns:18rem;padding-left:1.2rem}
details{border:1px solid var(--line);border-radius:6px;margin:.6rem 0;padding:0 .8rem}
summary{cursor:pointer;padding:.6rem 0}
summary:focus-visible,a:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
code,pre{font:.9em ui-monospace,monospace}
td{overflow-wrap:anywhere;min-width:5.5rem}
pre{background:var(--soft);padding:.8rem;border-radius:6px;white-space:pre-wrap}
b.method{display:inline-block;min-width:4.5em}
.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{border-top:1px solid var(--line);padding:.35rem .6rem .35rem 0;text-align:left;vertical-align:top}
caption{text-align:left;font-weight:600}
@media(max-width:40rem){
thead{display:none}tr,td{display:block}td{border:0;padding:.1rem 0}tr{border-top:1px solid var(--line)}
}
"""

POLICY: Final = (
    "default-src 'none'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + b64encode(sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""The Content-Security-Policy of the page: its own sheet of style, and nothing else."""

_WHO: Final = {
    "anybody": "without a token",
    "reader": "either token",
    "admin": "an admin token",
    "records": "any token",
    "writer": "any token that writes",
}


def page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    return "".join(_parts(document))


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    info, schemas = document["info"], document["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    yield "<!doctype html><html lang=en><head><meta charset=utf-8><title>Ferryman's API</title>"
    yield '<meta name=viewport content="width=device-width,initial-scale=1"><link rel=icon href="data:,">'
    yield f"<style>{_STYLE}</style></head><body><h1>{_t(info['title'])}'s API {_t(info['version'])}</h1>"
    yield from (f"<p>{_marked(part)}</p>" for part in info["description"].strip().split("\n\n"))
    yield '<p>For programs: <a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI 3.1).</p><nav><ul>'
    yield from (f'<li><a href="#{_t(tag)}">{_t(tag)}</a>' for tag in _tags(operations))
    yield '<li><a href="#failures">failures</a><li><a href="#models">models</a></ul></nav><main>'
    for tag in _tags(operations):
        yield f'<h2 id="{_t(tag)}">{_t(tag)}</h2>'
        for method, path, operation in operations:
            if tag in operation["tags"]:
                yield from _operation(method, path, operation, schemas)
    yield _failures(operations)
    yield "<h2 id=models>models</h2>"
    for name, schema in schemas.items():
        yield f'<section id="{_t(name)}">{_model(name, schema)}</section>'
    yield "</main></body></html>"


def _tags(operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
    return list(dict.fromkeys(tag for _, _, operation in operations for tag in operation["tags"]))


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f'<details open id="{_t(operation["operationId"])}"><summary><b class=method>{method}</b> '
    yield f"<code>{_t(path)}</code> — {_t(operation['summary'])} "
    yield f"<span class=dim>({_WHO[operation['x-who']]})</span></summary>"
    if detail := operation.get("description"):
        yield f"<p>{_marked(detail)}</p>"
    if parameters := operation.get("parameters"):
        asked = [(p["name"], p["in"], _kind(p["schema"]), _notes(p | p["schema"])) for p in parameters]
        yield _table("What it is asked by", ("name", "in", "kind", ""), asked)
    body = operation.get("requestBody", {}).get("content", {})
    for kind, content in body.items():
        yield f"<p>Body: <code>{_t(kind)}</code>, {_kind(content['schema'])}</p>"
    yield f"<pre>{_t(_curl(method, path, operation, body, schemas))}</pre>"
    answers = operation["responses"]
    good = [(status, _t(told["description"]), _given(told)) for status, told in answers.items() if not _fails(told)]
    yield _table("Answers", ("status", "when", "body"), good)
    if failures := [status for status, told in answers.items() if _fails(told)]:
        yield f'<p><a href="#failures">Failures</a>: {" ".join(failures)}</p>'
    yield "</details>"


def _fails(told: Mapping[str, Any]) -> bool:
    return PROBLEM in told.get("content", {})


def _failures(operations: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """What each status means that is no success: the same wherever it is answered."""
    answers = [answer for _, _, operation in operations for answer in operation["responses"].items()]
    known = {status: _t(told["description"]) for status, told in answers if _fails(told)}
    return "<h2 id=failures>failures</h2>" + _table("", ("status", "when"), sorted(known.items()))


def _given(told: Mapping[str, Any]) -> str:
    return ", ".join(_kind(one["schema"]) if "$ref" in one["schema"] else _t(kind) for kind, one in _contents(told))


def _contents(told: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    found: Mapping[str, Any] = told.get("content", {})
    return found.items()


def _model(name: str, schema: Mapping[str, Any]) -> str:
    about = f"<p>{_marked(schema['description'])}</p>" if "description" in schema else ""
    required = schema.get("required", [])
    rows = [
        (field, _kind(told), "" if field in required else "may be left out", _notes(told))
        for field, told in schema.get("properties", {}).items()
    ]
    return f"<h3>{_t(name)}</h3>{about}{_table('', ('name', 'kind', '', ''), rows)}"


def _table(caption: str, heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th scope=col>{one}" for one in heads)
    body = "".join(
        f"<tr><td><code>{_t(first)}</code>{''.join(f'<td>{cell}' for cell in rest)}" for first, *rest in rows
    )
    return f"<table>{f'<caption>{caption}</caption>' if caption else ''}<thead><tr>{head}<tbody>{body}</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value is, with a link to its model."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_t(name)}">{_t(name)}</a>'
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(one) for one in several))
    if "enum" in schema:
        return " ".join(f"<code>{_t(str(one))}</code>" for one in schema["enum"])
    if "const" in schema:
        return f"<code>{_t(_as_json(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return _t(str(schema.get("format") or schema.get("type", "anything")))


def _as_json(value: Any) -> str:
    """*value* as JSON has it, but for the quotes of a text."""
    return value if isinstance(value, str) else json.dumps(value)


def _notes(told: Mapping[str, Any]) -> str:
    """Its meaning, its default and its bounds."""
    named = {"maxLength": "at most {} characters", "minimum": "from {}"}
    named |= {"maximum": "to {}", "maxItems": "at most {} items", "pattern": "matches {}"}
    parts = [told["description"].rstrip(".")] if told.get("description") else []
    each = [told, *(told.get("anyOf") or ())]
    parts += [text.format(one[name]) for one in each for name, text in named.items() if name in one]
    if told.get("default") is not None:
        parts.append(f"else {json.dumps(told['default'])}")
    return _marked("; ".join(parts))


def _curl(
    method: str, path: str, operation: Mapping[str, Any], body: Mapping[str, Any], schemas: Mapping[str, Any]
) -> str:
    words = ["curl"] + ([] if method == "GET" else ["-X", method])
    if operation["security"]:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ())):
        words.append("-H 'Idempotency-Key: order-1002-confirmed'")
    for kind, content in body.items():
        schema = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
        words.append(f"-H 'Content-Type: {kind}'")
        if examples := schema.get("examples"):
            words.append(f"-d '{json.dumps(examples[0], ensure_ascii=False)}'")
        else:
            words.append("--data-binary @FILE")
    return " ".join([*words, f"$FERRYMAN{path}"])


def _marked(text: str) -> str:
    """*text* with what stands between backticks as code, and what stands between asterisks as a name."""
    parts = _t(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else _named(part) for n, part in enumerate(parts))


def _named(text: str) -> str:
    words = text.split("*")
    return "".join(f"<code>{word}</code>" if n % 2 else word for n, word in enumerate(words))


def _t(text: str) -> str:
    return escape(text, quote=True)

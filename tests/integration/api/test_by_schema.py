"""The API as schemathesis asks it: by its own document, with what fits and with what does not, by each role. Its seeds
are fixed, so that every run asks the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adapters.postgres.pool import Pool
from schemas.api.answers import Problem
from tests.integration.api.conftest import Served
from tests.support.list_rows import fill
from tests.support.tokens import bearer

ASKED: Final = (
    ("read", GenerationMode.POSITIVE, 1),
    ("operate", GenerationMode.POSITIVE, 1),
    ("admin", GenerationMode.POSITIVE, 2),
    ("admin", GenerationMode.NEGATIVE, 1),
)
"""Role, what fits or what does not, and how many requests an operation gets of it."""

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LONG: Final = ("/api/v1/sync/pull", "/api/sync/pull")
"""They wait for what is new as long as they are asked to."""


def test_the_document_is_openapi(document: Mapping[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


@pytest.fixture
def document(served: Served) -> Mapping[str, Any]:
    return served.document


def ask_all(
    document: Mapping[str, Any], url: str, headers: Mapping[str, str], mode: GenerationMode, examples: int
) -> int:
    """Ask every operation; how many requests that were. Raises: what a check finds."""
    asked = 0
    paths = {
        path: {method: {**told, "security": []} for method, told in methods.items()}
        for path, methods in document["paths"].items()
    }  # schemathesis would send tokens of its own
    schema = schemathesis.openapi.from_dict({**document, "paths": paths})
    with requests.Session() as session:
        for found in schema.get_all_operations():
            assert isinstance(found, Ok)
            operation = found.ok()
            if operation.path in LONG or (mode is GenerationMode.NEGATIVE and not (operation.query or operation.body)):
                continue  # where only a name is taken, little can be wrong

            @hypothesis.seed(1)
            @hypothesis.settings(
                max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck)
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                nonlocal asked
                asked += 1
                answer = case.call(base_url=url, session=session, headers=dict(headers), timeout=20)
                case.validate_response(answer, checks=CHECKS)
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == ["application/problem+json"]
                    assert answer.status_code not in (401, 429)
                    assert Problem.model_validate(answer.json()).status == answer.status_code

            before = asked
            try:
                check()
            except Unsatisfiable:  # nothing that it takes can be wrong
                assert mode is GenerationMode.NEGATIVE
                assert asked == before
    return asked


@pytest.mark.parametrize(("role", "mode", "examples"), ASKED, ids=[f"{role}-{mode.value}" for role, mode, _ in ASKED])
async def test_what_is_asked_by_the_document_is_answered_by_it(
    served: Served, db: Pool, role: str, mode: GenerationMode, examples: int
) -> None:
    await fill(db, 20)
    headers = await bearer(db, service="program", role=role)
    url = f"http://127.0.0.1:{served.rig.port}"
    asked = await asyncio.to_thread(ask_all, served.document, url, headers, mode, examples)
    assert asked > len(served.document["paths"]) / 2

"""What the tests of the operator's verbs share."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.support.contacts_verb import Verb, contacts_verb


@pytest.fixture
def verb(redis: Redis, redis_url: str, database_url: str) -> Verb:
    """`ferryman contacts …` on the test's stores."""
    return contacts_verb(redis_url, database_url)

"""What a client refuses by itself, and what becomes of an operation that its server refuses."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.records_client import BadOperation, NoRecord, RecordExists, RecordsClient
from tests.support.records_server import TOKEN, RecordsServer
from tests.unit.adapters.sync.conftest import data_of


async def test_a_create_of_a_known_record_and_an_update_of_an_unknown_one_are_refused_at_once(
    client: RecordsClient,
) -> None:
    await client.create("Lead", "l1", {"name": "Ada"})
    with pytest.raises(RecordExists):
        await client.create("Lead", "l1", {"name": "Bo"})
    with pytest.raises(NoRecord):
        await client.update("Lead", "l2", {"name": "Bo"})
    assert not await client.delete("Lead", "l2")
    assert len(await client.pending()) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"note": "x" * 262_144}, "too-large"),
        ({"note": object()}, "type"),
        ({"f" * 3 + str(n): 1 for n in range(201)}, "too-large"),
        ({1: "x"}, "type"),
        ({"n": 2**70}, "type"),
        ({"n": [{"m": float("nan")}]}, "type"),
        ({"n": Decimal(1)}, "type"),
    ],
)
async def test_what_no_server_would_take_is_refused_at_once(
    client: RecordsClient, data: dict[Any, Any], reason: str
) -> None:
    with pytest.raises(BadOperation) as refused:
        await client.create("Lead", "l1", data)
    assert refused.value.reason == reason
    assert await data_of(client, "l1") is None
    assert await client.pending() == []


async def test_what_is_refused_leaves_the_view_is_kept_and_may_be_tried_again(
    client: RecordsClient, server: RecordsServer
) -> None:
    await client.create("Lead", "l1", {"fax": "1"})
    server.rejects = lambda one: {"reason": "field", "detail": "Lead has no field 'fax'"}
    done = await client.sync()
    assert done.failed == 1
    assert await data_of(client, "l1") is None
    (refused,) = await client.failed()
    assert (refused.reason, refused.detail, refused.data) == ("field", "Lead has no field 'fax'", {"fax": "1"})
    server.rejects = lambda one: None
    assert await client.retry_failed(refused.op_id) == 1
    assert await data_of(client, "l1") == {"fax": "1"}
    await client.sync()
    assert list(server.applied) == [str(refused.op_id)]
    assert (await client.status()).failed == 0


async def test_a_refused_operation_may_be_given_up(client: RecordsClient, server: RecordsServer) -> None:
    await client.create("Lead", "l1", {"fax": "1"})
    server.rejects = lambda one: {"reason": "field"}
    await client.sync()
    (refused,) = await client.failed()
    assert await client.dismiss(refused.op_id)
    assert await client.failed() == []
    assert await client.retry_failed() == 0


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        RecordsClient(tmp_path / "x", url, TOKEN)

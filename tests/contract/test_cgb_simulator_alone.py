"""The CGB simulator as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
from aiohttp import ClientSession

DIGITS = "972505550142"
NEW = {"phone": DIGITS, "first_name": "Noa Example", "last_name": ""}


@pytest.mark.parametrize("style", ["live", "documented"])
async def test_it_runs_alone_and_is_steered_by_http(style: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daemon.sandbox.cgb",
        "--style",
        style,
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        root = url.removesuffix("/api")
        key = "100001.sandbox"
        headers = {"X-ACCESS-TOKEN": key, "Authorization": f"Bearer {key}"}
        fault = {"faults": [{"kind": "html", "times": 1, "method": "POST"}]}
        async with ClientSession(headers=headers) as http:
            await (await http.post(f"{root}/_sandbox/faults", json=fault)).read()
            statuses = []
            for _ in range(2):
                async with http.post(f"{url}/contacts", json=NEW) as answer:
                    statuses.append(answer.status)
            async with http.get(f"{root}/_sandbox/ledger") as answer:
                ledger = await answer.json()
            async with http.post(f"{root}/_sandbox/reset") as answer:
                assert answer.status == 200
            async with http.get(f"{root}/_sandbox/contacts") as answer:
                assert await answer.json() == []
        assert statuses[0] == 502
        assert [(e["action"], e["contact"], e["performed"]) for e in ledger["entries"]] == [
            ("create", DIGITS, False),
            ("create", DIGITS, True),
        ]
        assert ledger["contacts_made"] == [DIGITS]
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0

"""A phone that is killed again and again: `python -m tests.support.killed_phone FILE URL TOKEN RECORDS OPERATIONS`.

It writes OPERATIONS operations in all its lives together, over RECORDS records in turn: operation n sets the field
`most` of a record to n. What was written in an earlier life is found in FILE. It exchanges with the server at URL all
the while, and ends when every operation is written and none waits any more.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from adapters.records_client import RecordsClient
from tests.support.until import until

MODEL: Final = "Item"


def name_of(number: int, records: int) -> str:
    """The record of operation *number*, the first being 0."""
    return f"item-{number % records}"


async def _live(path: Path, url: str, token: str, records: int, operations: int) -> None:
    async with RecordsClient(path, url, token) as phone:
        written = await _written(phone, records)
        phone.start()
        for number in range(written, operations):
            record, data = name_of(number, records), {"most": number}
            if number < records:
                await phone.create(MODEL, record, data)
            else:
                await phone.update(MODEL, record, data)

        async def nothing_waits() -> bool:
            return not await phone.pending()

        await until(nothing_waits, "the end of every operation", within_s=600)


async def _written(phone: RecordsClient, records: int) -> int:
    """How many operations were written before."""
    found = [await phone.get(MODEL, f"item-{n}") for n in range(records)]
    return max((int(one["most"]) + 1 for one in found if one is not None), default=0)


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))

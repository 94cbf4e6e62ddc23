"""The first operator of an installation on embedded stores: a link in a file of the daemon's owner, good once."""

from __future__ import annotations

from pathlib import Path
from stat import S_IMODE

import pytest
from aiohttp import ClientSession

from tests.support.browsers import PASSWORD, Browser
from tests.support.daemons import running
from tests.support.until import until


@pytest.mark.timeout(240)
async def test_the_first_operator_is_made_by_the_link_of_the_first_start(memory_path: Path) -> None:
    file = memory_path / "first-login"

    async def written() -> bool:
        return file.exists()

    async with running(memory_path, FERRYMAN_DATA_DIR=memory_path, ORDERS_API_KEY="k" * 20) as daemon:

        async def told() -> bool:
            return any('"daemon.first_login"' in line for line in daemon.lines)

        await until(written, "the link")
        assert S_IMODE(file.stat().st_mode) == 0o600
        link = file.read_text().strip()
        token = link.rpartition("/")[2]
        await until(told, "the log to name the file")
        assert not [line for line in daemon.lines if token in line], "many read a log"
        url, _, path = link.partition("/link/")
        async with ClientSession() as session:
            browser = Browser(url, session)
            answer = await browser.post(f"/link/{path}", {"name": "Noa", "password": PASSWORD}, csrf="")
            assert (answer.status, answer.leads_to) == (303, "/")
            overview = await browser.get("/")
            assert (overview.status, "Noa" in overview.text, "Workers" in overview.text) == (200, True, True)
            assert (await Browser(url, session).get(f"/link/{path}")).status == 410
    async with running(memory_path, FERRYMAN_DATA_DIR=memory_path, ORDERS_API_KEY="k" * 20):

        async def gone() -> bool:
            return not file.exists()

        await until(gone, "the file of a link that is not needed any more")

"""What a process says of itself: told while it lives, soon after a change, and never with a secret."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from adapters.channel import FAILURES_TO_OPEN, Channels
from adapters.postgres.bus import members
from adapters.postgres.pool import Pool
from adapters.registry import SOURCES
from daemon.bus.presence import Presence
from daemon.operator.about import about
from daemon.operator.members import Member, read_members
from daemon.settings.model import Settings
from daemon.telemetry.report import Report
from daemon.workers import WORKERS, enabled
from schemas.errors import ChannelDown, FerrymanError, Transient
from tests.support.services import services
from tests.support.until import until

SECRET = "hush-hush-hush-hush"
SETTINGS = Settings(
    orders_api_key=f"{SECRET},{SECRET}-2",
    cgb_api_key=SECRET,
    cgb_webhook_secret=SECRET,
    ferryman_admin_token=SECRET,
    database_url=f"postgresql://user:{SECRET}@h/d",
    redis_url=f"redis://:{SECRET}@h",
)


def made(db: Pool, channels: Channels | None = None, settings: Settings = SETTINGS) -> Presence:
    return Presence(db, "me", about(settings, WORKERS, SOURCES), [], channels or Channels())


async def the_report(db: Pool, holds: Callable[[Report], bool]) -> Report:
    """The report of the one process, as soon as it *holds*."""
    found: list[Member] = []

    async def told() -> bool:
        found[:] = await read_members(db)
        return len(found) == 1 and holds(found[0].report)

    await until(told)
    return found[0].report


async def failing(channels: Channels, error: FerrymanError, times: int = 1) -> None:
    async def call() -> None:
        raise error

    for _ in range(times):
        with pytest.raises(type(error)):
            await channels["cgb"].call("write", call)


async def test_a_process_says_where_it_runs_what_it_serves_and_with_which_settings(db: Pool) -> None:
    presence = made(db)
    presence.listens = "127.0.0.1:8080"
    async with services(presence):
        report = await the_report(db, lambda report: True)
    assert (report.pid, report.listens) == (os.getpid(), "127.0.0.1:8080")
    assert report.host
    assert report.version
    assert report.started_at is not None
    assert report.settings_at == report.started_at
    assert report.workers == tuple(worker.name for worker in enabled(SETTINGS)[0])
    served = [source.name for source in SOURCES if any(getattr(SETTINGS, name) for name in source.secrets)]
    assert report.sources == tuple(served)
    assert report.settings["CGB_RATE_PER_MINUTE"] == "90"


async def test_no_secret_leaves_the_process_not_even_as_a_digest(db: Pool) -> None:
    """Promise: two processes with different secrets, and all else alike, tell the same of their settings."""
    async with services(made(db)):
        report = await the_report(db, lambda report: True)
    row = await db.fetchval("SELECT report::text FROM members")
    assert SECRET not in row
    assert (report.settings["CGB_API_KEY"], report.settings["ORDERS_API_KEY"]) == ("***", "***,***")
    others = SETTINGS.model_dump() | {"cgb_api_key": "another-key-of-cgb", "ferryman_admin_token": "x" * 20}
    other = about(Settings(**others | {"origins": {}}), WORKERS, SOURCES)
    assert other.settings == report.settings
    assert other.settings_digest == report.settings_digest


async def test_a_provider_s_state_is_told_with_our_code_of_its_last_error(db: Pool) -> None:
    channels = Channels()
    _ = channels["cgb"]
    async with services(made(db, channels)):
        await the_report(db, lambda report: report.providers["cgb"].state == "unused")
        error = Transient("HTTP 500")
        error.code = "http-500"
        error.said = "the other side names Noa Levi"
        await failing(channels, error, FAILURES_TO_OPEN)
        report = await the_report(db, lambda report: report.providers["cgb"].state == "away")
        assert report.providers["cgb"].error == "http-500"
        assert report.providers["cgb"].error_at is not None
        assert report.providers["cgb"].since is not None
        channels["cgb"].paused = True
        await the_report(db, lambda report: report.providers["cgb"].state == "paused")
    assert "Noa" not in await db.fetchval("SELECT report::text FROM members")


async def test_an_account_at_fault_and_a_pause_that_was_asked_for_are_states_of_their_own(db: Pool) -> None:
    channels = Channels()
    channels["cgb"].heard(60)
    async with services(made(db, channels)):
        await the_report(db, lambda report: report.providers["cgb"].state == "asked")
        await failing(channels, ChannelDown("the key", channel="cgb"))
        await the_report(db, lambda report: report.providers["cgb"].state == "refused")


async def test_settings_that_are_read_again_are_told_with_the_time(db: Pool) -> None:
    presence = made(db)
    async with services(presence):
        before = await the_report(db, lambda report: True)
        presence.renew(about(Settings(cgb_rate_per_minute=7), WORKERS, SOURCES))
        after = await the_report(db, lambda report: report.settings["CGB_RATE_PER_MINUTE"] == "7")
    assert before.settings_at is not None
    assert after.settings_at is not None
    assert after.settings_at > before.settings_at
    assert after.started_at == before.started_at


async def test_a_process_that_ends_is_gone_and_one_that_was_killed_is_not_believed_for_long(db: Pool) -> None:
    presence = made(db)
    async with services(presence):
        await the_report(db, lambda report: True)
    await presence.leave()
    assert await read_members(db) == []
    await members.tell(db, "killed", "{}")
    await db.execute("UPDATE members SET seen_at = now() - make_interval(secs => $1)", members.LIVE_S + 1)
    assert await read_members(db) == []
    await db.execute("UPDATE members SET seen_at = now() - make_interval(secs => $1)", members.KEPT_S + 1)
    async with services(made(db)):
        await the_report(db, lambda report: True)

        async def forgotten() -> bool:
            return bool(await db.fetchval("SELECT count(*) = 1 FROM members"))

        await until(forgotten)


async def test_a_process_that_cannot_tell_works_on_and_says_so_once(db: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0

    async def fails(*_: object) -> None:
        nonlocal rounds
        rounds += 1
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("daemon.bus.presence.LOOK_S", 0.01)
    monkeypatch.setattr(members, "tell", fails)
    with capture_logs() as lines:
        async with services(made(db)):
            await until(lambda: rounds > 3)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["presence.not_told"]

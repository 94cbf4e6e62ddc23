"""An inspection in, findings out: a row for each thing that the doctor can say; and the status of the same."""

from __future__ import annotations

import re
import socket
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.postgres.operator.archive import ArchiveCounts
from adapters.postgres.operator.inspect import PostgresServer, TableCounts
from adapters.postgres.sweeps import Swept
from adapters.redis.inspect import RedisServer
from adapters.redis.lease_table import Table
from adapters.registry import SOURCES
from daemon.cli.status import _print
from daemon.operator import archive
from daemon.operator.about import about
from daemon.operator.doctor import examine
from daemon.operator.finding import Finding
from daemon.operator.inspection import Backlog, Inspection, disk_at
from daemon.operator.loss_window import loss_window
from daemon.operator.members import Member
from daemon.operator.status import document
from daemon.rules.problems import Problem
from daemon.settings.model import Settings
from daemon.telemetry.report import ProviderReport
from daemon.workers import WORKERS

NOW = datetime(2031, 3, 1, 12, tzinfo=UTC)
REDIS = RedisServer(
    name="Valkey",
    version="9.1.0",
    durability="always",
    appendonly=True,
    appendfsync="always",
    policy="noeviction",
    used_memory=5_000_000,
    max_memory=0,
    failing=(),
    role="master",
    replicas=0,
    skew_s=0.01,
)
POSTGRES = PostgresServer("16.2", 16, True, "on", True, 90, 0.02, ())
TABLES = TableCounts(16, {"inbox": 0, "event_journal": 0}, {}, 0, None, 0, None, 14, True)
OFF = {
    source.name: source.lacks({}, address_known=True) for source in SOURCES if "orders_api_key" not in source.secrets
}
"""What is not served where only orders have a secret."""

RUNNING = about(Settings(), WORKERS, SOURCES).workers
LEASES = Table({"m1": frozenset(RUNNING)}, {(worker, p): "m1" for worker in RUNNING for p in range(16)})


def told(providers: dict[str, ProviderReport] | None = None, **changed: str) -> list[Member]:
    """A process that runs with this shell's settings, but for what is *changed*."""
    report = about(Settings(), WORKERS, SOURCES)
    return [Member("m1", replace(report, settings={**report.settings, **changed}, providers=providers or {}))]


def cgb(state: str) -> dict[str, ProviderReport]:
    since = NOW - timedelta(minutes=5)
    return {"cgb": ProviderReport(state=state, since=since, error="http-401", error_at=since, waiting=2)}


def test_fields_that_the_account_has_not_are_a_warning_that_names_them() -> None:
    """Promise: an order is not called synced for weeks while nothing of it is written."""
    up = {"cgb": ProviderReport(state="up", lacks=("OrderNumber", "visa_type"))}
    (finding,) = said(members=told(up))
    assert (finding.level, "OrderNumber, visa_type" in finding.text) == ("warn", True)


def nodes(**of_the_last: Any) -> tuple[RedisServer, ...]:
    """A cluster; its last node, a replica, is another than the others."""
    two = [replace(REDIS, address=f"h:{n}", role=role) for n, role in ((1, "master"), (2, "slave"))]
    return (*two, replace(REDIS, address="h:3", role="slave", **of_the_last))


def inspection(**changed: Any) -> Inspection:
    """A healthy installation, but for what is *changed*."""
    healthy: dict[str, Any] = {
        "version": "1",
        "settings": Settings(),
        "shell": about(Settings(), WORKERS, SOURCES),
        "now": NOW,
        "workers": ("journal",),
        "port": "ready",
        "disk": (40, 100),
        "redis": REDIS,
        "nodes": (REDIS,),
        "postgres": POSTGRES,
        "tables": TABLES,
        "leases": LEASES,
        "backlogs": {"journal": Backlog(0, 0, None)},
    }
    if "redis" in changed:
        changed = {"nodes": () if changed["redis"] is None else (changed["redis"],)} | changed
    return Inspection(**healthy | changed)


def said(**changed: Any) -> list[Finding]:
    """What is not ok with it."""
    return [finding for finding in examine(inspection(**changed)) if finding.level != "ok"]


def test_a_healthy_installation_has_nothing_but_ok() -> None:
    assert said() == []
    assert all(str(finding).startswith("ok ") for finding in examine(inspection()))


@pytest.mark.parametrize(
    ("changed", "level", "text", "do"),
    [
        ({"redis": replace(REDIS, name="Redis", version="6.2.14")}, "error", "too old", "Redis 7"),
        ({"redis": replace(REDIS, policy="allkeys-lru")}, "error", "drop accepted events", "noeviction"),
        ({"redis": replace(REDIS, policy=None)}, "warn", "maxmemory-policy", "noeviction"),
        ({"redis": replace(REDIS, lacks=("INFO",))}, "warn", "may not run INFO: its version", "+info"),
        ({"redis": replace(REDIS, lacks=("CONFIG GET",))}, "warn", "may not run CONFIG GET: whether", "+config|get"),
        ({"redis": replace(REDIS, used_memory=85, max_memory=100)}, "warn", "85%", "maxmemory"),
        ({"redis": replace(REDIS, used_memory=97, max_memory=100)}, "error", "97%", "maxmemory"),
        ({"redis": replace(REDIS, failing=("aof_last_write_status",))}, "error", "aof_last_write_status", "room"),
        ({"redis": replace(REDIS, role="slave")}, "error", "replica", "primary"),
        (
            {"nodes": nodes(policy="allkeys-lru")},
            "error",
            "maxmemory-policy of the node h:3 is allkeys-lru",
            "noeviction",
        ),
        ({"nodes": nodes(appendonly=False)}, "warn", "the node h:3 has no append-only file", "appendonly yes"),
        ({"nodes": nodes(version="8.1.0")}, "warn", "different versions: 8.1.0, 9.1.0", "one"),
        ({"nodes": nodes(used_memory=97, max_memory=100)}, "error", "the node h:3 has 97%", "maxmemory"),
        ({"nodes": nodes(failing=("aof_last_write_status",))}, "error", "the node h:3 cannot write", "room"),
        ({"nodes": nodes(skew_s=9.0)}, "warn", "the clock of the node h:3 is 9.0 s ahead", "clocks"),
        ({"nodes": nodes(), "silent_nodes": ("h:4",)}, "warn", "the node h:4 does not answer", "start it"),
        ({"redis": replace(REDIS, skew_s=-4.0)}, "warn", "Redis is 4.0 s behind ours", "clocks"),
        ({"redis": replace(REDIS, durability="none", appendonly=False)}, "warn", "last snapshot", "appendonly yes"),
        ({"postgres": replace(POSTGRES, skew_s=90.0)}, "error", "Postgres is 90.0 s ahead of ours", "clocks"),
        ({"postgres": replace(POSTGRES, version="14.9", major=14)}, "error", "too old", "15"),
        ({"postgres": replace(POSTGRES, pending=("0009_x",))}, "error", "0009_x", "ferryman migrate"),
        ({"postgres": replace(POSTGRES, free_connections=3)}, "warn", "3 connections", "max_connections"),
        ({"postgres": replace(POSTGRES, full_page_writes=False)}, "warn", "full_page_writes", "on"),
        ({"postgres": replace(POSTGRES, fsync=False)}, "warn", "fsync is off", "fsync on"),
        (
            {"wrong_rules": [Problem("/etc/r/fields.toml", 3, "rules[1].then", "is missing: add it")]},
            "error",
            "/etc/r/fields.toml:3: rules[1].then: is missing",
            "ferryman rules check",
        ),
        ({"disk": (81, 100)}, "warn", "81% full", "room"),
        ({"disk": (96, 100)}, "error", "96% full", "room"),
        ({"port": "taken"}, "error", "another program has 127.0.0.1:8080", "FERRYMAN_PORT"),
        ({"port": "not ready"}, "warn", "takes no events", "stores"),
        ({"port": "not allowed"}, "error", "may not listen", "1024"),
        ({"port": "no such address"}, "error", "no address of this machine", "FERRYMAN_HOST"),
        ({"sources_off": {"orders": "set ORDERS_API_KEY"}}, "warn", "orders is not served", "ORDERS_API_KEY"),
        ({"workers_off": {"contact-sync": "no key"}}, "warn", "contact-sync is off: no key", "set"),
        ({"paused": frozenset({"cgb"})}, "warn", "cgb is paused", "ferryman resume cgb"),
        ({"unsigned": ("orders",)}, "warn", "anybody", "FERRYMAN_ALLOW_UNSIGNED"),
        ({"leases": Table({}, {})}, "warn", "no daemon runs", "ferryman run"),
        (
            {"leases": replace(LEASES, owners={at: m for at, m in LEASES.owners.items() if at[0] != "journal"})},
            "warn",
            "16 of 16 partitions of journal",
            "log",
        ),
        (
            {"tables": replace(TABLES, partitions=8), "settings": Settings(ferryman_partitions=16)},
            "error",
            "set up with 8 partitions",
            "set it to 8",
        ),
        ({"tables": replace(TABLES, stray={"inbox": 3})}, "warn", "3 rows of inbox", "daemon"),
        ({"tables": replace(TABLES, days_ahead=3)}, "warn", "day tables for 3 days to come", "daemon"),
        ({"tables": replace(TABLES, makes_days=False)}, "error", "may not make day tables", "owner of inbox"),
        ({"tables": replace(TABLES, dead_letters={"journal": 2})}, "warn", "2 open dead letters of journal", "list"),
        (
            {"tables": replace(TABLES, spool=5, spool_since=NOW - timedelta(minutes=3))},
            "warn",
            "5 events wait in the spool, the oldest for 3 min",
            "Redis",
        ),
        (
            {"members": told(cgb("refused"))},
            "error",
            "cgb refuses our account or key (http-401) for 5 min; 2",
            "`ferryman reload`",
        ),
        ({"members": told(cgb("away"))}, "error", "cgb does not answer as it should (http-401)", "by itself"),
        ({"members": told(cgb("asked"))}, "warn", "cgb has asked us to wait", "ferryman resume cgb"),
        ({"members": told(CGB_API_KEY="***")}, "warn", "settings differ from the daemon's: CGB_API_KEY", "--env-file"),
        (
            {"members": [*told(), *told(CGB_RATE_PER_MINUTE="1")]},
            "warn",
            "the processes have different settings: CGB_RATE_PER_MINUTE",
            "config show --running",
        ),
        ({"unattended": {"gone": 7200.0, "journal": 0.0}}, "warn", "work waits for gone, which", "workers list"),
        ({"backlogs": {"journal": Backlog(9, 1, 3 * 3600.0)}}, "warn", "journal has waited for 3 h", "status"),
        (
            {"away": {"Redis": "Redis at redis://h cannot be used"}, "redis": None, "leases": None},
            "error",
            "redis://h",
            "REDIS_URL",
        ),
    ],
)
def test_what_is_wrong_is_one_finding_that_says_what_to_do(
    changed: dict[str, Any], level: str, text: str, do: str
) -> None:
    findings = said(**changed)
    found = [finding for finding in findings if text in finding.text]
    assert [(finding.level, do in finding.do) for finding in found] == [(level, True)], findings
    assert len(findings) == 1, findings
    assert "\n" not in str(found[0])


def test_while_postgres_is_away_a_process_that_waits_for_it_is_not_said_to_be_missing() -> None:
    away = {"away": {"Postgres": "Postgres at h cannot be used"}, "postgres": None, "tables": None}
    unseen = away | {"leases": Table({}, {}), "port": "not ready"}
    texts = [str(finding) for finding in said(**unseen)]
    assert not any("no daemon runs" in text for text in texts), texts
    assert any("nothing tells whether one waits for it" in text for text in texts), texts
    assert any("check DATABASE_URL" in text for text in texts), texts
    told_of = document(inspection(**unseen))
    assert told_of["members"] is None
    assert told_of["workers"]["journal"]["state"] == "not known"
    assert document(inspection(**away))["workers"]["journal"]["state"] == "running"


def test_a_process_that_has_just_reported_itself_is_not_said_to_be_missing_where_redis_has_no_lease_of_it() -> None:
    """A Redis that comes up again has none for a moment."""
    told_of = document(inspection(leases=Table({}, {}), members=told()))
    assert told_of["members"] is None
    assert told_of["workers"]["journal"]["state"] == "not known"


def test_every_node_of_a_cluster_has_a_line_with_its_settings() -> None:
    lines = [str(finding) for finding in examine(inspection(nodes=nodes())) if "h:" in finding.text]
    assert lines == [
        "ok     h:1 primary: Valkey 9.1.0, append-only file, fsync always, 5 MB used and no limit",
        "ok     h:2 replica: Valkey 9.1.0, append-only file, fsync always, 5 MB used and no limit",
        "ok     h:3 replica: Valkey 9.1.0, append-only file, fsync always, 5 MB used and no limit",
    ]


@pytest.mark.parametrize(
    ("redis", "postgres", "loses"),
    [
        ({}, {}, "loses nothing that was answered 202"),
        ({"durability": "waitaof", "appendfsync": "everysec"}, {}, "loses nothing that was answered 202"),
        ({"durability": "none", "appendfsync": "everysec"}, {}, "up to a second"),
        ({"durability": "none", "appendfsync": "no"}, {}, "not on its disk yet"),
        ({"durability": "none", "appendonly": None, "appendfsync": None}, {}, "not on its disk yet"),
        (
            {"durability": "none", "appendonly": None, "appendfsync": None, "lacks": ("CONFIG GET", "WAITAOF")},
            {},
            "neither CONFIG GET nor WAITAOF",
        ),
        ({"durability": "none", "appendonly": False}, {}, "since its last snapshot"),
        ({"replicas": 1}, {}, "a failover of Redis loses"),
        ({}, {"fsync": False}, "may lose all of it"),
        ({}, {"synchronous_commit": "off"}, "up to its last second"),
    ],
)
def test_the_loss_window_is_one_sentence(redis: dict[str, Any], postgres: dict[str, Any], loses: str) -> None:
    text, do = loss_window(replace(REDIS, **redis), replace(POSTGRES, **postgres))
    assert loses in text
    assert text.count(".") == 1
    assert bool(do) == ("nothing that was answered" not in text)


def test_a_relative_folder_of_rules_is_told_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In another working directory it is another one: the doctor compares what processes tell."""
    monkeypatch.chdir(tmp_path)
    told_of = about(Settings(ferryman_rules_dir=Path("rules")), WORKERS, SOURCES).settings
    assert told_of["FERRYMAN_RULES_DIR"] == f"{tmp_path}/rules"
    assert about(Settings(), WORKERS, SOURCES).settings["FERRYMAN_RULES_DIR"] == "unset"


def test_what_is_off_is_listed_with_the_names_that_switch_it_on() -> None:
    found = about(Settings(), WORKERS, SOURCES)
    assert found.workers == RUNNING
    assert found.workers_off == {
        "contact-sync": "CGB_API_KEY is not set",
        "automatic-messages": "no rule of messages.toml is enabled",
        "crm-labels": "set CHATWOOT_BASE_URL, CHATWOOT_API_ACCESS_TOKEN, CHATWOOT_ACCOUNT_ID",
    }
    assert found.sources_off == {source.name: source.lacks({}, address_known=True) for source in SOURCES}
    assert found.sources_off["chatwoot"] == "set CHATWOOT_WEBHOOK_SECRET, or run `ferryman chatwoot setup`"
    assert found.sources_off["orders"] == "set ORDERS_API_KEY or ORDERS_WEBHOOK_SECRET"
    given = Settings(cgb_api_key="k" * 20, orders_api_key="a" * 20, ferryman_workers="journal")
    found = about(given, WORKERS, SOURCES)
    assert found.workers_off == dict.fromkeys(
        (worker.name for worker in WORKERS if worker.name != "journal"), "FERRYMAN_WORKERS does not name it"
    )
    assert (found.sources, found.sources_off) == (("orders", "issues"), OFF)


def test_the_share_of_the_disk_is_that_of_df(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what a file system keeps for root counts neither as used nor as free."""
    usage = SimpleNamespace(total=270, used=26, free=82)
    monkeypatch.setattr("daemon.operator.inspection.shutil.disk_usage", lambda path: usage)
    assert disk_at(tmp_path) == (26, 108)
    monkeypatch.undo()
    _, row = subprocess.run(["df", "-P", str(tmp_path)], capture_output=True, text=True, check=True).stdout.splitlines()
    (shown,) = re.findall(r"(\d+)%", row)
    found = disk_at(tmp_path)
    assert found is not None
    assert abs(100 * found[0] / found[1] - int(shown)) <= 1.5


def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert disk_at(tmp_path / "a" / "b") is not None


def test_the_archive_in_files_says_where_how_much_room_there_is_and_whether_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(**changed: Any) -> list[Finding]:
        settings = Settings(ferryman_data_dir=tmp_path / "data")
        return list(archive.check(inspection(**{"settings": settings, "workers": ("conversation-archive",)} | changed)))

    (fine,) = found()
    assert (fine.level, "GB are free" in fine.text) == ("ok", True)
    monkeypatch.setattr("daemon.operator.archive.shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    assert [one.level for one in found()] == ["warn"]
    monkeypatch.setattr("daemon.operator.archive.os.access", lambda path, mode: False)
    assert [one.level for one in found()] == ["error"]
    assert [one.level for one in found(members=told())] == ["warn"], "the daemon may be another user"
    assert found(workers=("journal",)) == []
    (tmp_path / "data").write_text("no folder")
    assert [one.level for one in found()] == ["error"]


def test_what_waits_for_the_archive_is_told_when_it_has_waited_long() -> None:
    settings = Settings(storage_emulator_host="http://127.0.0.1:9023")
    for minutes, levels in ((1, ["ok"]), (16, ["ok", "warn"])):
        counts = ArchiveCounts(3, NOW - timedelta(minutes=minutes), 2, 1)
        told_of = inspection(settings=settings, archive=counts, workers=("conversation-archive",))
        assert [one.level for one in archive.check(told_of)] == levels
        assert document(told_of)["archive"] == {
            "place": "emulator",
            "waiting": 3,
            "waiting_since": NOW - timedelta(minutes=minutes),
            "files_in_error": 2,
            "notes_in_error": 1,
        }
    assert document(inspection())["archive"] is None


def test_all_that_the_status_may_know_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: what is found out of order does not keep `ferryman status` from saying so."""
    swept = Swept("chatwoot:3", NOW, 300.0, 4, "http-401", False)
    _print(document(inspection(sweeps=[swept], archive=ArchiveCounts(3, NOW, 2, 1), members=told(CGB_API_KEY="other"))))
    printed = capsys.readouterr().out
    at = f"{NOW.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    assert f"sweep of chatwoot:3: the last {at}, 4 found; it fails now (http-401)" in printed
    assert f"archive: 3 objects wait for the store, the oldest since {at}" in printed
    assert "2 files and 1 messages could not be archived" in printed


def test_the_status_says_what_is_known_and_null_where_nothing_is() -> None:
    known = document(inspection(open_events={"journal": 4}, tables=replace(TABLES, dead_letters={"journal": 2})))
    assert known["workers"]["journal"] == {
        "state": "running",
        "owned": 16,
        "lag": 0,
        "pending": 0,
        "open": 4,
        "dead": 2,
        "oldest_seconds": None,
    }
    assert known["members"] == {"m1": {worker: list(range(16)) for worker in sorted(RUNNING)}}
    blind = document(inspection(redis=None, leases=None, backlogs={}, workers_off={"contact-sync": "no key"}))
    assert blind["members"] is None
    assert blind["workers"]["journal"]["state"] == "not known"
    assert blind["workers"]["journal"]["lag"] is None
    assert blind["workers"]["contact-sync"]["state"] == "off: no key"
    assert document(inspection(asked_to_wait={"cgb": 123.4}))["asked_to_wait"] == {"cgb": 123}
    assert document(inspection(leases=Table({}, {})))["workers"]["journal"]["state"] == "no process runs it"
    assert document(inspection(paused=frozenset({"journal"})))["workers"]["journal"]["state"] == "paused"


def test_quotes_and_options_that_change_nothing_are_hints_and_no_errors() -> None:
    settings = Settings(
        orders_api_key=f'"{"k" * 20}"', database_url="postgresql://h/d?pgbouncer=true&connect_timeout=5"
    )
    found = said(settings=settings)
    assert {finding.level for finding in found} == {"warn"}
    text = "\n".join(map(str, found))
    assert "ORDERS_API_KEY is in quotes" in text
    assert "k" * 20 not in text
    assert "pgbouncer of DATABASE_URL changes nothing here → use the pooler's address for whole sessions" in text
    assert "connect_timeout of DATABASE_URL" in text


def test_what_a_live_process_reports_counts_and_not_the_environment_of_this_shell() -> None:
    """Promise: "orders is not served" is not said beside a daemon that serves it."""
    daemon = about(Settings(orders_api_key="a" * 20, cgb_api_key="k" * 20), WORKERS, SOURCES)
    off = {"orders": "set ORDERS_API_KEY"}
    found = inspection(sources_off=off, workers_off={"contact-sync": "CGB_API_KEY is not set"})
    found.believe([Member("m1", daemon)])
    text = "\n".join(map(str, examine(found)))
    assert "orders is not served" not in text
    assert "contact-sync is off" not in text
    assert "this shell's settings differ from the daemon's: CGB_API_KEY, ORDERS_API_KEY" in text
    assert "takes orders, issues and runs journal, contact-sync" in text
    known = document(found)
    assert known["sources_off"] == OFF
    assert known["settings_differ"] == ["CGB_API_KEY", "ORDERS_API_KEY"]
    assert [process["id"] for process in known["processes"]] == ["m1"]
    assert "settings" not in known["processes"][0]


@pytest.mark.parametrize(
    ("last", "text"),
    [
        ({}, None),
        ({"age_s": 7200.0}, "the last sweep of chatwoot:3 was 2 h ago"),
        ({"error": "http-401", "age_s": 700.0}, "does not come to its end (http-401), for 12 min"),
        ({"error": "http-401", "running": True}, None),
        ({"place": "chatwoot:4", "age_s": 7200.0}, None),
    ],
)
def test_a_sweep_that_fails_or_that_nobody_makes_is_told(last: dict[str, Any], text: str | None) -> None:
    """Promise: it is known that lost webhooks are not made good."""
    ended = Swept("chatwoot:3", NOW, 300.0, 0, None, False)._replace(**last)
    found = said(members=told(CHATWOOT_ACCOUNT_ID="3"), sweeps=[ended])
    swept = [one.text for one in found if "sweep" in one.text]
    assert swept == ([] if text is None else swept[:1])
    assert text is None or text in swept[0]
    assert document(inspection(sweeps=[ended]))["sweeps"][ended.place]["error"] == ended.error


def test_where_no_process_lives_this_shell_counts() -> None:
    found = inspection(sources_off={"orders": "set ORDERS_API_KEY"})
    found.believe([])
    assert "the source orders is not served" in "\n".join(map(str, examine(found)))


def test_the_free_port_of_this_shell_is_not_told_beside_a_daemon_on_this_host() -> None:
    here = Member("m1", replace(about(Settings(), WORKERS, SOURCES), host=socket.gethostname()))
    elsewhere = Member("m1", replace(here.report, host="elsewhere"))
    assert "is free" not in "\n".join(map(str, examine(inspection(port="free", members=[here]))))
    assert "is free" in "\n".join(map(str, examine(inspection(port="free", members=[elsewhere]))))


def test_the_status_tells_each_provider_with_the_code_of_its_last_error() -> None:
    known = document(inspection(members=told(cgb("refused"))))["providers"]
    assert known["cgb"]["why"] == "cgb refuses our account or key (http-401)"
    assert (known["cgb"]["state"], known["cgb"]["error"], known["cgb"]["waiting"]) == ("refused", "http-401", 2)

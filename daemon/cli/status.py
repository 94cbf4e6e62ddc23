"""`ferryman status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from daemon.cli.context import read_settings, run_async
from daemon.cli.screen import say, show_json, show_table
from daemon.cli.tools import Json, shown_ranges, shown_time
from daemon.operator.status import read_status


def status(json: Json = False) -> None:
    """Which process works on what, what waits, and what is off and why, as the processes report themselves. Exit code 1
    when a store is away, or the database lacks migrations."""
    found = run_async(read_status(read_settings()))
    if json:
        show_json(found)
    else:
        _print(found)
    if found["away"] or found["schema_lacks"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    say(f"Ferryman {found['version']}, {_or_away(found['redis'], 'Redis')}, {_postgres(found['postgres'])}")
    say(f"partitions {found['partitions']}, spool {_text(found['spool'])}, outbox {_text(found['outbox'])}")
    for why in found["away"].values():
        say(f"away: {why}")
    if found["schema_lacks"]:
        say(f"the database lacks {found['schema_lacks']} of our migrations: run `ferryman migrate`")
    for name, provider in found["providers"].items():
        _print_provider(name, provider)
    _print_senders(found["senders"])
    if found["fallback"]:
        say(f"messages that name no provider go by {', '.join(found['fallback'])} where the default one is down")
    say(f"sources that are served: {', '.join(found['sources']) or 'none'}")
    rows = [[name, *_cells(worker)] for name, worker in found["workers"].items()]
    show_table(("worker", "state", "owned", "lag", "pending", "open", "dead", "oldest (s)"), rows)
    told = {process["id"]: process for process in found["processes"]}
    owners = {process: {} for process in told} if found["members"] is None else found["members"]
    for member, owned in owners.items():
        shares = "; ".join(f"{worker} {shown_ranges(partitions)}" for worker, partitions in owned.items())
        say(f"process {member[:8]}{_who(told.get(member))}: {shares or 'its partitions are not known'}")
    if names := found["settings_differ"]:
        say(f"this shell's settings differ from the daemon's: {', '.join(names)}; give those with --env-file FILE")
    if names := found["processes_differ"]:
        say(f"the processes have different settings: {', '.join(names)}; see `ferryman config show --running`")
    if found["members"] == {}:
        say("no daemon runs: `ferryman run`")
    if found["members"] is None and found["postgres"] is None:
        say("nothing tells which processes run: one that starts waits for Postgres")
    for worker, seconds in found["unattended"].items():
        say(f"work waits for {worker}, which no process has run for {seconds} s: `ferryman workers list`")
    if failed := (found["orders"] or {}).get("failed"):
        say(f"{failed} orders have failed: `ferryman orders list --status failed`")
    for source, why in found["sources_off"].items():
        say(f"source {source} is not served: {why}")
    for place, sweep in found["sweeps"].items():
        _print_sweep(place, sweep)
    _print_archive(found["archive"])
    _print_upstream(found["upstream"])
    _print_credentials(found["credentials"])
    for name in found["paused"]:
        say(f"{name} is paused: `ferryman resume {name}`")
    for name, left_s in found["asked_to_wait"].items():
        say(f"{name} has asked us to wait: {left_s} s more; `ferryman resume {name}` goes on at once")


def _cells(worker: Mapping[str, Any]) -> list[str]:
    """The row of a worker; where nothing waits, nothing is the oldest."""
    cells = [_text(value) for value in worker.values()]
    if worker["oldest_seconds"] is None and worker["lag"] == worker["pending"] == 0:
        cells[-1] = "-"
    return cells


def _print_provider(name: str, provider: Mapping[str, Any]) -> None:
    """A line for a provider whose account lacks fields, and one for a provider that is not called now. One that an
    operator has paused, or that has asked us to wait, has a line that says how to go on."""
    if provider["lacks"]:
        say(f"{name} has no fields {', '.join(provider['lacks'])}: they are not written")
    if provider["state"] not in ("away", "refused"):
        return
    since = "" if provider["since"] is None else f" since {shown_time(provider['since'])} UTC"
    say(f"{provider['why']}{since}; persons whose events wait for it: {provider['waiting']}")


def _print_senders(senders: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for each sender: how it is, and how many of its messages have no end."""
    for name, one in senders.items():
        state = one["why"] or "configured"
        if one["missing"]:
            state = f"off, without {', '.join(one['missing'])}"
        counts = "".join(f", {one[what]} {what}" for what in ("queued", "uncertain") if one[what])
        say(f"sender {name}{' (the default)' if one['default'] else ''}: {state}{counts}")


def _print_sweep(place: str, sweep: Mapping[str, Any]) -> None:
    """When an account was last looked through for messages that no webhook had brought."""
    last = "none yet" if sweep["at"] is None else f"the last {shown_time(sweep['at'])} UTC, {sweep['found']} found"
    failing = "" if sweep["error"] is None else f"; it fails now ({sweep['error']})"
    say(f"sweep of {place}: {last}{failing}")


def _print_archive(archive: Mapping[str, Any] | None) -> None:
    """What waits for the object store, and what could not be archived."""
    if archive is None:
        return
    if archive["waiting"]:
        since = shown_time(archive["waiting_since"])
        say(f"archive: {archive['waiting']} objects wait for the store, the oldest since {since} UTC")
    if archive["files_in_error"] or archive["notes_in_error"]:
        counts = f"{archive['files_in_error']} files and {archive['notes_in_error']} messages"
        say(f"archive: {counts} could not be archived; `ferryman conversations show ID` has the reason of each")


def _print_upstream(upstream: Mapping[str, Any] | None) -> None:
    """How an edge stands with its upstream."""
    if upstream is None:
        return
    counts = "".join(f", {upstream[what]} {what}" for what in ("pending", "failed", "conflicts") if upstream[what])
    state = "online" if upstream["online"] else "offline"
    last = "never" if upstream["last_sync"] is None else f"{shown_time(upstream['last_sync'])} UTC"
    by_hand = "" if upstream["automatic"] else ", by `ferryman records sync` alone"
    say(f"records go to {upstream['url']}{by_hand}: {state}, last complete {last}{counts}")
    if upstream["last_error"]:
        say(f"  {upstream['last_error']}")


def _print_credentials(stored: Mapping[str, str]) -> None:
    """The stored accounts: which go before those of the settings, and which cannot be used."""
    if instead := [name.removesuffix("/default") for name in stored if name.endswith("/default")]:
        say(f"messages by {', '.join(instead)} go by the stored account default, whatever the settings name")
    for name, why in stored.items():
        if why:
            say(f"the stored account {name} cannot be used, and its messages wait: {why}")


def _who(process: Mapping[str, Any] | None) -> str:
    """Where a process runs, since when, and with which settings; "" where it has not told."""
    if process is None:
        return ""
    return (
        f" on {process['host']} (pid {process['pid']}, {process['version']}, since {_since(process)},"
        f" settings {process['settings_digest']})"
    )


def _since(process: Mapping[str, Any]) -> str:
    return f"{shown_time(process['started_at'])} UTC"


def _text(value: Any) -> str:
    return "?" if value is None else str(value)


def _or_away(version: str | None, store: str) -> str:
    return version or f"{store} is away"


def _postgres(version: str | None) -> str:
    return _or_away(None if version is None else f"PostgreSQL {version}", "Postgres")

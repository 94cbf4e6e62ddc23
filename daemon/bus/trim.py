"""Trimming: streams forget only what every group has acknowledged, the journal has, and is old enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.postgres.bus.workers import JOURNAL
from adapters.redis.streams import Streams, stream_keys
from adapters.redis.values import parsed_id, text


def keep_from(
    groups: Sequence[tuple[str, str, str | None]], wanted: Collection[str], now: datetime, hours: int
) -> str | None:
    """The oldest entry id to keep of one stream, or None: keep everything.

    *groups*: (name, id last delivered, smallest pending id or None) of every group of the stream. *wanted*: the workers
    of the installation that read it. While one of them has no group, it has read nothing, and nothing is trimmed; nor
    without the journal, which remembers what is trimmed.
    """
    if not {*wanted, JOURNAL} <= {name for name, _, _ in groups}:
        return None
    old = int((now - timedelta(hours=hours)).timestamp() * 1000)
    bounds = [(old, 0)]
    for _, delivered, pending in groups:
        bounds.append(parsed_id(pending) if pending is not None else parsed_id(delivered))
    ms, sequence = min(bounds)
    return f"{ms}-{sequence}"


async def trim(streams: Streams, readers: Mapping[str, Collection[str]], now: datetime, hours: int) -> int:
    """Trim the streams of the topics *readers* (topic -> the installation's workers that read it) by MINID; returns how
    many entries went."""
    wanted = {key: names for topic, names in readers.items() for key in stream_keys([topic], range(streams.partitions))}
    keys = list(wanted)
    pipe = streams.redis.pipeline(transaction=False)
    for key in keys:
        pipe.xinfo_groups(key)
    described: list[Any] = await pipe.execute(raise_on_error=False)
    named = [
        (key, [text(group["name"]) for group in groups], groups)
        for key, groups in zip(keys, described, strict=True)
        if not isinstance(groups, Exception)
    ]
    pipe = streams.redis.pipeline(transaction=False)
    for key, names, _ in named:
        for name in names:
            pipe.xpending(key, name)
    pending = iter(await pipe.execute())
    pipe = streams.redis.pipeline(transaction=False)
    for key, names, groups in named:
        facts = []
        for name, group in zip(names, groups, strict=True):
            least = next(pending)["min"]
            facts.append((name, text(group["last-delivered-id"]), None if least is None else text(least)))
        if (least_id := keep_from(facts, wanted[key], now, hours)) is not None:
            pipe.execute_command("XTRIM", key, "MINID", least_id)
    return sum(int(count) for count in await pipe.execute())

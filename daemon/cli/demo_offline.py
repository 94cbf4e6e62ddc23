"""`ferryman demo --offline`: what people do to records while the lines are cut, and how it becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from daemon.cli.context import until_stopped
from daemon.cli.screen import say, show_json, show_table
from daemon.demo.customer import next_run
from daemon.demo.offline import Result, equal, perform
from daemon.demo.offline_judging import as_told, document, judged, seen
from daemon.demo.offline_stage import PHONE, Stage, staged
from daemon.demo.offline_story import SCENES, Scene

_REFUSED: Final = {
    "owner": "the record was not the branch's any more",
    "field": "its model does not know the field",
}
_DECIDED: Final = {"": "open", "ours": "ours: it stays", "theirs": "theirs: it comes in"}
_PLACES: Final = {"phone": "on the phone", "branch": "at the branch"}


async def demo_offline(data_dir: Path, *, json: bool, keep: bool) -> bool:
    """Hold the demonstration on *data_dir* and show it; whether everything agrees."""
    tell = partial(say, err=json)
    tell("starting a head office and its branch, each with Valkey, PostgreSQL and a daemon, and a phone …")
    async with staged(data_dir, next_run(data_dir)) as stage:
        result = await perform(stage, tell)
        result.disagreements += judged(result)
        if json:
            show_json(document(result))
        else:
            _show(result)
        if keep:
            await _keep(stage, data_dir, err=json)
    if not json:
        _where_next(data_dir)
    return result.ok


def _show(result: Result) -> None:
    say("")
    people = ("record", "at the branch, cut off", "at the head office meanwhile", "rule", "in the end")
    show_table(people, _story(result), title="What people did", box=True)
    copies = ("record", "head office", "branch", "phone", "equal")
    show_table(copies, _ends(result), title="The same at all three", box=True)
    values = ("record", "decided at", "stood there", "came", "rule", "decision")
    show_table(values, _conflicts(result), title="Conflicts: no value is lost", box=True)
    refusals = ("record", "what was refused", "why", "it is kept")
    show_table(refusals, _refusals(result), title="Refused", box=True)
    say(
        f"{result.queued[0]} changes waited on the phone, {result.queued[1]} operations at the branch; the head office"
        f" has {result.operations} operations in its ledger, each once; {result.seconds:.1f} s"
    )
    for disagreement in result.disagreements:
        say(f"does NOT agree: {disagreement}")
    say("all three places agree, record by record" if result.ok else "they do NOT agree")


def _story(result: Result) -> Iterator[list[str]]:
    for scene, copies in zip(SCENES, result.copies, strict=True):
        there = "; ".join(one.said for one in scene.changes if one.by != "office")
        above = "; ".join(one.said for one in scene.changes if one.by == "office")
        yield [_name(scene), there, above, scene.rule, scene.outcome if as_told(scene, copies) else "NOT as it must be"]


def _name(scene: Scene) -> str:
    return scene.id.capitalize()


def _ends(result: Result) -> Iterator[list[str]]:
    for scene, copies in zip(SCENES, result.copies, strict=True):
        agree = "yes" if equal(scene, copies) else "NO"
        yield [_name(scene), *(seen(scene, copy) for copy in copies), agree]


def _conflicts(result: Result) -> Iterator[list[str]]:
    names = {scene.key(result.run): scene for scene in SCENES}
    for place, rows in (("head office", result.at_office), ("branch", result.at_branch)):
        for row in rows:
            fields = row.fields
            yield [
                _name(names[row.record_id]),
                place,
                _values(row.ours, fields),
                _values(row.theirs, fields),
                row.strategy,
                f"{_DECIDED.get(row.decision or '', row.decision)}, by {'the rule' if row.by == 'rule' else row.by}",
            ]


def _values(values: Any, fields: Any) -> str:
    if values is None:
        return "deleted"
    return ", ".join(f"{name} {values.get(name)}" for name in (fields or values) if name in values)


def _refusals(result: Result) -> Iterator[list[str]]:
    for one in result.refused:
        said = next(change.said for change in one.scene.changes if change.by == "phone")
        yield [_name(one.scene), said, _REFUSED.get(one.reason, one.reason), _PLACES[one.kept]]


async def _keep(stage: Stage, data_dir: Path, *, err: bool) -> None:
    stage.phone.start()
    for place in (stage.office, stage.branch):
        say(f"{place.name:<12} {place.url}  (/api/v1/docs; admin token {place.admin})", err=err)
        say(f"{'':<12} {place.database_url}", err=err)
    say(f"{'phone':<12} {data_dir / PHONE}  (follows by itself)", err=err)
    say("running until Ctrl-C", err=err)
    await until_stopped()


def _where_next(data_dir: Path) -> None:
    say("")
    say("where to look next:")
    say("  ferryman demo --offline --keep   keeps both daemons running: change records at either by its API")
    say("  daemon/records/README.md         the protocol, and the client that the phone is")
    say(f"  {data_dir / 'daemon.log'}   the log of both daemons, one JSON object a line")

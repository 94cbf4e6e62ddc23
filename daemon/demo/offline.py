"""The course of the demonstration of offline work: both lines are cut, people go on, the lines are mended, and what
became of every record is compared at the head office, at the branch and on the phone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.postgres.operator import demo_records
from adapters.postgres.operator.demo_records import KeptConflict, KeptRecord
from adapters.records_client import Record
from daemon.demo.offline_stage import BRANCH, NOA, Stage
from daemon.demo.offline_story import AGREED, SCENES, Change, Scene
from schemas.errors import FerrymanError

PATIENCE_S: Final = 20.0
"""For each wait. Where it is over the demonstration goes on, and tells what does not agree."""

LOOK_S: Final = 0.05
LATER_S: Final = 1.5
"""Between what happens first and what happens later. A daemon takes what a device tells of its time to be as exact as
the way of a request is short."""

Say = Callable[[str], None]
"""Called with what has just happened, a line each."""


@dataclass(frozen=True, slots=True)
class Copies:
    """A record at the three places, without what belongs to one place alone; None: it is not there."""

    office: Mapping[str, Any] | None
    branch: Mapping[str, Any] | None
    phone: Mapping[str, Any] | None

    def __iter__(self) -> Any:
        return iter((self.office, self.branch, self.phone))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change that was not taken. *kept*: where it still is, for whoever made it."""

    scene: Scene
    reason: str
    kept: str


@dataclass(slots=True, kw_only=True)
class Result:
    """How it went. *waiting*: what still waits in the end at each place, for a line or for a person. *queued*: how many
    operations waited on the phone, and at the branch once the phone was back. *apart_s*: how long the lines were cut;
    *together_s*: from the mending of the last line until all was equal."""

    run: int
    copies: list[Copies] = field(default_factory=list)
    at_office: list[KeptConflict] = field(default_factory=list)
    at_branch: list[KeptConflict] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    operations: int = 0
    queued: tuple[int, int] = (0, 0)
    apart_s: float = 0.0
    together_s: float = 0.0
    seconds: float = 0.0
    disagreements: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        return not self.disagreements


async def perform(stage: Stage, say: Say) -> Result:
    """Tell the story, and read what became of it."""
    began = time.monotonic()
    result = Result(run=stage.run)
    await _before(stage, say)
    await _apart(stage, result, say)
    await _together(stage, result, say)
    await _decided(stage, result, say)
    await _read(stage, result)
    result.seconds = time.monotonic() - began
    return result


async def _before(stage: Stage, say: Say) -> None:
    """The head office makes the records, and they come to the phone."""
    began = time.monotonic()
    there = [scene for scene in SCENES if scene.before is not None]
    for scene in there:
        data = {"owner_id": NOA, "branch_id": BRANCH, **(scene.before or {})}
        await stage.office.change("CREATE", scene.model, scene.key(stage.run), data)

    async def arrived() -> bool:
        await stage.phone.sync()
        found = [await stage.phone.get(scene.model, scene.key(stage.run)) for scene in there]
        return all(found)

    if not await until(arrived):
        raise FerrymanError("what the head office has written does not come to the phone")
    say(
        f"the head office wrote {len(there)} records; Noa's phone had them after {time.monotonic() - began:.1f} s;"
        " its clock is a day fast"
    )


async def _apart(stage: Stage, result: Result, say: Say) -> None:
    """Both lines are cut, and everybody goes on."""
    began = time.monotonic()
    await stage.line.cut()
    await stage.signal.cut()
    say("both lines are cut: phone to branch, and branch to head office; everybody goes on")
    made = 0
    for step in range(max(len(scene.changes) for scene in SCENES)):
        if step:
            await asyncio.sleep(LATER_S)
        for scene in SCENES:
            if len(scene.changes) > step:
                await _do(stage, scene, scene.changes[step])
                made += 1
    on_phone = await stage.phone.status()
    result.queued = (on_phone.pending, 0)
    result.apart_s = time.monotonic() - began
    say(f"{made} changes were made, {on_phone.pending} of them wait on the phone")


async def _do(stage: Stage, scene: Scene, change: Change) -> None:
    key = scene.key(stage.run)
    if change.by != "phone":
        place = stage.office if change.by == "office" else stage.branch
        await place.change(change.verb, scene.model, key, change.data)
    elif change.verb == "CREATE":
        await stage.phone.create(scene.model, key, change.data)
    elif change.verb == "UPDATE":
        await stage.phone.update(scene.model, key, change.data)
    else:
        await stage.phone.delete(scene.model, key)


async def _together(stage: Stage, result: Result, say: Say) -> None:
    """The phone finds the branch again, and then the branch the head office."""
    stage.signal.mend()

    async def handed_over() -> bool:
        await stage.phone.sync()
        return (await stage.phone.status()).pending == 0

    await until(handed_over)
    waiting = [one for one in await demo_records.queued(stage.branch.pool, _keys(stage)) if one.state == "pending"]
    result.queued = (result.queued[0], len(waiting))
    say(f"the phone is back: the branch has its changes, and {len(waiting)} operations for the head office")
    began = time.monotonic()
    stage.line.mend()
    await until(lambda: _is_settled(stage))
    result.together_s = time.monotonic() - began
    say(f"the line is mended: all three agree after {result.together_s:.1f} s")


async def _decided(stage: Stage, result: Result, say: Say) -> None:
    """A person decides what waits for one, and the decision goes everywhere."""
    scene = next(scene for scene in SCENES if scene.rule == "manual")
    open_ = [one for one in await demo_records.conflicts(stage.office.pool, _keys(stage)) if one.decision is None]
    say(f"{len(open_)} conflict waits for a person: Dana decides for {AGREED}")
    for one in open_:
        body = {"take": "merge", "data": {"discount": AGREED}}
        status, told = await stage.office.ask("POST", f"/api/v1/sync/conflicts/{one.id}", body)
        if status >= 300:
            result.disagreements.append(f"the conflict could not be resolved ({status}: {told.get('detail')})")

    async def everywhere() -> bool:
        await stage.phone.sync()
        return all((copy or {}).get("discount") == AGREED for copy in await _copies_of(stage, scene))

    await until(everywhere)


async def _is_settled(stage: Stage) -> bool:
    """Whether nothing is under way any more, and the copies are what they will be."""
    await stage.phone.sync()
    if any(one.state == "pending" for one in await demo_records.queued(stage.branch.pool, _keys(stage))):
        return False
    copies = await _copies(stage)
    return all(equal(scene, one) for scene, one in zip(SCENES, copies, strict=True))


def equal(scene: Scene, copies: Copies) -> bool:
    """Whether the places agree about a record: all three, or, of one that is not for the branch, that it is not
    there."""
    if scene.gone_below:
        return copies.office is not None and copies.branch is None and copies.phone is None
    return copies.office == copies.branch == copies.phone


async def _read(stage: Stage, result: Result) -> None:
    """What there is in the end."""
    keys = _keys(stage)
    result.copies = await _copies(stage)
    result.at_office = await demo_records.conflicts(stage.office.pool, keys)
    result.at_branch = await demo_records.conflicts(stage.branch.pool, keys)
    result.operations = await demo_records.operations(stage.office.pool, keys)
    scenes = {scene.key(stage.run): scene for scene in SCENES}
    for op in await stage.phone.failed():
        if op.record_id in scenes:
            result.refused.append(Refusal(scene=scenes[op.record_id], reason=op.reason or "", kept="phone"))
    for queued in await demo_records.queued(stage.branch.pool, keys):
        if queued.state == "failed":
            result.refused.append(Refusal(scene=scenes[queued.record_id], reason=queued.reason or "", kept="branch"))
    status = await stage.phone.status()
    result.waiting = {"the phone": status.pending}
    for place in (stage.office, stage.branch):
        _, told = await place.ask("GET", "/api/v1/sync/stats")
        result.waiting[f"the {place.name}"] = int(told["pending"]) + int(told["conflicts"])


async def _copies(stage: Stage) -> list[Copies]:
    keys = _keys(stage)
    office = await demo_records.kept(stage.office.pool, keys)
    branch = await demo_records.kept(stage.branch.pool, keys)
    return [
        Copies(
            _shown(office.get(scene.key(stage.run))),
            _shown(branch.get(scene.key(stage.run))),
            _plain(await stage.phone.get(scene.model, scene.key(stage.run))),
        )
        for scene in SCENES
    ]


async def _copies_of(stage: Stage, scene: Scene) -> Copies:
    return (await _copies(stage))[SCENES.index(scene)]


def _shown(record: KeptRecord | None) -> Mapping[str, Any] | None:
    return None if record is None or record.deleted else record.data


def _plain(record: Record | None) -> Mapping[str, Any] | None:
    return None if record is None else dict(record)


def _keys(stage: Stage) -> Sequence[str]:
    return [scene.key(stage.run) for scene in SCENES]


async def until(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Wait for *condition*; whether it came true while there was patience."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True

"""The demonstration of offline work notices what does not agree, what was lost, and what counted twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from adapters.postgres.operator.demo_records import KeptConflict
from daemon.demo.offline import Copies, Refusal, Result
from daemon.demo.offline_judging import judged, seen
from daemon.demo.offline_story import SCENES, Scene

AT = {scene.id: n for n, scene in enumerate(SCENES)}


def told() -> Result:
    """As everything ends where all goes well."""
    result = Result(run=3)
    for scene in SCENES:
        result.copies.append(copies(scene))
        if scene.met is not None:
            (result.at_office if scene.met.at == "office" else result.at_branch).append(conflict(scene))
        if scene.refused is not None:
            result.refused.append(Refusal(scene=scene, reason=scene.refused, kept="phone"))
    made = sum((scene.before is not None) + len(scene.changes) for scene in SCENES)
    result.operations = made - 2 - 1 + 1  # two were refused, one lost at the branch, a person has decided once
    return result


def copies(scene: Scene) -> Copies:
    data = None if scene.end is None else {"name": scene.id, **scene.end}
    return Copies(data, None, None) if scene.gone_below else Copies(data, data, data)


def conflict(scene: Scene) -> KeptConflict:
    assert scene.met is not None
    return KeptConflict(1, scene.key(3), ["x"], scene.met.strategy, {"x": 1}, {"x": 2}, scene.met.decision, "rule")


def test_nothing_is_wrong_with_what_went_well() -> None:
    assert judged(told()) == []


def differing(result: Result) -> None:
    one = result.copies[AT["cohen"]]
    result.copies[AT["cohen"]] = Copies(one.office, one.branch, {**(one.phone or {}), "stage": "lost"})


def the_wrong_winner(result: Result) -> None:
    data = {**(result.copies[AT["fried"]].office or {}), "price": "21000"}
    result.copies[AT["fried"]] = Copies(data, data, data)


def still_there(result: Result) -> None:
    data = {"name": "Test drive"}
    result.copies[AT["visit"]] = Copies(data, data, data)


def at_the_wrong_branch(result: Result) -> None:
    data = result.copies[AT["paz"]].office
    result.copies[AT["paz"]] = Copies(data, data, None)


def a_value_lost(result: Result) -> None:
    result.at_office.pop()


def open_still(result: Result) -> None:
    result.at_office = [replace(row, decision=None) if row.strategy == "manual" else row for row in result.at_office]


def one_more_conflict(result: Result) -> None:
    result.at_branch.append(replace(result.at_office[0], id=99))


def one_value_of_two(result: Result) -> None:
    result.at_office[0] = replace(result.at_office[0], theirs=result.at_office[0].ours)


def not_refused(result: Result) -> None:
    result.refused.pop()


def counted_twice(result: Result) -> None:
    result.operations += 1


def waiting(result: Result) -> None:
    result.waiting["the branch"] = 1


@pytest.mark.parametrize(
    "spoil",
    [
        differing,
        the_wrong_winner,
        still_there,
        at_the_wrong_branch,
        a_value_lost,
        open_still,
        one_more_conflict,
        one_value_of_two,
        not_refused,
        counted_twice,
        waiting,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_what_is_wrong_is_told(spoil: Callable[[Result], None]) -> None:
    result = told()
    spoil(result)
    assert judged(result)


def test_a_copy_is_shown_by_what_its_story_is_about() -> None:
    scene = SCENES[AT["itzik"]]
    assert seen(scene, scene.end) == "diesel, family, urgent"
    assert seen(scene, None) == "not there"

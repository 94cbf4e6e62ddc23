"""`models.toml`: what it may say, and what is wrong with it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import pytest

from daemon.records.models.rules import MODELS, ModelsPart, models_of, schema_id
from daemon.rules.files import check, load

_SOUND: Final = '[models.Visit.fields]\nplace = { type = "text" }\n'


def _problems(folder: Path, text: str) -> list[str]:
    (folder / "models.toml").write_text(text)
    return [f"{problem.key}: {problem.text}" for problem in check(folder, (MODELS,))]


def test_the_shipped_models() -> None:
    part = load(None, MODELS)
    models = models_of(part, "server")
    assert list(models) == ["Lead", "Payment", "Reminder"]
    lead, payment, reminder = models.values()
    assert {"name", "phone", "email", "stage", "amount", "tags", "notes"} <= lead.fields.keys()
    assert (lead.phone, lead.required, lead.strategy, lead.delete) == ("phone", ("name",), "server", "update-wins")
    assert lead.fields["stage"].strategy == "server", "the setting, as the file says nothing"
    assert lead.fields["amount"].strategy == "manual"
    assert lead.fields["tags"].strategy == "union"
    assert (payment.strategy, payment.fields["status"].strategy, payment.delete) == ("manual", "manual", "manual")
    assert (reminder.owner_may_give, lead.owner_may_give) == (True, False)
    for model in models.values():
        assert (model.owner, model.branch) == ("owner_id", "branch_id")
        assert {"owner_id", "branch_id"} <= model.fields.keys()


def test_a_model_needs_fields_and_nothing_more(tmp_path: Path) -> None:
    assert _problems(tmp_path, _SOUND) == []
    visit = models_of(load(tmp_path, MODELS), "newest")["Visit"]
    assert (visit.owner, visit.branch, visit.delete, visit.phone) == ("owner_id", "branch_id", "update-wins", None)
    assert set(visit.fields) == {"place", "owner_id", "branch_id"}


def test_merge_is_each_fields_own_strategy_or_the_newest() -> None:
    text = (
        '[models.V]\nstrategy = "merge"\n[models.V.fields]\na = {type = "text"}\nb = {type = "set", strategy = "union"}'
    )
    model = models_of(ModelsPart.model_validate(tomllib.loads(text)), "manual")["V"]
    assert (model.strategy, model.fields["a"].strategy, model.fields["b"].strategy) == ("merge", "newest", "union")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[models]", "models: has fewer than 1 items: add to it"),
        ("[models.Lead]\n", "models.Lead.fields: is missing: add it"),
        (
            "[models.Lead]\nowner = 7\n[models.Lead.fields]\na = {type='text'}",
            "models.Lead.owner: must be a text in quotes",
        ),
        ("[models.'a b'.fields]\na = {type='text'}", "models.a b: must be letters, digits and underscores, and begin"),
        ("[models.V.fields]\n'a-b' = {type='text'}", "models.V.fields.a-b: must be letters, digits and underscores"),
        ("[models.V.fields]\na = {type='money'}", "models.V.fields.a.type: must be 'text', 'integer'"),
        ("[models.V.fields]\na = {}", "models.V.fields.a.type: is missing: add it"),
        ("[models.V.fields]\na = {type='text', requried=true}", "models.V.fields.a.requried: is no key that may stand"),
        ("[models.V]\nstrategy='oldest'\n[models.V.fields]\na = {type='text'}", "models.V.strategy: must be 'newest'"),
        ("[models.V]\ndelete='never'\n[models.V.fields]\na = {type='text'}", "models.V.delete: must be 'update-wins'"),
        ("[models.V.fields]\nid = {type='text'}", "models.V.fields.id: is what every record has already"),
        ("[models.V.fields]\na = {type='choice'}", "models.V.fields.a: has no values: name them"),
        ("[models.V.fields]\na = {type='choice', values=[]}", "models.V.fields.a.values: has fewer than 1 items"),
        ("[models.V.fields]\na = {type='choice', values=['x','x']}", "models.V.fields.a.values[2]: is named twice"),
        ("[models.V.fields]\na = {type='text', values=['x']}", 'models.V.fields.a.values: are for type = "choice"'),
        ("[models.V.fields]\na = {type='date', max=3}", "models.V.fields.a.max: is for texts and sets"),
        ("[models.V.fields]\na = {type='text', max=0}", "models.V.fields.a.max: must be 1 at least"),
        ("[models.V.fields]\na = {type='text', strategy='union'}", 'models.V.fields.a.strategy: is for type = "set"'),
        (
            "[models.V.fields]\na = {type='text', strategy='max'}",
            "models.V.fields.a.strategy: needs values that have an",
        ),
        ("[models.V.fields]\na = {type='text', strategy='merge'}", "models.V.fields.a.strategy: must be 'newest'"),
        ("[models.V]\nretired=['a']\n[models.V.fields]\na = {type='text'}", "models.V.retired[1]: a is a field still"),
        (
            "[models.V]\nretired=['owner_id']\n[models.V.fields]\na = {type='text'}",
            "models.V.retired[1]: owner_id is a",
        ),
        ("[models.V]\nphone='p'\n[models.V.fields]\na = {type='text'}", 'models.V.phone: p is no field of type "text"'),
        (
            "[models.V]\nbranch='owner_id'\n[models.V.fields]\na = {type='text'}",
            "models.V.branch: is the owner's field",
        ),
        ("[models.V]\nowner='id'\n[models.V.fields]\na = {type='text'}", "models.V.owner: is what every record has"),
        ("[models.V.fields]\nowner_id = {type='integer'}", 'models.V.fields.owner_id.type: must be "text"'),
        (
            "[models.V.fields]\nowner_id = {type='text', required=true}",
            "models.V.fields.owner_id.required: has no meaning",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    found = _problems(tmp_path, text)
    assert len(found) == 1, found
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    "text",
    [
        "models = 7",
        "[models]\nLead = 7",
        "[models.V]\nfields = 7",
        "[models.V.fields]\na = 7",
        "[models.V]\nretired = 7\nphone = 7\nowner = 7\nbranch = [1]\n[models.V.fields]\na = {type = 7, values = 7}",
    ],
)
def test_any_shape_is_a_mistake_and_no_crash(text: str, tmp_path: Path) -> None:
    assert _problems(tmp_path, text)


def test_the_schema_changes_with_what_a_replica_may_send() -> None:
    def of(text: str) -> str:
        return schema_id(ModelsPart.model_validate(tomllib.loads(text)))

    same = '# a comment\n[models.Visit]\ndelete = "update-wins"\nfields.place = { required = false, type = "text" }'
    assert of(_SOUND) == of(same)
    assert len({of(_SOUND), of(_SOUND + 'b = { type = "text" }'), of(_SOUND.replace("text", "json"))}) == 3

"""A value of another type than its key's is a mistake in every rule file: nothing is guessed from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.types import Strict

from daemon.records.models.rules import MODELS
from daemon.rules.files import check
from daemon.rules.parts import Part
from daemon.workers import rule_files


def loose(annotation: Any, metadata: tuple[Any, ...] = ()) -> bool:
    """Whether a flag or a number in *annotation* takes what is none."""
    strict = any(isinstance(one, Strict) or getattr(one, "strict", False) for one in metadata)
    if annotation in (bool, int, float):
        return not strict
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        told = [part for one in more for part in getattr(one, "metadata", (one,))]
        return loose(inner, (*metadata, *told))
    return any(loose(one) for one in get_args(annotation) if not isinstance(one, bool | int | float))


def parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """*model*, and the models of its tables."""
    yield model
    for field in model.model_fields.values():
        for one in found(field.annotation):
            yield from parts(one)


def found(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from found(one)


@pytest.mark.parametrize("file", rule_files(), ids=lambda file: file.name)
def test_no_flag_and_no_number_of_a_rule_file_takes_a_text(file: Any) -> None:
    names = [
        f"{part.__name__}.{name}"
        for part in parts(file.model)
        for name, field in part.model_fields.items()
        if loose(field.annotation, tuple(field.metadata))
    ]
    assert names == []


def test_a_loose_flag_is_noticed() -> None:
    class Loose(Part):
        flag: bool
        numbers: tuple[int, ...] = ()

    fields = Loose.model_fields.items()
    assert [name for name, field in fields if loose(field.annotation, tuple(field.metadata))] == ["flag", "numbers"]


MODEL = """
[models.Visit]
{model}

[models.Visit.fields]
at = {{ type = "text", {field} }}
"""


@pytest.mark.parametrize(
    ("model", "field", "says"),
    [
        ("", 'required = "yes"', "required: must be true or false, without quotes"),
        ("", "required = 1", "required: must be true or false, without quotes"),
        ("", 'max = "9"', "max: must be a whole number, without quotes"),
        ("", "max = true", "max: must be a whole number, without quotes"),
        ("", "max = 9.0", "max: must be a whole number, without quotes"),
        ('owner_may_give = "no"', "max = 9", "owner_may_give: must be true or false, without quotes"),
        ('retired = "fax"', "max = 9", "retired: must be a list in brackets"),
        ("owner = 1", "max = 9", "owner: must be a text in quotes"),
        ("", "strategy = true", "strategy: must be 'newest'"),
    ],
)
def test_a_wrong_type_in_models_is_told(tmp_path: Path, model: str, field: str, says: str) -> None:
    (tmp_path / "models.toml").write_text(MODEL.format(model=model, field=field))
    (problem,) = check(tmp_path, (MODELS,))
    assert says in str(problem)

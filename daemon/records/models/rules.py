"""The models of records and their rules: `models.toml`. Nothing here reads a file, and nothing decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import AfterValidator, Field

from daemon.records.models.faults import faults
from daemon.records.models.values import LONGEST_TEXT, NAME, Kind, kind_of
from daemon.rules.files import RuleFile
from daemon.rules.parts import Flag, Integer, Part
from schemas.records.operation import MOST_FIELDS

Type: TypeAlias = Literal[
    "text", "integer", "number", "decimal", "boolean", "date", "datetime", "choice", "set", "json", "file"
]
ModelStrategy: TypeAlias = Literal["newest", "server", "client", "merge", "manual"]
FieldStrategy: TypeAlias = Literal["newest", "server", "client", "manual", "max", "min", "union"]
DeleteRule: TypeAlias = Literal["update-wins", "delete-wins", "manual"]


def _model_name(name: str) -> str:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name):
        return name
    raise ValueError("must be letters, digits and underscores, and begin with a letter, as Lead")


def _field_name(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,59}", name):
        return name
    raise ValueError("must be letters, digits and underscores, as next_contact_at")


ModelName: TypeAlias = Annotated[str, AfterValidator(_model_name)]
FieldName: TypeAlias = Annotated[str, AfterValidator(_field_name)]
Choice: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]


class FieldPart(Part):
    """A field, as the file has it."""

    type: Type
    required: Flag = False
    max: Annotated[Integer, Field(ge=1, le=LONGEST_TEXT)] | None = None
    values: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=200)] | None = None
    strategy: FieldStrategy | None = None


class ModelPart(Part):
    """A model, as the file has it."""

    owner: FieldName = "owner_id"
    branch: FieldName = "branch_id"
    strategy: ModelStrategy | None = None
    delete: DeleteRule = "update-wins"
    owner_may_give: Flag = False
    retired: tuple[FieldName, ...] = ()
    phone: FieldName | None = None
    fields: Annotated[Mapping[FieldName, FieldPart], Field(min_length=1, max_length=MOST_FIELDS - 2)]


class ModelsPart(Part):
    """What `models.toml` says."""

    models: Annotated[Mapping[ModelName, ModelPart], Field(min_length=1, max_length=200)]


MODELS: Final[RuleFile[ModelsPart]] = RuleFile("models.toml", ModelsPart, faults)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldRules:
    """What holds for a field. *strategy*: which value stands where two were written without knowing of each other."""

    name: str
    kind: Kind
    strategy: FieldStrategy
    required: bool = False

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are one. None: no value. A stored one may be from before its field got this type."""
        if one is None or other is None:
            return one is other
        if one.__class__ is str and one == other:
            return True
        try:
            return self.kind.same(one, other)
        except (ValueError, TypeError, ArithmeticError):
            return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelRules:
    """What holds for the records of a model. *owner*, *branch*: the fields that say whose a record is, among *fields*.
    *strategy*: of the model, or of the settings where it has none. *retired*: fields of former days, which are taken
    and dropped. *required*: the fields that a new record must have. *phone*: the field by which its person is found."""

    name: str
    owner: str
    branch: str
    strategy: ModelStrategy
    delete: DeleteRule
    owner_may_give: bool
    retired: frozenset[str]
    phone: str | None
    fields: Mapping[str, FieldRules]
    required: tuple[str, ...]


Models: TypeAlias = Mapping[str, ModelRules]
"""Name -> the model's rules."""


def models_of(part: ModelsPart, strategy: ModelStrategy) -> Models:
    """The rules that *part* makes. *strategy*: of a model that names none."""
    return {name: _rules_of(name, model, model.strategy or strategy) for name, model in part.models.items()}


def _rules_of(name: str, model: ModelPart, strategy: ModelStrategy) -> ModelRules:
    usual: FieldStrategy = "newest" if strategy == "merge" else strategy
    fields = {
        field: FieldRules(
            name=field,
            kind=kind_of(part.type, most=part.max, values=part.values or ()),
            strategy=part.strategy or usual,
            required=part.required,
        )
        for field, part in model.fields.items()
    }
    for field in (model.owner, model.branch):
        own = model.fields.get(field)
        chosen = own.strategy if own is not None else None
        fields[field] = FieldRules(name=field, kind=NAME, strategy=chosen or usual)
    return ModelRules(
        name=name,
        owner=model.owner,
        branch=model.branch,
        strategy=strategy,
        delete=model.delete,
        owner_may_give=model.owner_may_give,
        retired=frozenset(model.retired),
        phone=model.phone,
        fields=fields,
        required=tuple(field for field, rule in fields.items() if rule.required),
    )


def schema_id(part: ModelsPart) -> str:
    """Changes when what a replica may send, or what becomes of it, changes; not with the order or the comments of the
    file."""
    said = part.model_dump(mode="json")
    return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()

"""Which side owns a field of a contact: `fields.toml`, and what follows from it. Nothing here reads a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

from daemon.contacts.fields import WRITTEN
from daemon.rules.files import RuleFile
from daemon.rules.parts import Part
from daemon.rules.problems import Fault, visible
from schemas.contacts import Owner

ALL: Final = "*"
"""In the place of a name: all fields of WRITTEN that no rule before has named."""


def _listed(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError('must be a name in quotes, a list of names, or "*"')
    return (value,) if isinstance(value, str) else value


def _known(name: str) -> str:
    if name in WRITTEN or name == ALL:
        return name
    near = get_close_matches(name, WRITTEN, n=3) or get_close_matches(name.lower(), WRITTEN, n=3)
    do = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(WRITTEN, key=str.lower))}"
    raise ValueError(f"{visible(name)} is no field that Ferryman writes: {do}")


def _alone(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError('names no field: name one, or write "*" for all')
    if ALL in names and len(names) > 1:
        raise ValueError('has "*" beside other names: "*" is all of them, so write it alone')
    return names


class Where(Part):
    """Which fields a rule is about. In the file *field* may also be a single name."""

    field: Annotated[
        tuple[Annotated[str, AfterValidator(_known)], ...], AfterValidator(_alone), BeforeValidator(_listed)
    ]


class Then(Part):
    """What holds for these fields."""

    owner: Owner


class FieldRule(Part):
    """Fields, and who owns them."""

    where: Where
    then: Then


class FieldRules(Part):
    """What `fields.toml` says. The first rule that names a field counts."""

    rules: tuple[FieldRule, ...]


def _never_counting(document: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for each name and each rule that an earlier rule leaves nothing to say."""
    rules = document.get("rules")
    earlier: dict[str, int] = {}
    for at, rule in enumerate(rules if isinstance(rules, list) else ()):
        names = _names(rule)
        path = ("rules", at, "where", "field")
        if ALL in earlier:
            text = f'comes after rule {earlier[ALL]}, which is about "*", so it never counts: put it before that one'
            yield Fault(path, text)
            continue
        for name in dict.fromkeys(names):
            if name in earlier:
                text = (
                    f"{visible(name)} is named by rule {earlier[name]} too, so it never counts here: take it out of one"
                )
                yield Fault(path, text)
            elif names.count(name) > 1:
                yield Fault(path, f"{visible(name)} is named {names.count(name)} times: once is enough")
        earlier |= {name: at + 1 for name in names if name not in earlier}


def _names(rule: Any) -> Sequence[str]:
    """The names of a rule that nothing has checked yet."""
    match rule:
        case {"where": {"field": str(name)}}:
            return [name]
        case {"where": {"field": [*names]}}:
            return [name for name in names if isinstance(name, str)]
    return []


FIELDS: Final[RuleFile[FieldRules]] = RuleFile("fields.toml", FieldRules, _never_counting)


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """Who owns each field. *newest*, *cgb*: the fields of WRITTEN with that owner; the orders own the others."""

    newest: frozenset[str] = frozenset()
    cgb: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rules: FieldRules) -> FieldPolicy:
        """The policy that *rules* make."""
        owners: dict[str, Owner] = {}
        for rule in rules.rules:
            for name in WRITTEN if rule.where.field == (ALL,) else rule.where.field:
                owners.setdefault(name, rule.then.owner)
        by_owner = {of: frozenset(name for name, owner in owners.items() if owner == of) for of in ("newest", "cgb")}
        return cls(**by_owner)

    def owner_of(self, field: str) -> Owner:
        """Who owns *field*."""
        return "newest" if field in self.newest else "cgb" if field in self.cgb else "orders"

"""What the API answers, compared with the models of its document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def check_fields(model: type[BaseModel], answered: Any) -> None:
    """*answered* is of *model*, and has each of its fields and no other one, at every depth. Those that the model gives
    a default may be left out."""
    told, has = (
        set(_places(model.model_validate(answered).model_dump(mode="json", by_alias=True, exclude_unset=True))),
        set(_places(answered)),
    )
    assert told == has, f"only the model or only the answer has {sorted(told ^ has)}"


def _places(document: Any, at: str = "") -> Iterator[str]:
    """Where something stands in *document*."""
    yield at
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in inner:
        yield from _places(value, f"{at}/{name}")

"""What the API answers, compared with the models of its document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def check_fields(model: type[BaseModel], answered: Any) -> None:
    """*answered* is of *model*, and has each of its fields and no other one, at every depth."""
    assert _names(model.model_validate(answered).model_dump(mode="json")) == _names(answered)


def _names(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _names(value) for name, value in document.items()}
    return [_names(one) for one in document] if isinstance(document, list) else None

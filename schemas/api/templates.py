"""`POST /api/v1/templates/sync`: the request."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SyncIn(BaseModel):
    """Whose list to read; null: those of all that are configured. *dry_run*: only say what it would change."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"provider": "meta", "dry_run": True}]},
    )

    provider: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    dry_run: bool = False

"""What `/api/v1/templates` answers."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel

from schemas.templates import ParameterFormat


class TemplateOut(BaseModel):
    """A template in one language. *status*, *category*, *quality*: the provider's own words. *variables*: what a
    message has to give; what it may leave out is in brackets. *components*: as WhatsApp has them. *synced_at*: when the
    list was read that had it last."""

    provider: str
    account: str
    name: str
    language: str | None
    category: str | None
    status: str
    parameter_format: ParameterFormat
    quality: str | None
    variables: list[str]
    components: list[dict[str, Any]]
    provider_template_id: str | None
    synced_at: AwareDatetime


class TemplatePage(BaseModel):
    """Templates by provider, account, name and language. *next*: what `cursor` is for the page after this one; null:
    there is none."""

    templates: list[TemplateOut]
    next: str | None


class _Counts(BaseModel):
    new: int
    changed: int
    gone: int
    total: int


class ListRead(_Counts):
    """What has changed in the list of *provider*, and how many templates it has (*total*)."""

    provider: str
    error: None


class ListsRead(_Counts):
    """The sums, and each provider."""

    providers: list[ListRead]

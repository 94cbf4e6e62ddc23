"""`POST /api/v1/campaigns`: one template to many people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from schemas.api.messages import Provider
from schemas.api.moments import Moment
from schemas.messages import Status

SOURCES: Final = ("recipients", "csv", "orders")
MOST_RECIPIENTS: Final = 100_000

Category = Literal["utility", "marketing"]

RecipientStatus: TypeAlias = Literal["pending", Status]
"""As that of their message. `pending`: it is not their turn yet, and there is no message."""


def _visible(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must have characters that can be seen, and no line breaks")
    return text.strip()


_Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_visible)]
_Language = Annotated[str, Field(min_length=2, max_length=20)]
_Template = Annotated[
    str,
    Field(min_length=1, max_length=512),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 512},
                {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "language": {"type": "string"}},
                    "required": ["name"],
                },
            ]
        }
    ),
]
_Filter = Annotated[str, Field(min_length=1, max_length=100)]
_Variables = Annotated[dict[_Filter, Annotated[str, Field(max_length=2000)]], Field(max_length=100)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class RecipientIn(_In):
    """A person. *phone* may be called *to*. *consent*: how theirs to marketing was obtained."""

    phone: Annotated[str, Field(max_length=60, validation_alias=AliasChoices("phone", "to"))]
    variables: _Variables = Field(default_factory=dict)
    name: Annotated[str, Field(max_length=200)] | None = None
    consent: Annotated[str, Field(max_length=500)] | None = None


class OrdersIn(_In):
    """The buyers of the stored orders that fit, each once. *variables*: texts in which `{client_name}` and the like
    stand for what the person's order says."""

    branch: _Filter | None = None
    order_status: _Filter | None = None
    country: _Filter | None = None
    since: Moment | None = None
    until: Moment | None = None
    language: _Filter | None = None
    variables: _Variables = Field(default_factory=dict)

    @model_validator(mode="after")
    def _some_filter(self) -> Self:
        filters = ("branch", "order_status", "country", "since", "until", "language")
        if all(getattr(self, name) is None for name in filters):
            raise ValueError(f"give at least one of {', '.join(filters)}: nothing means everybody by itself")
        return self


class CampaignIn(_In):
    """A campaign: its people are exactly one of *recipients*, *csv* (the text of such a file) and *orders*. *template*:
    its name, or an object of its *name* and *language*. *consent*: how that of all to marketing was obtained. *rate*:
    messages in a second. *quiet*: as 21:00-09:00, or off. *ends_at*: nobody is written to from then on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "june-news",
                    "template": {"name": "news", "language": "en"},
                    "provider": "meta",
                    "recipients": [{"phone": "+972505550142", "variables": {"1": "Noa"}}],
                },
                {
                    "name": "june-file",
                    "template": "news",
                    "language": "en",
                    "provider": "meta",
                    "csv": "phone,1\n+972505550142,Noa\n",
                },
                {
                    "name": "june-buyers",
                    "template": "news",
                    "language": "en",
                    "category": "marketing",
                    "consent": "asked at the counter",
                    "orders": {"country": "IL", "variables": {"1": "{client_name}"}},
                },
            ]
        }
    )

    name: _Name
    template: _Template
    language: _Language | None = None
    provider: Provider | None = None
    account: Annotated[str, Field(min_length=1, max_length=60)] = "default"
    category: Category = "utility"
    consent: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_visible)] | None = None
    rate: Annotated[float, Field(ge=0.01, le=500)] | None = None
    quiet: Annotated[str, Field(max_length=20)] | None = None
    ends_at: Moment | None = None
    recipients: Annotated[list[RecipientIn], Field(max_length=MOST_RECIPIENTS)] | None = None
    csv: str | None = None
    orders: OrdersIn | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole_template(cls, given: Any) -> Any:
        """A template may be told as messages have it: {"name", "language"}."""
        if isinstance(given, dict) and isinstance(template := given.get("template"), dict):
            told = {name: template.get(name) for name in ("language",) if template.get(name) is not None}
            return {**given, **told, "template": template.get("name")}
        return given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(getattr(self, name) is not None for name in SOURCES) != 1:
            raise ValueError(f"give exactly one of {', '.join(SOURCES)}")
        return self

    def ended_by(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.ends_at is not None and self.ends_at <= now

"""`POST /api/v1/conversations/labels`: labels and attributes for a conversation of the CRM."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self, TypeAlias

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)

from schemas.labels import NoTitle, title_of
from schemas.phone import parse_phone

MOST: Final = 50
"""Labels, and attributes of each kind."""

LARGEST: Final = 9_999_999_999
"""What Chatwoot takes as a number of a conversation."""

_CHAT_ID: Final = re.compile(r"([0-9]{7,15})(?::[0-9]+)?@(?:c\.us|s\.whatsapp\.net)")
"""A person as programs that drive an ordinary WhatsApp account name them."""


def _e164(text: str) -> str:
    """The phone that *text* names."""
    found = _CHAT_ID.fullmatch(text.strip())
    phone = parse_phone(text if found is None else f"+{found[1]}")
    if phone is None:
        raise ValueError("is no usable phone: write it with its country code, as +COUNTRY NUMBER")
    return phone.e164


def _title(text: str) -> str:
    try:
        return title_of(text)
    except NoTitle as why:
        raise ValueError(str(why)) from None


def _number(value: object) -> object:
    """An id as text counts as the number."""
    is_number = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18
    return int(value) if is_number else value  # type: ignore[call-overload]


Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
Text: TypeAlias = Annotated[str, Field(max_length=1500)]
Whole: TypeAlias = Annotated[int, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Decimal: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]
Attributes: TypeAlias = Annotated[dict[Name, StrictBool | Whole | Decimal | Text | None], Field(max_length=MOST)]


class LabelsIn(BaseModel):
    """Of the person of *phone*, in any notation with its country code, or as WhatsApp names a chat
    (31612345678@c.us); or of the conversation *conversation_id* of the Chatwoot account. *labels* are added to those
    that are there; what Chatwoot takes in no label becomes a hyphen. *contact_attributes* and
    *conversation_attributes* are added to those that are there, or take their place. *name*: of a contact that has to
    be made. Taggers may say `tags` for *labels*, and `attributes` for *contact_attributes*."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {
                    "phone": "+972505550142",
                    "labels": ["journey:first-contact", "interest-volkswagen"],
                    "contact_attributes": {"lead_score": 72},
                },
                {"conversation_id": 481, "labels": ["vip"], "conversation_attributes": {"order": "IL210214TH1001"}},
            ]
        },
    )

    phone: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_e164)] | None = None
    conversation_id: Annotated[int, Field(strict=True, ge=1, le=10**15), BeforeValidator(_number)] | None = None
    labels: Annotated[list[Annotated[str, Field(max_length=1500), AfterValidator(_title)]], Field(max_length=MOST)] = (
        Field(default_factory=list, validation_alias=AliasChoices("labels", "tags"))
    )
    contact_attributes: Attributes = Field(
        default_factory=dict, validation_alias=AliasChoices("contact_attributes", "attributes")
    )
    conversation_attributes: Attributes = Field(default_factory=dict)
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.phone is None and self.conversation_id is None:
            raise ValueError("give phone or conversation_id")
        if not (self.labels or self.contact_attributes or self.conversation_attributes):
            raise ValueError("give labels, contact_attributes or conversation_attributes")
        return self


class LabelsAccepted(BaseModel):
    """It is kept, and is done by itself. The same Idempotency-Key is answered with the same id."""

    event_id: str

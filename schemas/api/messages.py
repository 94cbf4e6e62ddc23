"""`POST /api/v1/messages`: the request, as design.md has it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.api.moments import Moment
from schemas.credentials import NAMED
from schemas.messages import Choice, Choices, Content, Media, MediaType, Reaction, Template, Text

Provider = Literal["meta", "twilio", "whapi", "cgb", "chatwoot"]

KINDS: Final = ("text", "template", "media", "choices", "reaction")

LONGEST_TEXT: Final = 4096
"""What WhatsApp takes as one text, in characters."""

LONGEST_SPLIT: Final = 8 * LONGEST_TEXT

SPLIT_IT: Final = "give `split` (--split), and it goes as several messages"
"""What else can be done about a text that is too long."""

_Short = Annotated[str, Field(min_length=1, max_length=512)]
_Name = Annotated[str, Field(min_length=1, max_length=100)]
_Account = Annotated[str, Field(pattern=f"^{NAMED.pattern}$", max_length=80)]
_Value = Annotated[str, Field(max_length=2000)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, hide_input_in_errors=True)


class TemplateIn(_In):
    """*variables*: positional (`"1"`, `"2"`, …) or by the template's own names."""

    name: _Short
    language: Annotated[str, Field(min_length=2, max_length=20)] | None = None
    variables: dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=2000)]] = (
        Field(default_factory=dict, max_length=100)
    )


class MediaIn(_In):
    """A file at *url*. The provider fetches it there, or Ferryman, where it is on one of its own hosts."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)]
    type: MediaType
    caption: Annotated[str, Field(max_length=1024)] | None = None
    filename: Annotated[str, Field(min_length=1, max_length=240)] | None = None


class ChoiceIn(_In):
    """What the person may tap."""

    title: Annotated[str, Field(min_length=1, max_length=24)]
    value: Annotated[str, Field(min_length=1, max_length=200)]


class ChoicesIn(_In):
    """Text with what the person may tap."""

    text: Annotated[str, Field(min_length=1, max_length=1024)]
    items: Annotated[list[ChoiceIn], Field(min_length=1, max_length=10)]


class ReactionIn(_In):
    """An emoji on a message of this person, which they wrote or we have sent. *message_id*: Ferryman's id of it, or the
    provider's. *emoji*: null or empty takes the former one back."""

    message_id: Annotated[str, Field(pattern=r"^[!-~]{1,512}$")]
    emoji: Annotated[str, Field(max_length=64)] | None


class MessageIn(_In):
    """One message: exactly one of *text*, *template*, *media*, *choices* and *reaction*. *to*: a phone in any notation,
    with its country code. *account*: which credentials of the provider; a reaction goes by those of its message where
    neither is named. *fallback*: PROVIDER or PROVIDER/ACCOUNT, in order, by which it may go where the provider is down
    before anything was attempted; else those of the settings, where it names no provider. *not_before*: when to send
    it, not earlier. *category*: what it is for; that of a template goes before it, where the template is known.
    *split*: a text that is longer than the provider takes goes as several messages, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"to": "+972505550142", "text": "Your visa is ready."},
                {
                    "to": "+972505550142",
                    "template": {"name": "visa_ready", "language": "en", "variables": {"1": "Noa"}},
                },
                {"to": "+972505550142", "media": {"url": "https://example.com/visa.pdf", "type": "document"}},
                {"to": "+972505550142", "choices": {"text": "Which day?", "items": [{"title": "Mon", "value": "1"}]}},
                {"to": "+972505550142", "reaction": {"message_id": "wamid.HBgNTEST01", "emoji": "👍"}},
            ]
        }
    )

    to: Annotated[str, Field(min_length=1, max_length=60)]
    provider: Provider | None = None
    account: Annotated[str, Field(min_length=1, max_length=60)] = "default"
    fallback: Annotated[list[_Account], Field(max_length=10)] | None = None
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_SPLIT)] | None = None
    template: TemplateIn | None = None
    media: MediaIn | None = None
    choices: ChoicesIn | None = None
    reaction: ReactionIn | None = None
    not_before: Moment | None = None
    category: Literal["utility", "marketing", "authentication"] | None = None
    split: bool = False

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)}")
        if self.text is not None and not self.text.strip():
            raise ValueError("the text is blank")
        if self.split and self.text is None:
            raise ValueError("split goes with a text alone")
        if self.text is not None and len(self.text) > LONGEST_TEXT and not self.split:
            raise ValueError(f"the text has more than {LONGEST_TEXT} characters: shorten it, or {SPLIT_IT}")
        return self

    @property
    def template_name(self) -> str | None:
        """The name of its template; None: it has none."""
        return None if self.template is None else self.template.name

    def content(self) -> Content:
        """What the message says."""
        if self.template is not None:
            return Template(self.template.name, self.template.language, self.template.variables)
        if self.media is not None:
            return Media(self.media.url, self.media.type, self.media.caption, self.media.filename)
        if self.choices is not None:
            items = tuple(Choice(item.title, item.value) for item in self.choices.items)
            return Choices(self.choices.text, items)
        if self.reaction is not None:
            return Reaction(self.reaction.message_id, self.reaction.emoji or "")
        assert self.text is not None
        return Text(self.text)


JOB_NAMES: Final = {
    "text": "message",
    "template.name": "template",
    "template.language": "language",
    "media.url": "fileUrl",
    "media.type": "fileType",
    "media.caption": "caption",
}
"""What the members of a message are called in a `JobIn`."""


class JobIn(_In):
    """The same message in the shapes of older programs: `{to, message}`, `{to, template, variables}` and
    `{to, fileUrl, fileType}`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"to": "+972505550142", "message": "Your visa is ready."},
                {"to": "+972505550142", "template": "visa_ready", "variables": {"1": "Noa"}},
                {"to": "+972505550142", "fileUrl": "https://example.com/visa.pdf", "fileType": "document"},
            ]
        }
    )

    to: Annotated[str, Field(min_length=1, max_length=60)]
    message: str | None = None
    template: str | None = None
    language: str | None = None
    variables: dict[_Name, _Value] | None = None
    file_url: str | None = Field(default=None, alias="fileUrl")
    file_type: str | None = Field(default=None, alias="fileType")
    caption: str | None = None
    provider: str | None = None
    split: bool = False

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if sum(one is not None for one in (self.message, self.template, self.file_url)) != 1:
            raise ValueError("give exactly one of message, template, fileUrl")
        return self

    def asked(self) -> dict[str, Any]:
        """The request that `MessageIn` takes."""
        given: dict[str, Any] = {"to": self.to, "provider": self.provider, "text": self.message, "split": self.split}
        if self.template is not None:
            variables = self.variables or {}
            given["template"] = {"name": self.template, "language": self.language, "variables": variables}
        if self.file_url is not None:
            given["media"] = {"url": self.file_url, "type": self.file_type or "document", "caption": self.caption}
        return given

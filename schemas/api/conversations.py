"""What may stand behind the `?` of `/api/v1/conversations`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.api.queries import MOST_LISTED, PageQuery

Revealed = Annotated[bool, Field(description="with what people have written and who they are: admin token, audited")]


class ConversationQuery(PageQuery):
    """Which conversations. Of *open*, *escalated* and *waiting* any that is given is enough."""

    q: (
        Annotated[
            str,
            Field(
                pattern=r"^[^\x00]{1,400}$",
                description="a phone, Chatwoot's number, an id of a conversation, message or content order, or a name",
            ),
        ]
        | None
    ) = None
    open: Annotated[bool, Field(description="a question waits for its answer")] = False
    escalated: Annotated[bool, Field(description="a person has to go on with it")] = False
    waiting: Annotated[bool, Field(description="something of ours waits")] = False
    reveal: Revealed = False


class ShownQuery(BaseModel):
    """What is shown of a conversation."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED, description="its newest messages, at most")] = 50
    reveal: Revealed = False

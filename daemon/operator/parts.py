"""A message as the messages that it goes as: one, or the parts of a text that is to be split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from adapters.postgres.messages import Request
from adapters.registry import SENDERS
from daemon.messages.requests import event_id_of
from daemon.messages.splitting import split
from schemas.api.messages import MessageIn
from schemas.messages import Text

MOST_PARTS: Final = 20
"""More messages in a row, to one person, are no message any more."""

APART: Final = timedelta(microseconds=1)
"""Between the times of scheduled parts: they are released in the order of their times."""


def parts_of(given: MessageIn, default_provider: str) -> list[MessageIn]:
    """*given*, or its parts where it is to be split and its text is longer than its provider takes."""
    provider = given.provider or default_provider
    if not given.split or given.text is None or provider not in SENDERS:
        return [given]
    refusal = SENDERS[provider]().refusal
    if refusal(Text(given.text)) is None:
        return [given]
    texts = split(given.text, lambda text: refusal(Text(text)) is None)
    return [given] if texts is None else [given.model_copy(update={"text": text}) for text in texts]


def part_ids(first: UUID) -> list[UUID]:
    """The ids that the parts of a message may have whose first part has the id *first*."""
    return [first, *(uuid5(first, str(place)) for place in range(1, MOST_PARTS))]


def in_order(requests: Sequence[Request]) -> list[Request]:
    """The parts of one message, with ids that follow from the first one's, and times that keep them in order."""
    ids = part_ids(requests[0].id)
    return [
        replace(
            one,
            id=id,
            event_id=event_id_of(id),
            not_before=None if one.not_before is None else one.not_before + place * APART,
        )
        for place, (one, id) in enumerate(zip(requests, ids, strict=False))
    ]

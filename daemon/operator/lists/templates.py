"""Templates, by their names."""

from __future__ import annotations

from typing import Final

from adapters.postgres.operator import listings
from adapters.postgres.pool import Pool
from daemon.operator.lists.pages import ListOf, Page, Position, row_of
from schemas.api.lists import TemplateFilter


async def page(pool: Pool, wanted: TemplateFilter, at: Position) -> Page:
    """The page *at*."""
    return await _LIST.read(pool, wanted.model_dump(), at)


_LIST: Final = ListOf("templates", listings.TEMPLATES, row_of)

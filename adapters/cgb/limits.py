"""What goes to CGB is cut and cleaned here, on its way out; a cut is told in the log, without the value."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from schemas.cleaned import NAME_LENGTH, TEXT_LENGTH, cut, is_short_and_clean, length_of, visible
from schemas.contacts import FieldValue

log = structlog.get_logger(__name__)


def fitting(fields: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    """*fields* as CGB gets them."""
    return {
        name: _fitting(name, value, length_of(name))
        if isinstance(value, str) and not is_short_and_clean(value)
        else value
        for name, value in fields.items()
    }


def fitting_name(name: str | None) -> str:
    """A contact's name as CGB gets it; "" for none."""
    return _fitting("name", name or "", NAME_LENGTH)


def fitting_email(email: str | None) -> str:
    """A contact's e-mail address as CGB gets it; "" for none."""
    return _fitting("email", email or "", TEXT_LENGTH)


def _fitting(field: str, text: str, most: int) -> str:
    seen = visible(text)
    kept = cut(seen, most)
    if len(kept) < len(seen):
        log.warning("cgb.value_cut", field=field, length=len(seen), kept=len(kept))
    return kept

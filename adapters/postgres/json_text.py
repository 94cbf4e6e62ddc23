"""Parsed JSON as text again, for columns of jsonb: arrays of jsonb would need a codec on every connection."""

from __future__ import annotations

import json
from typing import Any

import orjson


def json_text(value: Any) -> str | None:
    """*value* as JSON text; None for None."""
    if value is None:
        return None
    # Decimals inside (prices) are finite and no longer than a float shows; the raw body keeps every digit.
    try:
        return orjson.dumps(value, default=float).decode()
    except orjson.JSONEncodeError:  # whole numbers over 64 bits, or very deep
        return json.dumps(value, default=float, ensure_ascii=False)

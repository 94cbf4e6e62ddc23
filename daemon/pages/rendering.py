"""From templates to HTML: how values are shown. Every text is escaped, and nothing in it is invisible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from daemon.pages.assets import address
from daemon.pages.charts import points
from daemon.settings.model import Settings
from daemon.version import version

TEMPLATES: Final = Path(__file__).parent / "templates"

_BOX: Final = "\u25a1"
_HIDDEN: Final = {
    **{code: _BOX for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"},
    **dict.fromkeys((0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF), _BOX),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2060, 0x206A)), _BOX),
    **dict.fromkeys(range(0xD800, 0xE000), _BOX),
}
"""What changes how text beside it reads, or cannot be seen or sent: a box stands for it."""

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


class Rendering:
    """Renders templates. *settings*: whose name and colour every page has."""

    def __init__(self, settings: Settings, templates: Path = TEMPLATES) -> None:
        self._environment = Environment(
            loader=FileSystemLoader([templates, TEMPLATES]),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": ago,
            "exact": exact,
            "machine": machine,
            "number": number,
            "span": span,
            "json": as_json,
            "filled": filled,
            "points": points,
        }
        self._environment.globals |= {
            "asset": address,
            "installation": settings.ferryman_name,
            "colour": settings.ferryman_colour,
            "version": version(),
            "own_zone": settings.ferryman_timezone,
        }

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """*template* with *values*; one that it names and that is missing is an error."""
        return self._environment.get_template(template).render(values)


def shown(value: Any) -> Any:
    """What stands for *value* on a page: nothing for None, and a box for what cannot be seen."""
    if value is None:
        return ""
    return value.translate(_HIDDEN) if type(value) is str else value


def number(value: float) -> str:
    """1234 as 1,234."""
    return f"{value:,}"


def span(seconds: float) -> str:
    """A time in its two largest units, as 3 d 4 h; never less than nothing."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2])


def ago(at: datetime, now: datetime) -> str:
    """How long before or after *now*, to the largest unit, as 5 min ago."""
    seconds = (now - at).total_seconds()
    text = " ".join(span(abs(seconds)).split(" ")[:2])
    if abs(seconds) < 1:
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def exact(at: datetime, zone: tzinfo) -> str:
    """The time to the second in *zone*, and in UTC where that is another."""
    utc = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    local = at.astimezone(zone)
    return utc if local.utcoffset() == UTC.utcoffset(None) else f"{local:%Y-%m-%d %H:%M:%S} {zone} ({utc})"


def machine(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def filled(pattern: str, row: Mapping[str, Any]) -> str:
    """*pattern* with members of *row* in the place of their names in braces, each as one part of an address."""
    return pattern.format(**{name: quote(str(value), safe="") for name, value in row.items()})


def as_json(value: Any) -> str:
    """Indented JSON, for a <pre>. What is text is JSON already, and stays as it was stored."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)


@lru_cache(maxsize=700)  # anybody may ask for any name
def _known(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None  # no such zone, in one of the ways in which zoneinfo says so


def zone_named(name: str) -> ZoneInfo:
    """The zone of *name*; UTC where there is none."""
    if not name or len(name) > 60:
        return ZoneInfo("UTC")
    return _known(name) or ZoneInfo("UTC")

"""Text that does harm where a page shows it as anything but text."""

from __future__ import annotations

from typing import Final

HOSTILE: Final = "<img src=x onerror=alert(1)></script>\u202e"
SHOWN: Final = "&lt;img src=x onerror=alert(1)&gt;&lt;/script&gt;\u25a1"
"""As a page has it."""


def assert_harmless(html: str, *, times: int | None = None) -> None:
    """That *html* has the text only as text; *times*: so often at least."""
    assert "<img src=x" not in html
    assert "\u202e" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= (1 if times is None else times)

"""The address of a web server, as an operator types it."""

from __future__ import annotations

from urllib.parse import urlsplit

import typer

from daemon.cli.arguments import parse_words


def parse_address(text: str) -> str:
    """The parser of an address. Raises: typer.BadParameter."""
    try:
        parts = urlsplit(parse_words(text))
        sound = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:  # of a port that is no number, and of brackets
        sound = False
    if not sound:
        raise typer.BadParameter("write it as http://HOST:PORT or https://HOST")
    return text.strip()

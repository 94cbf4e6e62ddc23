"""The addresses of our webhooks, to be entered at their senders, and what has come in by each."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.ports import Source
from adapters.postgres.operator.arrivals import NEWEST, Arrival, Arrivals
from daemon.operator.finding import Finding, Findings
from daemon.operator.inspection import Inspection

UNSET: Final = "set FERRYMAN_PUBLIC_URL, as https://ferryman.example.com"


@dataclass(frozen=True, slots=True)
class Address:
    """A webhook of ours. *url*: None where FERRYMAN_PUBLIC_URL is not set. *off*: why it is not served, "" where it is.
    *came*: what has come in, None where the tables cannot be read. *whole*: all that is kept was looked through.
    *needs*: what is to be set besides before its sender takes the address, "" for nothing."""

    source: str
    path: str
    url: str | None
    entered: str
    off: str
    came: Arrival | None
    whole: bool = True
    needs: str = ""

    @property
    def arrived(self) -> str:
        """In words, what has come in."""
        if self.came is None:
            return "not known: Postgres is away"
        among = "" if self.whole else f" among the newest {NEWEST} events"
        if self.came.last is None:
            return f"nothing{among}" if among else "nothing yet"
        return f"{self.came.events} events{among}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        last: datetime | None = None if self.came is None else self.came.last
        return {
            "source": self.source,
            "path": self.path,
            "address": self.url,
            "enter_at": self.entered,
            "served": not self.off,
            "why_not": self.off or None,
            "needs": self.needs or None,
            "events": None if self.came is None else self.came.events,
            "last_at": last,
            "refused": None if self.came is None else self.came.refused,
            "refused_reason": self.came.reason or None if self.came is not None else None,
        }


def addresses(inspection: Inspection, sources: Sequence[Source]) -> list[Address]:
    """The webhooks of *sources*."""
    base = (inspection.settings.ferryman_public_url or "").rstrip("/")
    arrivals: Arrivals | None = inspection.arrivals
    return [
        Address(
            source.name,
            source.path,
            base + source.path if base else None,
            source.entered,
            inspection.sources_off.get(source.name, ""),
            None if arrivals is None else arrivals.of(source.name),
            arrivals is None or arrivals.whole,
            _needs(inspection, source),
        )
        for source in sources
    ]


def _needs(inspection: Inspection, source: Source) -> str:
    settings = inspection.settings
    if not source.challenge_secrets or any(getattr(settings, name) for name in source.challenge_secrets):
        return ""
    return f"set {' or '.join(name.upper() for name in source.challenge_secrets)}: its sender asks for it first"


def public_url(inspection: Inspection) -> Findings:
    """Whether the vendors can reach FERRYMAN_PUBLIC_URL, as far as its text tells."""
    url = inspection.settings.ferryman_public_url
    if url is None:
        text = "how the outside reaches this daemon is not known, so the addresses below are paths alone"
        yield Finding("warn", text, UNSET)
        return
    parts = urlsplit(url)
    if _inside(parts.hostname or ""):
        text = f"FERRYMAN_PUBLIC_URL names {parts.hostname}, which no vendor can reach"
        yield Finding("warn", text, "set it to an address of the open internet")
    elif parts.scheme != "https":
        text = "FERRYMAN_PUBLIC_URL begins with http: Meta sends to https only, and others send secrets in the clear"
        yield Finding("warn", text, "put a proxy with a certificate before it, and name its address")


def _inside(host: str) -> bool:
    """Whether *host* is plainly an address of this machine or of a network of its own."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".localhost"))

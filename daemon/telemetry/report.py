"""What a process says of itself to those who look at the installation from outside.

It holds no secret and no digest of one: from a digest a short secret can be guessed, and a key for the digest would
have to be where whoever reads the report can read it too. Of a secret it says that it is set, and how many entries it
has. When the settings were read tells whether a change of a secret has reached the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import orjson

_TIMES: Final = ("started_at", "settings_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReport:
    """How a channel is in one process. *state*: a word of `adapters.channel`. *since*: when it came to that. *error*,
    *error_at*: our code of its last error, and when it came. *waiting*: how many keys wait for it. *lacks*: fields that
    we would write and its account has not."""

    state: str
    since: datetime | None = None
    error: str = ""
    error_at: datetime | None = None
    waiting: int = 0
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A process, as it says itself. *listens*: where it takes webhooks, "" until it does. *settings*: name -> text, as
    `ferryman config show` has it. *workers_off*, *sources_off*: name -> why. *unsigned*: sources that take unproven
    requests. *credentials*: PROVIDER/ACCOUNT -> why what is stored of it cannot be used, "" where it can."""

    host: str = ""
    pid: int = 0
    version: str = ""
    started_at: datetime | None = None
    listens: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    settings_at: datetime | None = None
    workers: tuple[str, ...] = ()
    workers_off: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    sources_off: Mapping[str, str] = field(default_factory=dict)
    unsigned: tuple[str, ...] = ()
    providers: Mapping[str, ProviderReport] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings_digest(self) -> str:
        """Eight characters that are the same where the settings are, but for secrets."""
        return blake2b(orjson.dumps(sorted(self.settings.items())), digest_size=4).hexdigest()

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def report_from(text: str) -> Report:
    """The report in *text*, JSON of `Report.document`; of another version's, the parts that are known here."""
    found: dict[str, Any] = orjson.loads(text)
    known = {name: found[name] for name in _names(Report) if name in found}
    known |= {name: _time(known.get(name)) for name in _TIMES}
    known |= {name: tuple(known.get(name) or ()) for name in ("workers", "sources", "unsigned")}
    providers = {name: _provider(one) for name, one in (known.get("providers") or {}).items()}
    return Report(**known | {"providers": providers})


def _provider(found: Mapping[str, Any]) -> ProviderReport:
    known = {name: found[name] for name in _names(ProviderReport) if name in found}
    known |= {"lacks": tuple(known.get("lacks") or ())}
    return ProviderReport(**known | {name: _time(known.get(name)) for name in ("since", "error_at")})


def _names(of: type[Report | ProviderReport]) -> list[str]:
    return [one.name for one in fields(of)]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

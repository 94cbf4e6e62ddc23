"""The doctor's look at the accounts of the settings: harmless reads of the providers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import ClientSession
from pydantic import SecretStr

from adapters.http import open_session
from adapters.ports import Probe, Sign
from adapters.registry import PROBES
from daemon.operator.finding import Finding
from daemon.settings.model import Settings
from schemas.errors import FerrymanError, Transient

NO_ANSWER: Final = frozenset({"no-connection", "no-answer", "connection-broke"})
"""Our codes for what nobody has answered."""

PATIENCE_S: Final = 30.0
"""The longest look at one account."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found at the account of *system*, in the order in which it was looked at."""

    system: str
    findings: Sequence[Finding]

    @property
    def works(self) -> bool:
        """Whether nothing there is wrong."""
        return all(finding.level != "error" for finding in self.findings)


async def look_at_accounts(settings: Settings) -> list[Looked]:
    """Look at each account that the settings name, all at once."""
    probes = [probe for probe in PROBES() if _meant(probe, settings)]
    async with open_session() as session:
        return await asyncio.gather(*(look_at(session, probe, settings) for probe in probes))


def _meant(probe: Probe, settings: Settings) -> bool:
    """Whether any setting of the account is given that has no default."""
    fields = Settings.model_fields
    return any(getattr(settings, name) for name in probe.values.values() if fields[name].default is None)


async def look_at(session: ClientSession, probe: Probe, settings: Settings) -> Looked:
    """Look at the account that *probe* is for."""
    return Looked(probe.system, await _look(session, probe, settings))


async def _look(session: ClientSession, probe: Probe, settings: Settings) -> list[Finding]:
    account = {value: text for value, name in probe.values.items() if (text := _text(getattr(settings, name)))}
    missing = [probe.values[value] for value in probe.needs if value not in account]
    if missing:
        names = " and ".join(name.upper() for name in missing)
        are = "are" if len(missing) > 1 else "is"
        return [Finding("warn", f"{probe.system} is off: {names} {are} not set", _places(probe, missing))]
    try:
        async with asyncio.timeout(PATIENCE_S):
            signs = await probe.look(session, account)
    except TimeoutError:
        signs = [_failed(probe, settings, Transient("no answer in time"))]
    except FerrymanError as exc:
        signs = [_failed(probe, settings, exc)]
    return [Finding(sign.level, sign.text, sign.do) for sign in signs]


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value)


def _failed(probe: Probe, settings: Settings, error: FerrymanError) -> Sign:
    """What a failure of the first read says: which settings may be wrong, and where the right ones are. An address that
    nobody has set is right, so then it is the way there that is wrong."""
    text = f"{probe.system} does not work: {error}"
    blamed = probe.blamed(error)
    given = settings.model_fields_set
    if error.code in NO_ANSWER and not given.intersection(blamed):
        return Sign("error", text, "see this host's way to the internet: its DNS, its firewall")
    if blamed:
        return Sign("error", text, _places(probe, blamed))
    return Sign("error", text, f"see {probe.system}'s own pages: no setting is known to be wrong")


def _places(probe: Probe, names: Sequence[str]) -> str:
    """Where the right values of these settings are to be found."""
    return "; ".join(f"{name.upper()}: {probe.places[name]}" for name in names)


def document(looked: Sequence[Looked]) -> Mapping[str, Any]:
    """As JSON: each system, and whether it works."""
    return {
        one.system: {
            "works": one.works,
            "findings": [{"level": f.level, "text": f.text, "do": f.do} for f in one.findings],
        }
        for one in looked
    }

"""The senders of messages: which are configured, what the others lack, how their channels are, and what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.postgres.operator.inspect import OpenMessages
from adapters.registry import SENDERS
from daemon.messages.wiring import needed
from daemon.operator.finding import Finding, Findings
from daemon.operator.inspection import Inspection
from daemon.operator.members import credentials
from daemon.settings.model import Settings
from schemas.credentials import DEFAULT

_UNSET: Final = "unset"
"""How a report shows a setting that is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStanding:
    """A sender as the processes are set, or where none runs this shell. *missing*: the settings that it lacks.
    *touched*: some setting of it is given that has no default. *default*: messages that name no provider go by it.
    *channel*: the word of its channel, *why*: why nothing is sent by it now, "" where it is. *waiting*: its messages
    that have no end, None: not known."""

    provider: str
    missing: tuple[str, ...]
    touched: bool
    default: bool
    channel: str
    why: str
    waiting: OpenMessages | None

    @property
    def state(self) -> str:
        """In words."""
        if self.missing:
            return f"off: {' and '.join(self.missing)} {'is' if len(self.missing) == 1 else 'are'} not set"
        return self.why or "configured"

    def document(self) -> Mapping[str, Any]:
        """As JSON."""
        return {
            "configured": not self.missing,
            "missing": list(self.missing),
            "default": self.default,
            "channel": self.channel,
            "why": self.why or None,
            "queued": None if self.waiting is None else self.waiting.queued,
            "uncertain": None if self.waiting is None else self.waiting.uncertain,
        }


def fallback(inspection: Inspection) -> list[str]:
    """By which a message that names no provider goes where the default one is down: PROVIDER or PROVIDER/ACCOUNT."""
    named = _texts(inspection).get("MESSAGES_FALLBACK_PROVIDERS", _UNSET)
    return [] if named == _UNSET else named.split(",")


def _texts(inspection: Inspection) -> Mapping[str, str]:
    """Setting -> its text, as the processes are set, or where none runs this shell."""
    return inspection.members[0].report.settings if inspection.members else inspection.shell.settings


def senders(inspection: Inspection) -> list[SenderStanding]:
    """Every sender that there is."""
    texts = _texts(inspection)
    default = texts.get("MESSAGES_DEFAULT_PROVIDER")
    found = []
    for provider in SENDERS:
        channel = inspection.providers.get(provider)
        paused = provider in inspection.paused
        found.append(
            SenderStanding(
                provider=provider,
                missing=_missing(provider, texts),
                touched=any(texts.get(name, _UNSET) != _UNSET and _is_own(name) for name in needed(provider)),
                default=provider == default,
                channel="paused" if paused else "not known" if channel is None else channel.state,
                why=f"{provider} is paused" if paused else "" if channel is None else channel.why,
                waiting=None if inspection.tables is None else inspection.tables.messages.get(provider, OpenMessages()),
            )
        )
    return found


def _off_behind(inspection: Inspection, found: Sequence[SenderStanding], behind: Sequence[str]) -> Findings:
    stored = credentials(inspection.members)
    for one in found:
        if one.provider in behind and one.missing and f"{one.provider}/{DEFAULT}" not in stored:
            text = f"MESSAGES_FALLBACK_PROVIDERS names {one.provider}, which is {one.state}"
            yield Finding("warn", text, f"set what it needs, or `ferryman credentials set {one.provider}`")


def _missing(provider: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    if provider == "cgb" and texts.get("CGB_API_STYLE") == "documented":
        return ("CGB_API_STYLE=live",)
    return tuple(name for name in needed(provider) if texts.get(name, _UNSET) == _UNSET)


def _is_own(name: str) -> bool:
    """Whether the setting has no default, so that who gives it means the sender."""
    return Settings.model_fields[name.lower()].default is None


def check(inspection: Inspection) -> Findings:
    """Senders that lack something, those that messages go by when they name none, and messages in doubt."""
    found = senders(inspection)
    ready = [one.provider for one in found if not one.missing]
    if ready:
        yield Finding("ok", f"messages can be sent by {', '.join(ready)}")
    else:
        yield Finding("ok", "no message can be sent: no sender is configured")
    for one in found:
        if one.missing and one.touched:
            yield Finding("warn", f"the sender {one.provider} is {one.state}", "set what it needs, or leave it so")
        if one.default and one.missing and ready:
            text = f"messages that name no provider go by {one.provider}, which is off"
            yield Finding("warn", text, f"set MESSAGES_DEFAULT_PROVIDER to {' or '.join(ready)}")
        if one.default and (behind := fallback(inspection)):
            text = f"messages that name no provider go by {one.provider}, and where it is down by {', '.join(behind)}"
            yield Finding("ok", text)
            yield from _off_behind(inspection, found, behind)
        if one.waiting is not None and one.waiting.uncertain:
            count = "1 message" if one.waiting.uncertain == 1 else f"{one.waiting.uncertain} messages"
            text = f"{count} by {one.provider} may have been sent, and nobody knows"
            yield Finding("warn", text, "`ferryman uncertain list`")
    for stop in () if inspection.tables is None else inspection.tables.stopped:
        named = f"{stop.name} ({stop.language})" if stop.language else stop.name
        text = f"{stop.provider} takes no messages of the template {named}, and they wait: {stop.error}"
        yield Finding("warn", text, "mend it at the provider, or send another one; they go out when it is back")

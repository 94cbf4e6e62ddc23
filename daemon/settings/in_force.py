"""The settings that a running process goes by, and which of new ones it can take without a restart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import SecretStr

from daemon.settings.load import NAMES
from daemon.settings.model import Settings

SINGLE: Final = (
    "cgb_api_key",
    "chatwoot_api_access_token",
    "meta_access_token",
    "openai_api_key",
    "sync_upstream_token",
    "twilio_auth_token",
    "whapi_token",
)
"""Secrets of one value that their users ask for anew each time. One that was not set cannot be taken: what needs it is
off. Nor can it be taken away from what uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What new settings change. *settings*: those in force afterwards. The others are names in the order of `Settings`.

    *taken*: at once. *waiting*: at the next start. *overruled*: the file gives them otherwise than the environment,
    which a running process cannot read anew.
    """

    settings: Settings
    taken: tuple[str, ...]
    waiting: tuple[str, ...]
    overruled: tuple[str, ...]

    def __str__(self) -> str:
        parts = [
            f"took {', '.join(self.taken)}" if self.taken else "nothing new was taken",
            f"at the next start: {', '.join(self.waiting)}" if self.waiting else "",
            f"the environment overrules the file: {', '.join(self.overruled)}" if self.overruled else "",
        ]
        return "; ".join(part for part in parts if part)


class Stored(Protocol):
    """Secrets that are kept elsewhere than in the settings, by the names of settings in lower case."""

    def beside(self, setting: str) -> Sequence[str]:
        """Those that count as much as the setting's own."""
        ...

    def instead(self, setting: str) -> str | None:
        """The one that goes before the setting's own; None where there is none."""
        ...


class InForce:
    """The settings of this process. Their secrets may change; whoever uses one asks for it each time. *stored*: further
    secrets, None for none."""

    def __init__(self, settings: Settings, stored: Stored | None = None) -> None:
        self.settings = settings
        self._stored = stored

    def secret(self, name: str) -> str:
        """The text of the setting *name*, in lower case, that is a secret and is set."""
        if self._stored is not None and (instead := self._stored.instead(name)) is not None:
            return instead
        secret = getattr(self.settings, name)
        assert isinstance(secret, SecretStr), name
        return secret.get_secret_value()

    def secrets(self, name: str) -> list[str]:
        """The texts of the setting *name*, in lower case, that is a list of secrets, or one that may not be set."""
        return [*secrets_of(self.settings, name), *(() if self._stored is None else self._stored.beside(name))]


def secrets_of(settings: Settings, name: str) -> list[str]:
    """As `InForce.secrets`, of *settings*."""
    held = getattr(settings, name)
    if held is None or isinstance(held, SecretStr):
        held = () if held is None else (held,)
    return [secret.get_secret_value() for secret in held]


def change(now: Settings, new: Settings, sources: Collection[Sequence[str]]) -> Change:
    """What *new* changes. *sources*: of each source that is served, the names of its secrets; one of them is enough."""
    able = {name for secrets in sources if any(getattr(new, name) for name in secrets) for name in secrets}
    able -= set(SINGLE)
    able.add("ferryman_secret_key")
    able |= {name for name in SINGLE if getattr(now, name) is not None and getattr(new, name) is not None}
    changed = [name for name in map(str.lower, NAMES) if getattr(now, name) != getattr(new, name)]
    taken = {name: getattr(new, name) for name in changed if name in able}
    waiting = [name.upper() for name in changed if name not in able]
    if now.cgb_templates != new.cgb_templates:
        waiting.append("CGB_TEMPLATE_<NAME>")
    return Change(
        settings=now.model_copy(update=taken),
        taken=tuple(name.upper() for name in taken),
        waiting=tuple(waiting),
        overruled=tuple(name for name in new.overruled if name.lower() in able),
    )

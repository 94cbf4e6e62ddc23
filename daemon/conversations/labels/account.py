"""The account of Chatwoot as a CRM, by the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from adapters.registry import CRM

if TYPE_CHECKING:
    from adapters.conversation_ports import Crm
    from adapters.gate import Gate
    from daemon.settings.model import Settings

_VALUES: Final[Mapping[str, str]] = {
    "url": "chatwoot_base_url",
    "api_access_token": "chatwoot_api_access_token",
    "account_id": "chatwoot_account_id",
    "inbox_id": "chatwoot_whatsapp_inbox_id",
}
"""The values of the account, and the settings that hold them."""

_SECRET: Final = "chatwoot_api_access_token"  # noqa: S105 - the name of a setting


def lacking(settings: Settings) -> list[str]:
    """The settings without which there is no CRM, as they are to be given."""
    return [name.upper() for name in _VALUES.values() if getattr(settings, name) is None]


def why_off(settings: Settings) -> str | None:
    """Why there is no CRM, None where there is one."""
    missing = lacking(settings)
    return f"set {', '.join(missing)}" if missing else None


def crm_on(gate: Gate, settings: Settings, secret: Callable[[str], str]) -> Crm:
    """The CRM that the settings name. *secret*: gives the token, and is asked at each call."""

    def account() -> Mapping[str, str]:
        return {
            value: secret(name) if name == _SECRET else str(getattr(settings, name)) for value, name in _VALUES.items()
        }

    return CRM()(gate, account=account)

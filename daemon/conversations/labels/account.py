"""The account of Chatwoot as a CRM, by the settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from adapters.registry import CRM
from daemon.accounts import CHATWOOT, lacking, values_of

if TYPE_CHECKING:
    from adapters.conversation_ports import Crm
    from adapters.gate import Gate
    from daemon.settings.model import Settings


def why_off(settings: Settings) -> str | None:
    """Why there is no CRM, None where there is one."""
    missing = lacking(settings, CHATWOOT)
    return f"set {', '.join(missing)}" if missing else None


def crm_on(gate: Gate, settings: Settings, secret: Callable[[str], str]) -> Crm:
    """The CRM that the settings name. *secret*: gives the token, and is asked at each call."""
    return CRM()(gate, account=partial(values_of, settings, secret, CHATWOOT))

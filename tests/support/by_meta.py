"""The settings of a process that sends by a simulated Meta."""

from __future__ import annotations

from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.meta_templates import WABA_ID
from daemon.sandbox.meta_webhooks import PHONE_NUMBER_ID


def settings_for(meta: MetaSandbox) -> dict[str, str]:
    """As its environment has them."""
    return {
        "FERRYMAN_ADMIN_TOKEN": "0123456789abcdef" * 2,
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "META_ACCESS_TOKEN": meta.token,
        "META_WABA_ID": WABA_ID,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
    }

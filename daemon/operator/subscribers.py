"""How the subscribers of outgoing webhooks fare, for status and doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.postgres.subscribers import Subscriber
from adapters.subscribers.delivery import why_not
from daemon.operator.finding import Finding, Findings, age
from daemon.stores.seal import NoKey, key_id, keys_of

if TYPE_CHECKING:
    from daemon.operator.inspection import Inspection

FAILS_S: Final = 3600.0
"""A subscriber that has failed for longer is a finding."""


def document(inspection: Inspection) -> dict[str, dict[str, Any]]:
    """Subscriber -> how it fares, to be shown."""
    return {
        one.name: {
            "state": one.state,
            "disabled_at": one.disabled_at,
            "disabled_why": one.disabled_why,
            "failures": one.failures,
            "failing_since": one.failing_since,
            "last_success_at": one.last_success_at,
        }
        for one in inspection.subscribers
    }


def check(inspection: Inspection) -> Findings:
    """Those that nothing is sent to, and those that fail for long."""
    try:
        known = {key_id(key) for key in keys_of(inspection.settings)}
    except NoKey:
        known = set()
    for one in inspection.subscribers:
        if why := why_not(one.url, inspection.settings.ferryman_webhook_origins):
            yield Finding("error", f"nothing is sent to the subscriber {one.name}: {why}", "mend it, or remove it")
        elif one.key_id not in known:
            text = f"the secret of the subscriber {one.name} is sealed with a key ({one.key_id}) that is not there"
            yield Finding("error", text, f"put the key into FERRYMAN_SECRET_KEY, or remove {one.name} and add it anew")
        else:
            yield from _fares(one, inspection)


def _fares(one: Subscriber, inspection: Inspection) -> Findings:
    if one.state == "disabled" and one.disabled_at is not None:
        since = age((inspection.now - one.disabled_at).total_seconds())
        text = f"the subscriber {one.name} is disabled for {since} ({one.disabled_why}); its events wait"
        yield Finding("warn", text, f"`ferryman webhooks enable {one.name}`, or remove it")
    elif one.failing_since is not None:
        fails_s = (inspection.now - one.failing_since).total_seconds()
        if fails_s > FAILS_S:
            text = f"the subscriber {one.name} takes nothing for {age(fails_s)}, after {one.failures} tries"
            yield Finding("warn", text, f"`ferryman webhooks test {one.name}`, and tell its owner")

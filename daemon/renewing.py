"""Takes what operators store of accounts into use, without a restart: in every process, a few seconds later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from adapters.channel import Channels, channel_of
from daemon.bus.presence import Presence
from daemon.bus.worker import Duty
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.stores.credentials import LOOK_S, Credentials
from daemon.telemetry.report import Report
from daemon.web.listener import Listener

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewing:
    """*about*: what settings make of the process. Senders ask *credentials* themselves, at each message."""

    credentials: Credentials
    in_force: InForce
    listener: Listener
    channels: Channels
    presence: Presence
    about: Callable[[Settings], Report]

    @property
    def duty(self) -> Duty:
        """What the process does by the clock."""
        return Duty("credentials", self._look, LOOK_S)

    async def _look(self) -> None:
        await self.credentials.load()
        changed = self.credentials.changes()
        if not changed:
            return
        self._prove_senders()
        self.presence.renew(self.about(self.in_force.settings))
        for name in changed:
            channel = self.channels.get(channel_of(*name))
            if channel is not None:
                channel.probe_now()  # the old secret may be why it is down

    def _prove_senders(self) -> None:
        """Verify webhooks by the stored secrets as well."""
        sources = self.listener.sources
        before = [source.name for source in sources if self.listener.served(source)]
        names = {name for source in sources for name in (*source.secrets, *source.challenge_secrets)}
        self.listener.take({name: self.in_force.secrets(name) for name in names})
        for source in sources:
            served = self.listener.served(source)
            if served and source.name not in before:
                log.info("source.served", source=source.name, reason="an account is stored")
            elif not served and source.name in before:
                log.warning("source.off", source=source.name, reason=source.lacks({}, address_known=True))

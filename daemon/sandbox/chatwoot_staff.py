"""Who works in the Chatwoot simulator's account, and where: its agents and inboxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who answers. *role*: `administrator` or `agent`. *type*: `user` or `agent_bot`."""

    id: int
    name: str
    role: str = "agent"
    type: str = "user"

    @property
    def email(self) -> str:
        """An invented one."""
        return f"{self.name.split()[0].lower()}@example.test"


ANA: Final = Agent(id=7, name="Ana Agent")
"""Whose token the simulator takes."""

INES: Final = Agent(id=42, name="Ines Holm")
"""Another one, who answers in Chatwoot's pages."""

BOT: Final = Agent(id=5, name="Ferry Bot", type="agent_bot")
"""Whose token it is where that is a bot's."""


@dataclass(slots=True, kw_only=True)
class Inbox:
    """*members*: ids of its agents."""

    id: int
    name: str = "WA"
    channel_type: str = "Channel::Whatsapp"
    members: set[int] = field(default_factory=lambda: {ANA.id, INES.id})

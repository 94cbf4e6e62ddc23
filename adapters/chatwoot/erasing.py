"""Contacts of Chatwoot that are deleted for good, with their conversations. Only an administrator's token may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from adapters.chatwoot.client import ChatwootCalls, NotThere
from adapters.gate import Gate


class ChatwootEraser:
    """The `ContactEraser` of a Chatwoot account. *account*: as of `ChatwootSender`."""

    def __init__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._calls = ChatwootCalls(gate, account)
        self._account = account

    async def delete(self, contact: str) -> bool:
        """See `ContactEraser`. *contact*: account:contact."""
        account, _, number = contact.partition(":")
        if account != self._account()["account_id"] or not number.isdigit():
            return False
        with suppress(NotThere):
            await self._calls.of_record("DELETE", f"/contacts/{number}", _gone, about=f"contact:{number}")
        return True


def _gone(data: Any) -> bool:
    """Its answer is empty."""
    return True

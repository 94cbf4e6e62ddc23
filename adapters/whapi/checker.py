"""Whapi's check of contacts: which numbers are on WhatsApp, many in one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from adapters.gate import Gate
from adapters.whapi.client import WhapiCalls
from schemas.phone import Phone

_ANSWERS: Final[Mapping[object, bool]] = {"valid": True, "invalid": False}
_NOT_A_DIGIT: Final = re.compile(r"[^0-9]")


class WhapiChecker:
    """The `NumberChecker` of a Whapi channel: `POST /contacts`, which waits for its result and may answer from Whapi's
    own cache. Whapi names no largest number of contacts, and warns that checking masses of them draws attention to the
    account."""

    most = 50

    def __init__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str]) -> None:
        self._calls = WhapiCalls(gate, base_url, api_key)

    async def check(self, phones: Sequence[Phone]) -> list[bool | None]:
        """What Whapi says of each number; None where it leaves one out, or says anything but valid or invalid."""
        asked = {"blocking": "wait", "force_check": False, "contacts": [phone.digits for phone in phones]}
        answer = await self._calls.ask("/contacts", asked, _is_checked)
        told = {_digits(one.get("input")): _ANSWERS.get(_text(one.get("status"))) for one in answer["contacts"]}
        return [told.get(phone.digits) for phone in phones]


def _is_checked(answer: Any) -> bool:
    contacts = answer.get("contacts")
    return isinstance(contacts, list) and all(isinstance(one, dict) for one in contacts)


def _digits(text: Any) -> str:
    return _NOT_A_DIGIT.sub("", str(text))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
